"""JSON Lines: one object a line, UTF-8, plain, gzip or zstd; and the digest of any JSON value."""

import gzip
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
import xxhash
import zstandard

from ultra.errors import InputError
from ultra.files import atomic

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading; gzip and zstd are recognised by their first bytes, not by name.

    Raises:
        InputError: the file is not there or cannot be read.
    """
    try:
        file = path.open("rb")
        magic = file.read(4)
        file.seek(0)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if magic.startswith(_GZIP):
        file.close()
        return cast(BinaryIO, gzip.open(path))
    if magic == _ZSTD:
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, closefd=True))
    return file


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file.

    Raises:
        InputError: names the file and line that is not a JSON object.
    """
    with open_binary(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InputError(f"{path}:{number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}:{number}: expected a JSON object")
            yield row


def write(path: Path, rows: Iterable[Any]) -> int:
    """Write rows atomically, keys in their given order; returns their number."""
    count = 0
    with atomic(path) as file:
        for row in rows:
            file.write(dump(row))
            count += 1
    return count


def dump(row: Any) -> bytes:
    """One line of JSONL, with its newline."""
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def digest(value: Any) -> str:
    """xxh3-128 of the canonical JSON of ``value`` (sorted keys, UTF-8), as 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def scrub(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can hold and UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
