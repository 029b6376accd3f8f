"""Read the lists that a model was asked for out of what it replied.

Models number, bullet, quote, fence, group under headings, introduce and conclude what was to be a
plain list, or reply with JSON. All of that is read; what is left of a line is an item, or it is
rejected for one of these reasons, which are counted:

``refusal``, ``no_list`` (a reply without any item), ``cut_off`` (the reply ended in it),
``content_filter``, ``repeated`` in this list, ``placeholder`` (a gap to be filled in),
``role_tag``, ``announces_itself`` ("As a beginner, …"), ``too_short``, ``too_long``, and
``surplus`` (more items than were asked for).
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

import orjson

from datasets_scripts import boilerplate, expressions
from datasets_scripts.ultrachat.openings import list_lines
from datasets_scripts.words import words
from ultra import jsonl
from ultra.chat import Completion

LONGEST_REPLY = 200_000
"""Characters of a reply that are read."""
LONGEST_ITEM = 600
LONGEST_MESSAGE = 4_000
"""Characters of a message that is a whole reply."""
LEAST_WORDS = 3
"""Of an item that is a message; one of a name is enough."""

Kind = Literal["message", "name"]
"""``message``: something that a user says; ``name``: of a subtopic, which a remark may follow."""


class Item(NamedTuple):
    """An item of a reply; with a ``reason`` it is rejected, and ``text`` is what was seen."""

    text: str
    reason: str = ""


_CONTROL = {code: " " for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"} | {
    0x2028: "\n",
    0x2029: "\n",
}
_LABEL = re.compile(
    r"\*\*(?:([^*]{1,80})\*\*\s*[:\u2013\u2014-]|([^*]{1,80}):\*\*)\s*(.*)", re.DOTALL
)
_REMARK = re.compile(r"(?:\s+[\u2013\u2014-]+|:)\s+")
_SPEAKER = re.compile(r"(?:q|user|human|question|prompt|person)\s?\d{0,3}\s?:\s*", re.IGNORECASE)
_OTHER_SPEAKER = re.compile(r"(?:a|answer|assistant|ai|system|response)\s?:", re.IGNORECASE)
_MANNER = re.compile(r"\([^()]{1,40}\)\s+")
_MODEL_SPEAKS = re.compile(
    r"sorry|apologi[sz]|regret|\bAI\b|language model|guideline|polic(?:y|ies)\b"
    r"|\b(?:that|this|your) request|(?:assist|help)(?: you)? with (?:that|this)",
    re.IGNORECASE,
)
_AS_A = re.compile(r"as an?\s\w", re.IGNORECASE)
_GAP = re.compile(
    r"""
    [\[<{] (?:your|insert|add|enter|some|specific|name|topic|subject|company|product|brand|date
        |place|city|country|location|number|amount|title|text|link|url|author|field) \b
        [^\]>}\n]{0,40} [\]>}]
    | _{4,} | \bX{3,}\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_QUOTES = {
    '"': '"',
    "'": "'",
    "“": "”",
    "\u2018": "\u2019",
    "«": "»",
    "„": "“",
    "`": "`",
    "「": "」",
}
_KEYS = (
    "question",
    "message",
    "text",
    "instruction",
    "item",
    "prompt",
    "subtopic",
    "name",
    "title",
)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)("?)\s*(:?)', re.DOTALL)


def clean(text: str) -> str:
    """Valid text without control characters but tabs and line ends, which are all ``\\n``."""
    return jsonl.scrub(text).replace("\r\n", "\n").translate(_CONTROL)


def parse(reply: Completion, most: int, kind: Kind = "message") -> list[Item]:
    """The items of a reply in their order, good ones and rejected ones; never none at all.

    At most ``most`` are good. Takes time linear in the reply.
    """
    text = clean(reply.text[:LONGEST_REPLY])
    if reply.finish_reason == "content_filter":
        return [Item(_shown(text), "content_filter")]
    found, is_whole = _json(text)
    if not found:
        found, is_whole = list_lines.items(text), False
    found = [item for item in found if item.strip()]
    if not found or (len(found) == 1 and most > 1 and _refuses(text)):
        return [Item(_shown(text), "refusal" if _refuses(text) else "no_list")]
    cut = len(found) - 1 if reply.finish_reason == "length" and not is_whole else -1
    items: list[Item] = []
    seen: set[bytes] = set()
    good = 0
    for place, raw in enumerate(found):
        one = _bare(raw, kind)
        key = b" ".join(words(one)) or one.encode()
        reason = "cut_off" if place == cut else _fault(one, kind)
        if not reason:
            reason = "repeated" if key in seen else "surplus" if good == most else ""
        seen.add(key)
        good += not reason
        items.append(Item(_shown(one) if reason else one, reason))
    return items


def parse_message(reply: Completion) -> Item:
    """The one message that a reply was to be."""
    text = clean(reply.text[:LONGEST_REPLY]).strip()
    if reply.finish_reason in ("length", "content_filter"):
        reason = "cut_off" if reply.finish_reason == "length" else "content_filter"
        return Item(_shown(text), reason)
    head, _, rest = text.partition("\n")
    if rest.strip() and head.rstrip().endswith(":") and list_lines.is_chatter(head):
        text = rest.strip()
    if text.startswith("```") and text.endswith("```") and text.count("```") == 2:
        text = text[3:-3].partition("\n")[2].strip()
    text = _unquoted(_after(_SPEAKER, _unquoted(text)))
    reason = "refusal" if _refuses(text) else _fault(text, "message", LONGEST_MESSAGE)
    return Item(_shown(text) if reason else text, reason)


def _shown(text: str) -> str:
    """The beginning of a text on one line, for a report."""
    return " ".join(text[:400].split())[:200]


@cache
def _refusals() -> list[expressions.Group]:
    return expressions.load(boilerplate.PATTERNS / "refusals.txt")


def _refuses(text: str) -> bool:
    """Whether the model speaks of itself; a user too may write "I can't open my mail"."""
    if not _MODEL_SPEAKS.search(text, 0, LONGEST_MESSAGE):
        return False
    return expressions.find(_refusals(), text[:LONGEST_MESSAGE]) is not None


def _fault(text: str, kind: Kind, longest: int = LONGEST_ITEM) -> str:
    """Why a line cannot be an item, or nothing."""
    least = LEAST_WORDS if kind == "message" else 1
    if len(text) > longest:
        return "too_long"
    if len(words(text)) < least:
        return "too_short"
    if _OTHER_SPEAKER.match(text):
        return "role_tag"
    if _GAP.search(text):
        return "placeholder"
    if _refuses(text):
        return "refusal"
    return "announces_itself" if kind == "message" and _AS_A.match(text) else ""


def _json(text: str) -> tuple[list[str], bool]:
    """The texts of a JSON list in a reply, and whether it is whole."""
    start = re.search(r"^[ \t]*[\[{]", text, re.MULTILINE)
    if start is None:
        return [], False
    rest = text[start.end() - 1 :]
    end = max(rest.rfind("]"), rest.rfind("}")) + 1
    try:
        return list(_texts(orjson.loads(rest[:end]))), True
    except orjson.JSONDecodeError:
        if not re.match(r"\[\s*(?:\{\s*)?\"", rest):
            return [], False
    found = [
        match[1] if match[2] else f"{match[1]}…" for match in _STRING.finditer(rest) if not match[3]
    ]
    return list(map(_unescaped, found)), False


def _texts(value: Any) -> Iterator[str]:
    """The items of a parsed reply: of a list, or of the first list in an object."""
    if isinstance(value, dict):
        value = next((inner for inner in value.values() if isinstance(inner, list)), [])
    for one in value if isinstance(value, list) else []:
        if isinstance(one, dict):
            named = [one[key] for key in _KEYS if key in one] + list(one.values())
            one = next((inner for inner in named if isinstance(inner, str)), "")
        if isinstance(one, str):
            yield clean(one)


def _unescaped(inner: str) -> str:
    try:
        return clean(str(orjson.loads(f'"{inner}"')))
    except orjson.JSONDecodeError:
        return inner


def _bare(text: str, kind: Kind) -> str:
    """An item without print, quotes, labels and commas of a list around it."""
    text = " ".join(text.split()).rstrip(",").strip()
    label = _LABEL.fullmatch(text)
    if label is not None:
        name, rest = label[1] or label[2], label[3]
        text = name if kind == "name" or len(words(rest)) < LEAST_WORDS else rest
    text = _unquoted(text.replace("**", "").strip())
    if kind == "name":
        return _unquoted(_REMARK.split(text, maxsplit=1)[0]).rstrip(" .:;")
    return _unquoted(_after(_MANNER, _after(_SPEAKER, text)))


def _after(label: re.Pattern[str], text: str) -> str:
    """A text without the label that it begins with, if it does."""
    match = label.match(text)
    return text[match.end() :] if match else text


def _unquoted(text: str) -> str:
    text = text.strip()
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    if len(text) > 2 and text[0] == text[-1] in "*_" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text
