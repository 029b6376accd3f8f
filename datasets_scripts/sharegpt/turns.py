"""From a page's items to messages: roles, and the text of each turn as it was meant.

A human turn is plain text and is never parsed as HTML. What the page did to it depends on the era,
told by the markup of the first answer: pages from 2023-03-12 on passed every value through an HTML
sanitiser, so their human text holds entities; earlier ones hold it raw. Dumps that others cleaned
hold answers as Markdown; if one of these begins with a tag, that is text.
"""

import re
from typing import Literal

from datasets_scripts import boilerplate, expressions
from datasets_scripts.pipeline import Drop
from datasets_scripts.sharegpt.markdown import to_markdown
from datasets_scripts.sharegpt.pages import RawConversation
from ultra import jsonl
from ultra.schema import Conversation, Message, Role

Era = Literal["raw", "sanitized", "text"]

_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
}
_COUNTER = re.compile(
    r"""([0-9]{1,2})[ ]/[ ]([0-9]{1,2})
    (?=\n | [^\s\d,./+*=%)?!:;a-z-] | [^\W\d_]{3})    # a mark or a unit makes it a fraction
    (?!(?:st|nd|rd|th)\b) \n?""",
    re.VERBOSE,
)
"""The page's regenerate counter before a human turn: on its own line, or glued to the text."""
_BANNERS = "|".join(group.expression for group in expressions.load(boilerplate.BANNERS))
_NO_ANSWER = re.compile(rf"[!*_>\s]{{0,4}}+(?:(?>{_BANNERS})[\s.*_]*+){{0,4}}+", re.IGNORECASE)
"""The page's error banners, which stood as text between answers in HTML, and nothing at all."""
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&"))
"""What the sanitiser wrote for characters of the text; ``&amp;`` last, so that each is undone once.
Any other entity was typed."""


def to_conversation(raw: RawConversation) -> Conversation | Drop:
    """Name the roles; contents are still as the page had them."""
    messages: list[Message] = []
    for number, item in enumerate(raw.items, 1):
        if not isinstance(item, dict) or not isinstance(item.get("value"), str):
            return Drop("bad_item", f"item {number} is no turn with a text")
        side = item.get("from")
        role = _ROLES.get(side.lower()) if isinstance(side, str) else None
        if role is None:
            return Drop("unknown_role", side[:40] if isinstance(side, str) else "")
        messages.append({"role": role, "content": item["value"]})
    id = raw.id or f"text-{jsonl.digest(messages)[:16]}"
    provenance: dict[str, str | int | float] = {
        "source": raw.source,
        "model": raw.model,
        "title": raw.title,
        "views": raw.views,
        "language": "",
        "language_confidence": 0.0,
    }
    return Conversation(id, messages, provenance)


def era(messages: list[Message]) -> Era:
    """Which page wrote this: ``raw`` or ``sanitized`` HTML, or a dump of plain text.

    The first answer tells; an error banner is none.
    """
    for turn in messages:
        if turn["role"] != "assistant":
            continue
        if _is_html(turn["content"]):
            return "sanitized" if turn["content"].lstrip()[4:5] == ">" else "raw"
        if not _NO_ANSWER.fullmatch(turn["content"].strip().replace("\u2019", "'")):
            return "text"
    return "text"


def _is_html(answer: str) -> bool:
    return answer.lstrip()[:4].lower() == "<div"


def to_text(conversation: Conversation) -> Conversation:
    """Step: answers from HTML to Markdown, other turns to the text that was typed.

    An answer that is text among others in HTML stays as it is.
    """
    kind = era(conversation.messages)
    messages: list[Message] = []
    for turn in conversation.messages:
        role, content = turn["role"], turn["content"]
        if role == "user":
            content = human_text(content, kind)
            if _after_counter(turn["content"]):
                conversation.changes.append("counter_removed")
        elif role == "system":
            content = _unescaped(content, kind)
        elif kind != "text" and _is_html(content):
            content = to_markdown(content)
        messages.append({"role": role, "content": content})
    conversation.messages = messages
    return conversation


def human_text(text: str, kind: Era) -> str:
    """What the person typed: without the page's counter, entities undone where it made them."""
    return _unescaped(text[_after_counter(text) :], kind)


def _after_counter(text: str) -> int:
    """Where the text begins behind the page's counter; 0 without one."""
    counter = _COUNTER.match(text)
    if counter and 1 <= int(counter[1]) <= int(counter[2]) and int(counter[2]) >= 2:
        return counter.end()
    return 0


def _unescaped(text: str, kind: Era) -> str:
    if kind == "sanitized" and "&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    return text
