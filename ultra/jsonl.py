"""JSON Lines: one object a line, UTF-8, plain, gzip or zstd; and the digest of any JSON value."""

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson
import xxhash
import zstandard

from ultra.errors import InputError
from ultra.files import atomic

BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)
"""What reading a damaged gzip or zstd file raises."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZSTD_STEP = 2**10
"""Bytes that are unpacked at a time: four of them can stand for 128 KiB."""


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading; gzip and zstd are recognised by their first bytes, not by name.

    Raises:
        InputError: the file is not there or cannot be read. While reading, one of ``BROKEN`` is
            raised if a compressed file is damaged or breaks off.
    """
    try:
        return unpacked(path.open("rb"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def unpacked(file: BinaryIO) -> io.BufferedReader:
    """The bytes inside a gzip or zstd stream, or the stream itself; closing it closes both."""
    peeking = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast(Any, file))
    start = peeking.peek(4)
    if not is_packed(start):
        return peeking
    return io.BufferedReader(cast(Any, _Gzip(peeking)) if start[:2] == _GZIP else _Zstd(peeking))


def is_packed(start: bytes) -> bool:
    """Whether bytes are the start of gzip or zstd data."""
    return start.startswith((_GZIP, _ZSTD))


class _Gzip(gzip.GzipFile):
    """A gzip stream that closes the file it reads."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._under = file

    def close(self) -> None:
        super().close()
        self._under.close()


class _Zstd(io.RawIOBase):
    """A zstd file that says so when it breaks off; zstandard's reader just ends early."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if self._frame.eof:
                rest = self._frame.unused_data or self._file.read(_ZSTD_STEP)
                if not rest:
                    return 0
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            else:
                rest = self._file.read(_ZSTD_STEP)
                if not rest:
                    raise EOFError("the zstd stream breaks off")
            self._ready = memoryview(self._frame.decompress(rest))
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file.

    Raises:
        InputError: names the file and line that is not a JSON object.
    """
    with open_binary(path) as file:
        lines = enumerate(file, 1)
        while True:
            try:
                number, line = next(lines)
            except StopIteration:
                return
            except BROKEN as error:
                raise InputError(
                    f"{path}: damaged or breaks off ({error}); get it again"
                ) from error
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
