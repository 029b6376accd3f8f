"""Opening lines: what a dialogue is about is decided by its first user message."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ultra import jsonl
from ultra.errors import InputError, SettingError

Sector = Literal["world", "creation", "material"]

GOALS: dict[Sector, str] = {
    "world": "to understand this well enough to explain it to somebody else",
    "creation": "to get this piece written and refined until it fits",
    "material": "to get this text worked on; ask only what the text itself can answer",
}


@dataclass(frozen=True)
class Opening:
    """The first user message of a dialogue, and what the simulated user knows about it."""

    sector: Sector
    topic: str
    text: str
    source: str
    """Name of the file it came from."""


def read(path: Path, sector: Sector | Literal["all"]) -> list[Opening]:
    """Read ``{"sector", "topic", "opening"}`` lines, in their order, of one sector or of all.

    Raises:
        InputError: names the row that is not such a line.
        SettingError: no opening of the sector is in the file.
    """
    found = [_opening(row, path, n) for n, row in enumerate(jsonl.read(path), 1)]
    chosen = [opening for opening in found if sector in ("all", opening.sector)]
    if not chosen:
        raise SettingError(f"{path}: holds no opening of sector {sector}")
    return chosen


def _opening(row: dict[str, Any], path: Path, number: int) -> Opening:
    place = f"{path}: opening {number}"
    sector, topic, text = row.get("sector"), row.get("topic", ""), row.get("opening")
    if sector not in get_args(Sector):
        raise InputError(f"{place}: sector {sector!r} is none of {', '.join(get_args(Sector))}")
    if not isinstance(text, str) or not text.strip() or not isinstance(topic, str):
        raise InputError(f"{place}: 'opening' must be a text, and 'topic' too if given")
    return Opening(cast(Sector, sector), topic, text.strip(), jsonl.scrub(path.name))
