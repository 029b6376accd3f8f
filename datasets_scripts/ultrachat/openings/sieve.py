"""Which openings are worth a dialogue: no duplicates, no benchmark questions.

Of two that are alike the earlier one stays. What has been seen is in a scratch database on the
disk, so that memory does not grow with the number of openings.

Two openings are near duplicates if their sets of shingles, two words in a row, have a Jaccard
similarity of ``threshold`` or more, as MinHash estimates it (``near_duplicates.py``). Two words,
not five, since an opening has some fifteen: one other word among them leaves seven of ten shingles
of two, and four of ten of five. Openings on one text of the user's share most of their words, so it
is the texts that are compared there, each with all others, and before it costs a call.
"""

import os
import sqlite3
import struct
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

from xxhash import xxh3_64_intdigest, xxh3_128_digest

from datasets_scripts import contamination
from datasets_scripts.near_duplicates import LEADERS, PERMUTATIONS, band_rows
from datasets_scripts.pipeline import Drop, Ledger
from datasets_scripts.questions import Length, Questions
from datasets_scripts.ultrachat.openings.asking import Offer
from datasets_scripts.ultrachat.openings.opening import Opening
from datasets_scripts.ultrachat.openings.texts import Text
from datasets_scripts.words import words
from ultra.errors import OutputError

TEXTS, LISTS, EXACT, NEAR = "texts", "lists", "exact duplicates", "near duplicates"
OVERLAP = "benchmark overlap"
STEPS = (TEXTS, LISTS, EXACT, NEAR, OVERLAP)
_STEP_OF = {"duplicate": EXACT, "near_duplicate": NEAR, "benchmark_overlap": OVERLAP}
_SEED = 1
_CACHE = 32 * 2**10
"""KiB of the database that are kept in memory."""
_TABLES = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -{_CACHE};
CREATE TABLE seen (number INTEGER PRIMARY KEY, path TEXT, signature BLOB);
CREATE TABLE exact (content BLOB PRIMARY KEY, number INT) WITHOUT ROWID;
CREATE TABLE band (key INT, number INT, PRIMARY KEY (key, number)) WITHOUT ROWID;
"""

Space = Literal["opening", "text"]


class Sieve:
    """Takes offers in their order and says which of them stay; counts the others by reason."""

    def __init__(
        self, folder: Path, threshold: float, questions: Questions | None, drop_at: Length
    ) -> None:
        self._folder, self._threshold = folder, threshold
        self._questions, self._drop_at = questions, drop_at
        self._rows = band_rows(threshold) if threshold else 0
        self.ledger = Ledger(STEPS)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".sieve-{os.getpid()}"
        path.unlink(missing_ok=True)  # of a process that was killed at just this point
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.executescript(_TABLES)
            path.unlink()
            self._db.execute("BEGIN")
        except sqlite3.OperationalError as error:
            raise self._failed(error) from error

    def take(self, offer: Offer) -> Opening | Drop:
        """The opening that is offered, or why it goes."""
        if offer.opening is None:
            drop = Drop(offer.reason, offer.detail)
            step = LISTS if offer.is_paid else TEXTS
        else:
            found = self._look(offer.path, offer.opening)
            if found is None:
                self._count(OVERLAP)
                return offer.opening
            drop, step = found, _STEP_OF[found.reason]
        self._count(step)
        self.ledger.drop(step, drop.reason)
        return drop

    def unfit(self, text: Text, least: int) -> Drop | None:
        """Why a text is not worth a call; one of fewer than ``least`` characters is not."""
        if len(text.text) < least:
            return Drop("text_short", f"{text.source}: {len(text.text)} characters")
        drop = self._seen("text", text.source, text.text, near=True) or self._overlap(text.text)
        return drop and Drop(f"text_{drop.reason}", f"{text.source}: {drop.detail}")

    def _count(self, last: str) -> None:
        for step in STEPS[: STEPS.index(last) + 1]:
            self.ledger.enter(step)

    def _look(self, path: str, opening: Opening) -> Drop | None:
        near = opening.sector != "material"
        return self._overlap(opening.text) or self._seen("opening", path, opening.text, near=near)

    def _overlap(self, text: str) -> Drop | None:
        if self._questions is None:
            return None
        overlaps = self._questions.overlaps([{"role": "user", "content": text}])
        return contamination.drop_of(overlaps, self._drop_at)

    def _seen(self, space: Space, path: str, text: str, *, near: bool) -> Drop | None:
        """What an earlier text has in common with this one; else it is the next earlier one."""
        said = words(text) or [text.encode()]
        try:
            return self._find(space, path, said, near=near and self._rows > 0)
        except sqlite3.OperationalError as error:
            raise self._failed(error) from error

    def _find(self, space: Space, path: str, said: list[bytes], *, near: bool) -> Drop | None:
        content = xxh3_128_digest(b"\0".join([space.encode(), *said]))
        same = self._db.execute(
            "SELECT path FROM exact JOIN seen USING (number) WHERE content = ?", (content,)
        ).fetchone()
        if same is not None:
            return Drop("duplicate", f"gave way to {same[0]}")
        mine, keys = b"", list[int]()
        if near:
            mine = signature(said)
            keys = self._keys(space, mine)
            winner = self._most_similar(mine, keys)
            if winner is not None:
                return Drop("near_duplicate", f"gave way to {winner}")
        number = self._db.execute(
            "INSERT INTO seen (path, signature) VALUES (?, ?)", (path, mine)
        ).lastrowid
        self._db.execute("INSERT INTO exact VALUES (?, ?)", (content, number))
        self._db.executemany(
            "INSERT OR IGNORE INTO band VALUES (?, ?)", ((k, number) for k in keys)
        )
        return None

    def _keys(self, space: Space, mine: bytes) -> list[int]:
        width = 4 * self._rows
        return [
            xxh3_64_intdigest(mine[start : start + width], seed=start + (space == "text")) - 2**63
            for start in range(0, len(mine) - width + 1, width)
        ]

    def _most_similar(self, mine: bytes, keys: list[int]) -> str | None:
        """The path of the earlier text that is most similar, if it is as similar as it takes."""
        met: dict[int, None] = {}
        for key in keys:
            query = "SELECT number FROM band WHERE key = ? ORDER BY number LIMIT ?"
            met.update((number, None) for (number,) in self._db.execute(query, (key, LEADERS)))
        best, share = None, self._threshold
        for number in sorted(met):
            row = self._db.execute("SELECT path, signature FROM seen WHERE number = ?", (number,))
            path, other = row.fetchone()
            same = sum(map(int.__eq__, _values(mine), _values(other))) / PERMUTATIONS
            if same > share or (best is None and same == share):
                best, share = path, same
        return best

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _failed(self, error: Exception) -> OutputError:
        return OutputError(f"{self._folder}: cannot be written to ({error}); is the disk full?")


def signature(said: list[bytes]) -> bytes:
    """The MinHash signature of the pairs of neighbouring words; of one word, of itself."""
    from rensa import RMinHash  # type: ignore[import-untyped]

    pairs = [xxh3_64_intdigest(b" ".join(pair)) for pair in pairwise([*said, b"\0"])]
    shingles = pairs[:-1] or pairs
    minima = RMinHash.digest_matrix_from_flat_token_hashes(
        shingles, [0, len(shingles)], PERMUTATIONS, _SEED
    ).to_rows()[0]
    return struct.pack(f"<{PERMUTATIONS}I", *minima)


def _values(mine: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{PERMUTATIONS}I", mine)
