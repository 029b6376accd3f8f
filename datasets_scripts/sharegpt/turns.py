"""From a page's items to messages: roles, and the text of each turn as it was meant.

A human turn is plain text and is never parsed as HTML. What the page did to it depends on the era,
told by the first answer's markup: pages from 2023-03-12 on passed every value through an HTML
sanitiser, so their human text holds entities; earlier ones hold it raw.
"""

import html
import re
from typing import Literal

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
_COUNTER = re.compile(r"^(\d{1,2}) / (\d{1,2})(?=\n|[^\s\d])\n?")
"""The page's regenerate counter before a human turn: on its own line, or glued to the text."""


def to_conversation(raw: RawConversation) -> Conversation | Drop:
    """Name the roles; contents are still as the page had them."""
    messages: list[Message] = []
    for number, item in enumerate(raw.items, 1):
        if not isinstance(item, dict) or not isinstance(item.get("value"), str):
            return Drop("bad_item", f"item {number} is no turn with a text")
        side = item.get("from")
        role = _ROLES.get(side.lower()) if isinstance(side, str) else None
        if role is None:
            return Drop("unknown_role", jsonl.scrub(side)[:40] if isinstance(side, str) else "")
        messages.append({"role": role, "content": jsonl.scrub(item["value"])})
    id = raw.id or f"text-{jsonl.digest(messages)[:16]}"
    provenance: dict[str, str | int] = {
        "source": raw.source,
        "model": raw.model,
        "title": raw.title,
        "views": raw.views,
    }
    return Conversation(id, messages, provenance)


def era(messages: list[Message]) -> Era:
    """Which page wrote this: ``raw`` or ``sanitized`` HTML, or a dump of plain text."""
    for turn in messages:
        start = turn["content"].lstrip()[:5].lower()
        if turn["role"] == "assistant" and start.startswith("<div"):
            return "sanitized" if start == "<div>" else "raw"
    return "text"


def to_text(conversation: Conversation) -> Conversation:
    """Step: answers from HTML to Markdown, human turns to the text that was typed."""
    kind = era(conversation.messages)
    if kind == "text":
        return conversation
    messages: list[Message] = [
        {"role": turn["role"], "content": _text(turn, kind)} for turn in conversation.messages
    ]
    return Conversation(conversation.id, messages, conversation.provenance)


def _text(turn: Message, kind: Era) -> str:
    if turn["role"] == "assistant":
        return to_markdown(turn["content"])
    return human_text(turn["content"], kind)


def human_text(text: str, kind: Era) -> str:
    """What the person typed: without the page's counter, entities undone where it made them."""
    counter = _COUNTER.match(text)
    if counter and 1 <= int(counter[1]) <= int(counter[2]) and int(counter[2]) >= 2:
        text = text[counter.end() :]
    return html.unescape(text) if kind == "sanitized" else text
