"""Raw conversations from saved ShareGPT pages and from JSON dumps, one at a time.

- ``*.html``: a page with a ``__NEXT_DATA__`` script that holds
  ``props.pageProps.content.items[{from, value}]``;
- ``*.json`` or ``*.jsonl``: ``{id, conversations: [{from, value}]}``, in an array of any size, one
  a line, or one alone; which of these it is, is found by looking.

Any of them may be gzip or zstd. A bad page or row comes out as :class:`Unreadable` with its reason.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import xxhash

from datasets_scripts.pipeline import Drop
from ultra import jsonl
from ultra.errors import InputError

_NAME = re.compile(r"\.(html?|jsonl?)(\.gz|\.zst)?$", re.IGNORECASE)
_PAGE = re.compile(r"\.html?(\.gz|\.zst)?$", re.IGNORECASE)
_SCRIPT = b'<script id="__NEXT_DATA__"'
_BAD = object()
_LOOKAHEAD = 100
_CHUNK = 2**20
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:(")|\\?\Z)|[\[\]{},]', re.DOTALL)
"""A string, whole or running into the end of the text; or what separates values."""
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class RawConversation:
    """As found: ``items`` are turns not yet checked, ``source`` is relative to the input."""

    source: str
    id: str
    items: list[Any]
    model: str = ""
    title: str = ""
    views: int = 0


@dataclass(frozen=True)
class Unreadable:
    """A page or row without a conversation in it."""

    source: str
    id: str
    drop: Drop


class RawInput:
    """A file or a folder of raw pages and dumps, to be read once from start to end.

    Raises:
        InputError: on creation, if there is nothing to read; while reading, if a file cannot be
            read or an array breaks off, as what follows would be lost without a count.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        self.files = sorted(_find(path)) if path.is_dir() else [path]
        if not self.files:
            raise InputError(f"{path}: holds no .html, .json or .jsonl file")
        self.ignored: list[str] = []
        """Files that turned out to hold something else than conversations."""
        self.count = 0
        self._sum = 0

    def __iter__(self) -> Iterator[RawConversation | Unreadable]:
        root = self.path if self.path.is_dir() else self.path.parent
        for file in self.files:
            source = jsonl.scrub(file.relative_to(root).as_posix())
            if _PAGE.search(file.name):
                yield self._read_page(file, source)
            else:
                try:
                    yield from self._read_dump(file, source)
                except jsonl.BROKEN as error:
                    raise InputError(f"{file}: breaks off ({error}); get it again") from error

    def fingerprint(self) -> dict[str, Any]:
        """What was read: how many conversations, and a digest that their order does not change."""
        ignored = {"ignored": sorted(self.ignored)} if self.ignored else {}
        return {"conversations": self.count, "xxh3_128": f"{self._sum:032x}", **ignored}

    def _note(self, source: str, raw: bytes) -> None:
        digest = xxhash.xxh3_128_intdigest(source.encode("utf-8") + b"\0" + raw)
        self._sum = (self._sum + digest) % 2**128
        self.count += 1

    def _read_page(self, file: Path, source: str) -> RawConversation | Unreadable:
        try:
            with jsonl.open_binary(file) as opened:
                page = opened.read()
        except jsonl.BROKEN as error:
            self._note(source, b"")
            return Unreadable(source, "", Drop("truncated", str(error)))
        self._note(source, page)
        return _read_page(source, page)

    def _read_dump(self, file: Path, source: str) -> Iterator[RawConversation | Unreadable]:
        records = ((raw, _loads(raw)) for raw in _records(file))
        first = list(islice(records, _LOOKAHEAD))
        if not any(value is _BAD or _has_items(value) for _, value in first):
            self.ignored.append(source)
            return
        for raw, value in chain(first, records):
            self._note(source, raw)
            yield _read_record(source, raw, value)


def _find(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if _NAME.search(name) and not name.startswith("."):
                yield Path(parent, name)


def _read_page(source: str, page: bytes) -> RawConversation | Unreadable:
    # The page's data is its last script, and in it "<" is written \u003c: a byte search is exact.
    start = page.rfind(_SCRIPT)
    opened = page.find(b">", start)
    end = page.find(b"</script>", opened)
    if start < 0 or opened < 0 or end < 0:
        reason = _not_text(page) or ("no_next_data" if start < 0 else "truncated")
        return Unreadable(source, "", Drop(reason))
    data = _loads(page[opened + 1 : end])
    if data is _BAD:
        return Unreadable(source, "", Drop(_not_text(page) or "broken_json"))
    properties = _dig(data, "props", "pageProps")
    content = _dig(properties, "content")
    id = _text(_dig(properties, "id"))
    if not _has_items(content):
        return Unreadable(source, id, Drop("no_content"))
    views = _dig(properties, "views")
    return _conversation(source, id, content, views)


def _not_text(page: bytes) -> str:
    try:
        page.decode("utf-8")
    except UnicodeDecodeError:
        return "not_utf8"
    return "" if page.strip() else "empty_file"


def _records(file: Path) -> Iterator[bytes]:
    """The values of a dump, each as its bytes, in the order of the file."""
    with jsonl.open_binary(file) as opened:
        first = opened.readline(_CHUNK).removeprefix(_BOM)
        while first.isspace():
            first = opened.readline(_CHUNK)
        if first.lstrip().startswith(b"["):
            try:
                yield from _array(first, opened)
            except ValueError as error:
                raise InputError(f"{file}: broken JSON {error}; get the file again") from error
        else:
            yield from _lines(first, opened)


def _array(start: bytes, opened: BinaryIO) -> Iterator[bytes]:
    """The elements of a JSON array, found by quotes and brackets, so that one of them may be bad.

    Raises:
        ValueError: the array does not end, or something stands behind its end.
    """
    buffer, depth, begin, at, count = start, 0, 0, 0, 0
    chunk, read = _CHUNK, partial(opened.read, _CHUNK)
    while True:
        seen = at
        for token in _TOKEN.finditer(buffer, at):
            mark = token[0][:1]
            if mark == b'"':
                if not token[1]:
                    break  # the string goes on in the next chunk
            elif mark in b"[{":
                depth += 1
                begin = token.end() if depth == 1 else begin
            elif depth == 1:  # a comma between elements, or the end of the array
                element = buffer[begin : token.start()].strip()
                if element or count or mark == b",":
                    count += 1
                    yield element
                begin = token.end()
                if mark == b"]":
                    if any(map(bytes.strip, chain([buffer[begin:]], iter(read, b"")))):
                        raise ValueError(f"behind the array of {count} conversations")
                    return
                if mark == b"}":
                    raise ValueError(f"after {count} conversations, a bracket too many")
            elif mark in b"]}":
                depth -= 1
            at = token.end()
        more = opened.read(chunk)
        if not more:
            count += _loads(buffer[begin:]) is not _BAD
            raise ValueError(f"after {count} conversations, where it breaks off")
        chunk = chunk * 2 if at == seen else _CHUNK  # so a long string takes few steps
        buffer, at, begin = buffer[begin:] + more, max(0, at - begin), 0


def _lines(first: bytes, opened: BinaryIO) -> Iterator[bytes]:
    """JSON Lines; or, where the first line is no value by itself, one object over many lines."""
    first += b"" if first.endswith(b"\n") else opened.readline()
    lines: Iterable[bytes] = chain([first], opened)
    if _loads(first) is _BAD:
        whole = first + opened.read()
        lines = whole.splitlines(keepends=True)
        if _loads(whole) is not _BAD or not any(_has_items(_loads(line)) for line in lines):
            lines = [whole]
    yield from (line.strip() for line in lines if line.strip())


def _loads(raw: bytes) -> Any:
    """The JSON value, or ``_BAD``. Halves of surrogate pairs, which orjson refuses, may pass."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            return json.loads(raw) if b"\\u" in raw else _BAD
        except (ValueError, RecursionError):
            return _BAD


def _read_record(source: str, raw: bytes, value: Any) -> RawConversation | Unreadable:
    if value is _BAD:
        start = raw[:60].decode("utf-8", "replace")
        return Unreadable(source, "", Drop(_not_text(raw) or "broken_json", start))
    id = _text(_dig(value, "id"))
    if not _has_items(value):
        return Unreadable(source, id, Drop("no_content"))
    return _conversation(source, id, value, _dig(value, "views"))


def _conversation(source: str, id: str, content: Any, views: Any) -> RawConversation:
    return RawConversation(
        source=source,
        id=id,
        items=_items(content) or [],
        model=_text(_dig(content, "model")),
        title=_text(_dig(content, "title")),
        views=views if type(views) is int and 0 <= views < 2**63 else 0,
    )


def _has_items(value: Any) -> bool:
    return _items(value) is not None


def _items(value: Any) -> list[Any] | None:
    """The turns of a page or of a row of a dump, or None if there are none."""
    found = _dig(value, "items") or _dig(value, "conversations")
    return found if isinstance(found, list) else None


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return jsonl.scrub(value) if isinstance(value, str) else ""
