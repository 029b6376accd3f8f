"""Openings of a file, sifted before a dialogue is paid for: the same sieve as for those of a model.

Into the folder go ``openings.jsonl`` and ``dropped.jsonl``, as ``make.py`` writes them,
and last ``manifest.json``, by which the next run finds them done.
"""

from pathlib import Path
from typing import Any, Literal

import orjson
from tqdm import tqdm

from datasets_scripts.pipeline import Drop
from datasets_scripts.questions import Length, Questions
from datasets_scripts.ultrachat.openings.asking import Offer
from datasets_scripts.ultrachat.openings.make import DROPPED, MANIFEST, OPENINGS
from datasets_scripts.ultrachat.openings.opening import Sector
from datasets_scripts.ultrachat.openings.opening import read as read_openings
from datasets_scripts.ultrachat.openings.sieve import EXACT, NEAR, OVERLAP, Sieve
from ultra import files, jsonl
from ultra.errors import InputError

_STEPS = (EXACT, NEAR, OVERLAP)
"""Those of the sieve's that look at what is in a file."""


def sift(
    path: Path,
    sector: Sector | Literal["all"],
    folder: Path,
    checks: tuple[float, Questions | None, Length],
    wanted: dict[str, Any],
) -> dict[str, Any]:
    """Write the openings of a file that are worth a dialogue; returns the counts of each step.

    Args:
        path: the file.
        sector: which of its openings.
        folder: where to.
        checks: similarity from which openings repeat each other, benchmark questions, and the words
            in a row shared with one that drop an opening.
        wanted: what decides the result; what was made for the same is not made again.

    Raises:
        InputError: the file is no file of openings, or none of them is kept.
        SettingError: no opening of the sector is in it.
    """
    done = _done(folder / MANIFEST)
    if done.get("wanted") != wanted:
        (folder / MANIFEST).unlink(missing_ok=True)
        with Sieve(folder, *checks) as sieve:
            if not _write(path, sector, folder, sieve):
                raise InputError(
                    f"{path}: no opening is kept; why each was left out is in {folder / DROPPED}"
                )
            steps = [step for step in sieve.ledger.table() if step["step"] in _STEPS]
        done = {"wanted": wanted, "steps": steps}
        files.write_text(folder / MANIFEST, jsonl.dump(done).decode())
    return {"steps": done["steps"]}


def _done(manifest: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(manifest.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, sector: Sector | Literal["all"], folder: Path, sieve: Sieve) -> int:
    """Write what is kept and what is not, in order; returns how many are kept."""
    count = 0
    name = jsonl.scrub(path.name)
    kind = "opening" if sector == "all" else f"{sector} opening"
    given = tqdm(read_openings(path, sector), desc="openings", unit=" openings", disable=None)
    with files.atomic(folder / OPENINGS) as kept, files.atomic(folder / DROPPED) as dropped:
        for number, opening in enumerate(given, 1):
            place = f"{name}, {kind} {number}"
            found = sieve.take(Offer(place, opening))
            if isinstance(found, Drop):
                row = {"path": place, "reason": found.reason, "detail": found.detail}
                dropped.write(jsonl.dump(row))
            else:
                kept.write(jsonl.dump({**found.row(), "path": place}))
                count += 1
    return count
