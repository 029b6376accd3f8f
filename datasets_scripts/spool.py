"""Rows on disk between the input and the release: any order in, the defined order out.

A build meets its rows in the order of files or of finished calls; a release is ordered by id and
content. The lines wait in a file and what the order needs to know of them in SQLite, so memory does
not grow with the input.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import orjson
import xxhash

from datasets_scripts.pipeline import Drop, Ledger
from datasets_scripts.statistics import SAMPLE, Statistics
from ultra import release, schema
from ultra.errors import OutputError
from ultra.prompts import Prompt

_TABLES = """
CREATE TABLE kept (
    number INTEGER PRIMARY KEY, id TEXT, content BLOB, source TEXT, turns INT, length INT,
    line BLOB, root TEXT, configs TEXT, place INT, size INT, signature BLOB, overlaps TEXT,
    described TEXT, reason TEXT, winner INT, detail TEXT, step TEXT
);
CREATE TABLE prefix (content BLOB, number INT);
CREATE TABLE dropped (id TEXT, source TEXT, step TEXT, reason TEXT, detail TEXT);
"""
_INSERT = f"INSERT INTO kept VALUES ({', '.join('?' * 14)}, NULL, NULL, NULL, NULL)"  # noqa: S608
"""``number`` is the order of arrival, which decides nothing. ``reason`` and ``detail`` mark a row
as dropped in a ``step``; ``winner`` is the row that it gave way to."""
_REPORT = """
INSERT INTO dropped
SELECT one.id, one.source, one.step, one.reason,
    coalesce(one.detail, 'gave way to ' || winner.id || ' of ' || winner.source, '')
FROM kept AS one LEFT JOIN kept AS winner ON winner.number = one.winner
WHERE one.step = ?
"""

_OF_CONFIG = "WHERE reason IS NULL AND ' ' || configs || ' ' LIKE ?"
ORDER = "id, content, source, line"


@dataclass(slots=True)
class Entry:
    """What the order, the searches for duplicates and the configurations need to know of a row."""

    id: str
    source: str
    root: str
    content: bytes
    """xxh3-128 of the whole text, 16 bytes."""
    prefixes: tuple[bytes, ...] = ()
    """The same of the text up to each earlier answer."""
    counts: tuple[int, int] = (0, 0)
    """Turns and characters."""
    configs: str = "all"
    """The configurations that it is for, between blanks."""
    signature: bytes | None = None
    """MinHash of the text, if near duplicates are looked for."""
    overlaps: str | None = None
    """What it has in common with benchmark questions, if anything: ``Overlap`` values as JSON."""
    described: str | None = None
    """What ``statistics.describe`` says of it, if statistics are wanted."""


class Spool:
    """A scratch database in a folder, without a name: a killed build leaves nothing of it.

    ``rows`` is a file that already holds lines, for :meth:`refer`; those of :meth:`add` go into a
    scratch file.
    """

    def __init__(self, folder: Path, rows: BinaryIO | None = None) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".spool-{os.getpid()}"
        path.unlink(missing_ok=True)  # of a process that was killed at just this point
        try:
            self._rows = rows or cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115
            self._end = self._count = 0
            self.db = sqlite3.connect(path, isolation_level=None)
            self.db.execute("PRAGMA journal_mode = OFF")
            self.db.execute("PRAGMA synchronous = OFF")
            self.db.executescript(_TABLES)
            path.unlink()
            self.db.execute("BEGIN")
        except (sqlite3.OperationalError, OSError) as error:
            raise self._failed(error) from error

    def add(self, entry: Entry, line: bytes) -> None:
        """Take a row, as the line that is to be released."""
        self._rows.seek(self._end)
        self._rows.write(line)
        self.refer([(entry, xxhash.xxh3_128_digest(line), self._end, len(line))])
        self._end += len(line)

    def refer(self, entries: Iterable[tuple[Entry, bytes, int, int]]) -> None:
        """Take rows that stand in the file already: each line's digest, place and size in bytes."""
        kept, prefixes = [], []
        for one, line, place, size in entries:
            self._count += 1
            head = (self._count, one.id, one.content, one.source, *one.counts, line, one.root)
            tail = (one.signature, one.overlaps, one.described)
            kept.append((*head, one.configs, place, size, *tail))
            prefixes += [(prefix, self._count) for prefix in one.prefixes]
        self.db.executemany(_INSERT, kept)
        self.db.executemany("INSERT INTO prefix VALUES (?, ?)", prefixes)

    def drop(self, id: str, source: str, step: str, drop: Drop) -> None:
        self.db.execute(
            "INSERT INTO dropped VALUES (?, ?, ?, ?, ?)",
            (id, source, step, drop.reason, drop.detail),
        )

    def keep_only(self, config: str, reason: str) -> None:
        """Mark the rows that are not for a configuration."""
        self.db.execute(
            f"UPDATE kept SET reason = ? WHERE number NOT IN (SELECT number FROM kept {_OF_CONFIG})"  # noqa: S608
            " AND reason IS NULL",
            (reason, f"% {config} %"),
        )

    def settle(self, step: str, ledger: Ledger) -> None:
        """Count and report the rows that a step over all of them has marked with a reason."""
        query = "SELECT reason, count(*) FROM kept WHERE step IS NULL GROUP BY reason"
        for reason, count in self.db.execute(query).fetchall():
            ledger.enter(step, count)
            if reason is not None:
                ledger.drop(step, reason, count)
        self.db.execute(
            "UPDATE kept SET step = ? WHERE step IS NULL AND reason IS NOT NULL", (step,)
        )
        self.db.execute(_REPORT, (step,))

    def lines(self, config: str) -> Iterator[tuple[str, bytes]]:
        """Root and line of each row still kept for a configuration, by id, then content."""
        return self._lines(config, f"ORDER BY {ORDER}")

    def _lines(self, config: str, chosen: str) -> Iterator[tuple[str, bytes]]:
        query = f"SELECT root, place, size FROM kept {_OF_CONFIG} {chosen}"  # noqa: S608
        self._rows.flush()
        descriptor = self._rows.fileno()
        for root, place, size in self.db.execute(query, (f"% {config} %",)):
            yield root, os.pread(descriptor, size, place)

    def statistics(self, config: str, unit: str = "words") -> dict[str, Any]:
        """The figures of a configuration; empty if nothing in it was described."""
        found = Statistics(unit)
        query = f"SELECT described FROM kept {_OF_CONFIG} AND described IS NOT NULL"  # noqa: S608
        for (described,) in self.db.execute(query, (f"% {config} %",)):
            found.add(described)
        # the first half of the hash decides the split, so the second one chooses
        chosen = f"AND described IS NOT NULL ORDER BY substr(root, 17), {ORDER} LIMIT {SAMPLE}"
        for _, line in self._lines(config, chosen):
            found.add_diversity(orjson.loads(line)["messages"])
        return found.table()

    def drops(self) -> Iterator[dict[str, str]]:
        """The drop report, by id, source, step, reason and detail."""
        query = "SELECT id, source, step, reason, detail FROM dropped ORDER BY 1, 2, 3, 4, 5"
        for values in self.db.execute(query):
            yield dict(zip(("id", "source", "step", "reason", "detail"), values, strict=True))

    def to_release(
        self,
        path: Path,
        corpus: str,
        made: dict[str, Any],
        template: Prompt,
        configs: Iterable[str] = ("all",),
    ) -> release.Manifest:
        """Write rows and drop report as a release; ``made`` is what its manifest shall say."""
        test_share = made["configuration"]["test_share"]
        unit = "tokens" if made["configuration"].get("tokenizer") else "words"
        with release.Writer(path, corpus) as writer:
            for dropped in self.drops():
                writer.drop(dropped)
            statistics = {}
            for config in configs:
                statistics[config] = self.statistics(config, unit)
                for root, line in self.lines(config):
                    writer.write(config, schema.split_of(root, test_share), line)
            return writer.finish({**made, "statistics": statistics}, template)

    def close(self) -> None:
        self.db.close()
        self._rows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()
        if isinstance(error, sqlite3.OperationalError):
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> OutputError:
        return OutputError(f"{self._folder}: cannot be written to ({error}); is the disk full?")


def counts(messages: list[schema.Message]) -> tuple[int, int]:
    """Turns and characters, for an :class:`Entry`."""
    return len(messages), sum(len(turn["content"]) for turn in messages)
