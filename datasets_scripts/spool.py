"""Rows on disk between the input and the release: any order in, the defined order out.

A build meets its rows in the order of files or of finished calls; a release is ordered by id and
content. The rows wait in an SQLite file, so memory does not grow with the input.
"""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from datasets_scripts.pipeline import Drop
from ultra import release
from ultra.errors import OutputError
from ultra.prompts import Prompt

_TABLES = """
CREATE TABLE kept (
    number INTEGER PRIMARY KEY, id TEXT, content BLOB, source TEXT, turns INT, length INT,
    reason TEXT, winner INT, row BLOB
);
CREATE TABLE prefix (content BLOB, number INT);
CREATE TABLE dropped (id TEXT, source TEXT, step TEXT, reason TEXT, detail TEXT);
"""


@dataclass(frozen=True)
class Entry:
    """What the order and the search for duplicates need to know of a row."""

    id: str
    source: str
    content: bytes
    """xxh3-128 of the whole text, 16 bytes."""
    prefixes: tuple[bytes, ...] = ()
    """The same of the text up to each earlier turn."""
    length: int = 0
    """Characters of text."""


class Spool:
    """A scratch file in a folder, without a name: even a killed build leaves nothing of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".spool-{os.getpid()}"
        path.unlink(missing_ok=True)  # of a process that was killed at just this point
        try:
            self.db = sqlite3.connect(path, isolation_level=None)
            self.db.execute("PRAGMA journal_mode = OFF")
            self.db.execute("PRAGMA synchronous = OFF")
            self.db.executescript(_TABLES)
            path.unlink()
            self.db.execute("BEGIN")
        except sqlite3.OperationalError as error:
            raise self._failed(error) from error

    def add(self, entry: Entry, row: dict[str, Any]) -> None:
        cursor = self.db.execute(
            "INSERT INTO kept (id, content, source, turns, length, row) VALUES (?, ?, ?, ?, ?, ?)",
            (
                entry.id,
                entry.content,
                entry.source,
                len(entry.prefixes) + 1,
                entry.length,
                orjson.dumps(row),
            ),
        )
        pairs = ((prefix, cursor.lastrowid) for prefix in entry.prefixes)
        self.db.executemany("INSERT INTO prefix VALUES (?, ?)", pairs)

    def drop(self, id: str, source: str, step: str, drop: Drop) -> None:
        self.db.execute(
            "INSERT INTO dropped VALUES (?, ?, ?, ?, ?)",
            (id, source, step, drop.reason, drop.detail),
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows still kept, by id, then content."""
        query = "SELECT row FROM kept WHERE reason IS NULL ORDER BY id, content, source, row"
        for (row,) in self.db.execute(query):
            yield orjson.loads(row)

    def drops(self) -> Iterator[dict[str, str]]:
        """The drop report, by id, source, step, reason and detail."""
        query = "SELECT id, source, step, reason, detail FROM dropped ORDER BY 1, 2, 3, 4, 5"
        for values in self.db.execute(query):
            yield dict(zip(("id", "source", "step", "reason", "detail"), values, strict=True))

    def to_release(
        self, path: Path, corpus: str, made: dict[str, Any], template: Prompt
    ) -> release.Manifest:
        """Write rows and drop report as a release; ``made`` is what its manifest shall say."""
        with release.Writer(path, corpus) as writer:
            for dropped in self.drops():
                writer.drop(dropped)
            test_share = made["configuration"]["test_share"]
            statistics = writer.add_all("all", self.rows(), test_share)
            return writer.finish({**made, "statistics": statistics}, template)

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()
        if isinstance(error, sqlite3.OperationalError):
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> OutputError:
        return OutputError(f"{self._folder}: cannot be written to ({error}); is the disk full?")
