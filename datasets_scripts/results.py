"""Finished pieces of a build, kept so that a killed one goes on where it was.

One file, appended to by one process: for each piece a line of JSON (its key, a digest, what was
found), then the rows that it made, as they are. What a kill or a power cut left half-written at the
end is cut off when the file is opened again.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import orjson
import xxhash

from ultra import files


class Result(NamedTuple):
    """What became of one piece: a JSON object, and lines of rows."""

    found: bytes
    rows: bytes


class Results:
    """The file of finished pieces of one build."""

    def __init__(self, file: BinaryIO, identity: bytes) -> None:
        self.file = file
        self._places: dict[bytes, int] = {}
        file.seek(0)
        if file.readline() != identity:
            file.seek(0)
            file.write(identity)
        else:
            for key, place in self._intact():
                self._places[key] = place
        file.truncate()
        self._end = file.tell()

    def get(self, key: bytes) -> tuple[dict[str, Any], int] | None:
        """What was found in a finished piece, and where in the file its rows begin."""
        if key not in self._places:
            return None
        self.file.seek(self._places[key])
        head = orjson.loads(self.file.readline())
        found = orjson.loads(self.file.read(head["found"]))
        return found, self.file.tell()

    def add(self, key: bytes, result: Result) -> tuple[dict[str, Any], int]:
        """Append a finished piece; returns what :meth:`get` would."""
        sizes = {"found": len(result.found), "rows": len(result.rows)}
        head = {"key": key.hex(), **sizes, "xxh3_64": _digest(result)}
        self.file.seek(self._end)
        self.file.write(orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE) + result.found)
        place = self.file.tell()
        self.file.write(result.rows)
        self.file.flush()
        self._end = place + len(result.rows)
        return orjson.loads(result.found), place

    def _intact(self) -> Iterator[tuple[bytes, int]]:
        """Key and place of each whole piece; leaves the file at the end of the last one."""
        while True:
            place = self.file.tell()
            try:
                head = orjson.loads(self.file.readline())
                result = Result(self.file.read(head["found"]), self.file.read(head["rows"]))
                if _digest(result) != head["xxh3_64"]:
                    raise ValueError("torn")
                yield bytes.fromhex(head["key"]), place
            except (ValueError, KeyError, TypeError):
                self.file.seek(place)
                return


def _digest(result: Result) -> str:
    state = xxhash.xxh3_64(result.found)
    state.update(result.rows)
    return state.hexdigest()


@contextmanager
def opened(run: Path, identity: dict[str, Any]) -> Iterator[Results]:
    """Open the results of a build, or begin anew if they are another build's.

    Raises:
        OutputError: another process has them open.
    """
    with files.locked(run):
        descriptor = os.open(run / "pieces", os.O_RDWR | os.O_CREAT, 0o666)
        with cast(BinaryIO, io.BufferedRandom(io.FileIO(descriptor, "r+"))) as file:
            head = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
            yield Results(file, head)
