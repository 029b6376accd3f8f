"""Raw conversations from saved ShareGPT pages and from JSON dumps, one at a time.

- ``*.html``: a page with a ``__NEXT_DATA__`` script that holds
  ``props.pageProps.content.items[{from, value}]``;
- ``*.json``: an array of ``{id, conversations: [{from, value}]}`` of any size, or one such object;
- ``*.jsonl``: one such object a line.

Any of them may be gzip or zstd. A bad page or row comes out as :class:`Unreadable` with its reason.
"""

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import ijson
import orjson
import xxhash
import zstandard

from datasets_scripts.pipeline import Drop
from ultra import jsonl
from ultra.errors import InputError

_NAME = re.compile(r"\.(html?|jsonl?)(\.gz|\.zst)?$", re.IGNORECASE)
_SCRIPT = b'<script id="__NEXT_DATA__"'
_LOOKAHEAD = 100
_BROKEN_ARCHIVE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)
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
            if ".htm" in file.name.lower():
                yield self._read_page(file, source)
            else:
                try:
                    yield from self._read_dump(file, source)
                except _BROKEN_ARCHIVE as error:
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
        except _BROKEN_ARCHIVE as error:
            self._note(source, b"")
            return Unreadable(source, "", Drop("truncated", str(error)))
        self._note(source, page)
        return _read_page(source, page)

    def _read_dump(self, file: Path, source: str) -> Iterator[RawConversation | Unreadable]:
        records = _records(file)
        first = list(islice(records, _LOOKAHEAD))
        if first and not any(_has_items(record) or isinstance(record, bytes) for record in first):
            self.ignored.append(source)
            return
        for record in chain(first, records):
            self._note(source, record if isinstance(record, bytes) else _canonical(record))
            yield _read_record(source, record)


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
    if data is None:
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


def _records(file: Path) -> Iterator[Any]:
    """The values of a dump; a value that is not JSON comes as its bytes."""
    with jsonl.open_binary(file) as opened:
        head = opened.read(1024)
    text = head.removeprefix(_BOM).lstrip()
    with jsonl.open_binary(file) as opened:
        opened.read(len(_BOM) if head.startswith(_BOM) else 0)
        yield from _array(opened, file) if text.startswith(b"[") else _lines(opened)


def _array(opened: BinaryIO, file: Path) -> Iterator[Any]:
    number = 0
    try:
        for record in ijson.items(opened, "item", use_float=True):
            number += 1
            yield record
    except ijson.JSONError as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(
            f"{file}: broken JSON after {number} conversations ({why}); get the file again"
        ) from error


def _lines(opened: BinaryIO) -> Iterator[Any]:
    """JSON Lines; or, where no line is an object by itself, one value over many lines."""
    first = next((line for line in opened if line.strip()), b"")
    lines: Iterable[bytes] = chain([first], opened)
    if _loads(first) is None:
        whole = first + opened.read()
        lines = whole.splitlines(keepends=True)
        if not any(isinstance(_loads(line), dict) for line in islice(lines, _LOOKAHEAD)):
            lines = [whole]
    for line in lines:
        if line.strip():
            value = _loads(line)
            yield line if value is None else value


def _loads(raw: bytes) -> Any:
    """The JSON value, or None. Halves of surrogate pairs, which orjson refuses, are let through."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            return json.loads(raw) if b"\\u" in raw else None
        except (ValueError, RecursionError):
            return None


def _canonical(record: Any) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError):  # half a surrogate pair, an integer of 65 bits
        return json.dumps(record, sort_keys=True).encode("ascii")


def _read_record(source: str, record: Any) -> RawConversation | Unreadable:
    if isinstance(record, bytes):
        start = record[:60].decode("utf-8", "replace").strip()
        return Unreadable(source, "", Drop(_not_text(record) or "broken_json", start))
    id = _text(_dig(record, "id"))
    if not _has_items(record):
        return Unreadable(source, id, Drop("no_content"))
    return _conversation(source, id, record, _dig(record, "views"))


def _conversation(source: str, id: str, content: Any, views: Any) -> RawConversation:
    return RawConversation(
        source=source,
        id=id,
        items=_dig(content, "items") or _dig(content, "conversations"),
        model=_text(_dig(content, "model")),
        title=_text(_dig(content, "title")),
        views=views if type(views) is int and 0 <= views < 2**63 else 0,
    )


def _has_items(value: Any) -> bool:
    return isinstance(_dig(value, "items") or _dig(value, "conversations"), list)


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return jsonl.scrub(value) if isinstance(value, str) else ""
