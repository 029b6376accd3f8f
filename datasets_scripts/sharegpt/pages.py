"""One saved page or one row of a dump as a raw conversation, or why it holds none.

- a page has a ``__NEXT_DATA__`` script with ``props.pageProps.content.items[{from, value}]``;
- a row of a dump is ``{id, conversations: [{from, value}]}``, or such a page's ``content``.

Nothing here raises, whatever the bytes: a bad page or row is an :class:`Unreadable`.
"""

import json
from dataclasses import dataclass
from typing import Any

import orjson
import xxhash

from datasets_scripts.pipeline import Drop
from ultra import jsonl

_SCRIPT = b'<script id="__NEXT_DATA__"'
BAD = object()
"""What :func:`loads` returns for bytes that are no JSON."""


@dataclass(frozen=True, slots=True)
class RawConversation:
    """As found: ``items`` are turns not yet checked, ``source`` is relative to the input."""

    source: str
    id: str
    items: list[Any]
    model: str = ""
    title: str = ""
    views: int = 0
    digest: int = 0
    """xxh3-128 of the source and of all that was read; in what order things are read, or with how
    many blanks between them, is no part of it."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A page or row without a conversation in it."""

    source: str
    id: str
    drop: Drop
    digest: int = 0


def read_page(source: str, page: bytes) -> RawConversation | Unreadable:
    """Take the conversation out of a saved page."""
    digest = _digest(source, page)
    start, end = _script(page)
    opened = page.find(b">", start)
    if not 0 <= start < opened < end:
        reason = _not_text(page) or ("no_next_data" if start < 0 else "truncated")
        return Unreadable(source, "", Drop(reason), digest)
    data = loads(page[opened + 1 : end])
    if data is BAD:
        return Unreadable(source, "", Drop(_not_text(page) or "broken_json"), digest)
    properties = _dig(data, "props", "pageProps")
    content = _dig(properties, "content")
    id = id_of(properties)
    items = items_of(content)
    if items is None:
        return Unreadable(source, id, Drop("no_content"), digest)
    views = _views(_dig(properties, "views"))
    model, title = _text(_dig(content, "model")), _text(_dig(content, "title"))
    return RawConversation(source, id, items, model, title, views, digest)


def _script(page: bytes) -> tuple[int, int]:
    """Where the page's data begins and ends, or -1: in its last script.

    In the data ``<`` is written ``\\u003c``, so a search for bytes is exact. That for a single byte
    is many times as fast as others.
    """
    end = page.rfind(b"</script>")
    start = page.rfind(b"<", 0, max(end, 0))
    if not page.startswith(_SCRIPT, start):  # another script stands behind it, or it is cut off
        start = page.rfind(_SCRIPT)
        end = page.find(b"</script>", start)
    return start, end


def read_record(source: str, value: Any) -> RawConversation | Unreadable:
    """Take the conversation out of a row of a dump: the value that :func:`loads` read."""
    id = id_of(value)
    items = items_of(value)
    if items is None:
        return Unreadable(source, id, Drop("no_content"), _digest(source, _shown(value)))
    model, title = _text(_dig(value, "model")), _text(_dig(value, "title"))
    views = _views(_dig(value, "views"))
    digest = _items_digest(f"{source}\0{id}\0{model}\0{title}\0{views}\0", items)
    return RawConversation(source, id, items, model, title, views, digest)


def bad_record(source: str, raw: bytes) -> Unreadable:
    """A row of a dump that is no JSON."""
    start = raw[:200].decode("utf-8", "replace")
    drop = Drop(_not_text(raw) or "broken_json", start)
    return Unreadable(source, "", drop, _digest(source, raw))


def unreadable(source: str, reason: str, detail: str) -> Unreadable:
    """A file, or the rest of one, that cannot be read at all."""
    return Unreadable(source, "", Drop(reason, detail), _digest(source, f"{reason} {detail}"))


def loads(raw: bytes) -> Any:
    """The JSON value, or ``BAD``. Half a surrogate pair, which orjson refuses, is replaced."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if b"\\u" not in raw:
            return BAD
    try:
        text = json.dumps(json.loads(raw), ensure_ascii=False)
        return orjson.loads(jsonl.scrub(text))
    except (ValueError, RecursionError):
        return BAD


def items_of(value: Any) -> list[Any] | None:
    """The turns of a page's content or of a row of a dump, or None if there are none."""
    found = _dig(value, "items") or _dig(value, "conversations")
    return found if isinstance(found, list) else None


def id_of(value: Any) -> str:
    """The id of a page or row, which may be a number, or "" if there is none."""
    id = _dig(value, "id")
    return str(id) if type(id) is int else _text(id)


def _digest(source: str, raw: bytes | str) -> int:
    state = xxhash.xxh3_128(f"{source}\0".encode())
    state.update(raw if isinstance(raw, bytes) else raw.encode())
    return state.intdigest()


def _items_digest(head: str, items: list[Any]) -> int:
    state = xxhash.xxh3_128(head.encode())
    try:
        state.update(repr([len(item["value"]) for item in items]).encode())
        for item in items:
            state.update(item["from"].encode())
            state.update(item["value"].encode())
    except (TypeError, KeyError, AttributeError):  # some item is no turn
        state.update(_shown(items).encode())
    return state.intdigest()


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except RecursionError:
        return "nested too deep"


def _not_text(page: bytes) -> str:
    try:
        page.decode("utf-8")
    except UnicodeDecodeError:
        return "not_utf8"
    return "" if page.strip() else "empty_file"


def _dig(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _views(views: Any) -> int:
    return views if type(views) is int and 0 <= views < 2**63 else 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
