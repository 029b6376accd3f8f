"""Dumps of any size, cut into pieces of whole rows: JSON arrays, JSON Lines, or one object.

Whoever hands out the work cuts; whoever does it reads the rows of a piece. An array is cut where a
guess proves right: what stands before the cut parses as a list of whole elements, so the cut cannot
lie inside one. Where no guess does, quotes and brackets are counted, and a bad element costs only
itself.
"""

import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

from datasets_scripts.sharegpt import pages
from ultra import jsonl

CHUNK = 2**20
"""Bytes of a piece, about; a longer row makes a longer one."""
LARGE_ROW = 2**26
"""Bytes of a row, at most: behind one that is larger, nothing of a dump is read."""

DAMAGE = (*jsonl.BROKEN, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError)
"""What reading a damaged or cut file or archive raises."""

_BOM = b"\xef\xbb\xbf"
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:(")|\\?\Z)|[\[\]{},]', re.DOTALL)
"""A string, whole or running into the end of the text; or what separates values."""
_END_OF_ROW = re.compile(rb"\]\s*\}\s*,(?=\s*\{)")
"""A guess at the comma between two rows: turns end, row ends, next row begins."""
_TAIL = 2**18
_BLOCK = 2**14
"""Bytes that are lost before the damage in a file, at most."""
_BREAKS_TO_BLANKS = bytes.maketrans(b"\r\n", b"  ")


class Rows(NamedTuple):
    """Some rows of a dump, as its bytes: elements between commas, or lines.

    ``values`` are the elements, where the search for a cut has parsed them already; another process
    gets only the bytes, which are cheaper to send and parse than the values to send.
    """

    raw: bytes
    array: bool
    values: list[Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Rows, (self.raw, self.array)


class Broken(NamedTuple):
    """The rest of a dump that cannot be read."""

    reason: str
    detail: str


def cut(file: BinaryIO, chunk: int = CHUNK) -> Iterator[Rows | Broken]:
    """Cut a dump into pieces of whole rows, in order; what it is, is found by looking."""
    reader = _Reader(file, chunk)
    reader.more()
    reader.buffer = reader.buffer.removeprefix(_BOM).lstrip()
    while not reader.buffer and not reader.ended:
        reader.more()
        reader.buffer = reader.buffer.lstrip()
    try:
        if reader.buffer.startswith(b"["):
            reader.buffer = reader.buffer[1:]
            yield from _cut_array(reader)
        elif reader.buffer:
            yield from _cut_lines(reader)
    except _TooLargeError:
        yield _TOO_LARGE
        return
    if reader.damage:
        yield Broken("truncated", reader.damage)


def rows(piece: Rows) -> Iterator[tuple[Any, bytes]]:
    """The values of a piece; one that is no JSON as ``pages.BAD``, with its bytes."""
    if not piece.array:
        for line in piece.raw.splitlines():
            if line := line.strip():
                yield pages.loads(line), line
        return
    try:
        values = orjson.loads(b"[%b]" % piece.raw) if piece.values is None else piece.values
    except orjson.JSONDecodeError:
        for element in _elements(piece.raw):
            yield pages.loads(element), element
    else:
        for value in values:
            yield value, b""


def holds_conversations(piece: Rows) -> bool:
    """Whether the first piece of a dump has a row with turns, or one too bad to tell."""
    return any(value is pages.BAD or pages.items_of(value) is not None for value, _ in rows(piece))


_TOO_LARGE = Broken("too_large", f"a row of more than {LARGE_ROW // 2**20} MiB")


class _TooLargeError(Exception):
    """A row that is larger than one may be."""


class _Reader:
    """A stream with what has been read of it and not yet cut off."""

    def __init__(self, file: BinaryIO, chunk: int) -> None:
        self.file, self.chunk = file, chunk
        self.buffer, self.ended, self.damage = b"", False, ""

    def more(self) -> None:
        """Read as much again as there is, so that a long row takes few steps.

        Raises:
            _TooLargeError: what there is, is more than a row may be.
        """
        have = len(self.buffer)
        if have > LARGE_ROW:
            raise _TooLargeError
        left, parts, part = min(max(self.chunk, have), LARGE_ROW + 1 - have), [self.buffer], b""
        try:
            while left > 0 and (part := self.file.read(min(left, _BLOCK))):
                parts.append(part)
                left -= len(part)
        except DAMAGE as error:
            part, self.damage = b"", str(error) or "the file breaks off"
        self.buffer = b"".join(parts)
        self.ended = not part

    def fill(self) -> None:
        while len(self.buffer) < self.chunk and not self.ended:
            self.more()


def _cut_lines(reader: _Reader) -> Iterator[Rows | Broken]:
    """Whole lines; or, where the first line is no value by itself, one object over many lines."""
    reader.fill()
    while b"\n" not in reader.buffer and not reader.ended:
        reader.more()
    if pages.loads(reader.buffer.partition(b"\n")[0]) is pages.BAD and _is_one_object(reader):
        if not reader.damage:
            # line breaks in JSON are but blanks
            yield Rows(reader.buffer.translate(_BREAKS_TO_BLANKS), array=False)
        return
    while reader.buffer:
        end = reader.buffer.rfind(b"\n") + 1
        if reader.ended:
            end = len(reader.buffer) if not reader.damage else end
        elif not end:
            reader.more()
            continue
        if end:
            yield Rows(reader.buffer[:end], array=False)
        reader.buffer = b"" if reader.ended else reader.buffer[end:]
        reader.fill()


def _is_one_object(reader: _Reader) -> bool:
    """Whether no line is a row. Only a file whose first lines are none is read on for this."""
    begin = reader.buffer.find(b"\n") + 1
    while True:
        end = len(reader.buffer) if reader.ended else reader.buffer.rfind(b"\n") + 1
        if any(map(_is_row, io.BytesIO(reader.buffer[begin:end]))):
            return False
        if reader.ended:
            return True
        begin = max(begin, end)
        reader.more()


def _is_row(line: bytes) -> bool:
    return line.lstrip().startswith(b"{") and bool(pages.items_of(pages.loads(line)))


def _cut_array(reader: _Reader) -> Iterator[Rows | Broken]:
    count = 0
    while True:
        reader.fill()
        if (last := _last(reader)) is not None:
            yield last
            return
        if (guess := _guess(reader)) is not None:
            end = len(guess.raw)
            count += len(guess.values or ())
            yield guess
            reader.buffer = reader.buffer[end + 1 :]
            continue
        end, found, closed = _whole(reader.buffer)
        count += found
        if found:
            yield Rows(reader.buffer[:end], array=True)
        if closed:
            if broken := _behind(reader, end, count):
                yield broken
            return
        reader.buffer = reader.buffer[end + 1 :] if found else reader.buffer
        if reader.ended:
            if (last := _parsed(reader.buffer)) is not None and last.values:
                count += len(last.values)
                yield last
            if not reader.damage:
                yield Broken("truncated", f"breaks off after {count} conversations")
            return
        if not found:
            reader.more()


def _last(reader: _Reader) -> Rows | None:
    """The rows left before the end of a faultless array."""
    left = reader.buffer.rstrip() if reader.ended and not reader.damage else b""
    return _parsed(left[:-1]) if left.endswith(b"]") else None


def _guess(reader: _Reader) -> Rows | None:
    """The rows up to a comma between two of them near the end of the buffer."""
    buffer = reader.buffer
    begin = max(0, len(buffer) - _TAIL)
    ends = [match.end() - 1 for match in _END_OF_ROW.finditer(buffer, begin)]
    guesses = (_parsed(buffer[:end]) for end in ends[:-3:-1])
    return next((rows for rows in guesses if rows is not None), None)


def _parsed(raw: bytes) -> Rows | None:
    try:
        return Rows(raw, array=True, values=orjson.loads(b"[%b]" % raw))
    except orjson.JSONDecodeError:
        return None


def _behind(reader: _Reader, end: int, count: int) -> Broken | None:
    """What is wrong with the end of an array, if anything."""
    mark, rest = reader.buffer[end : end + 1], reader.buffer[end + 1 :]
    if mark == b"}":
        return Broken("broken_json", f"a bracket too many after {count} conversations")
    while not rest.strip() and not reader.ended:
        reader.buffer = b""
        reader.more()
        rest = reader.buffer
    if rest.strip():
        return Broken("broken_json", f"something stands behind the array of {count} conversations")
    return None


def _whole(buffer: bytes) -> tuple[int, int, bool]:
    """Where the last whole element ends, how many there are, whether the array ends there."""
    end, count, begin, closed = 0, 0, 0, False
    for at, mark in _separators(buffer):
        closed = mark != b","
        if mark == b"," or count or buffer[begin:at].strip():
            count += 1
        end, begin = at, at + 1
    return end, count, closed


def _elements(raw: bytes) -> Iterator[bytes]:
    begin = 0
    for at, _ in _separators(raw):
        yield raw[begin:at].strip()
        begin = at + 1
    if last := raw[begin:].strip():
        yield last


def _separators(buffer: bytes) -> Iterator[tuple[int, bytes]]:
    """Commas between elements, and the bracket that ends their array, told by counting."""
    depth = 0
    for token in _TOKEN.finditer(buffer):
        mark = token[0][:1]
        if mark == b'"':
            if not token[1]:
                return  # the string goes on behind the buffer
        elif mark in b"[{":
            depth += 1
        elif depth == 0:
            yield token.start(), mark
            if mark != b",":
                return
        elif mark != b",":
            depth -= 1
