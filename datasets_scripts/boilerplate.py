"""Steps against boilerplate: what the chat page left, answers that refuse or introduce a model.

The sentences are in ``patterns/``, in files that ``expressions.py`` reads; a file of one's own may
take the place of those for refusals.
"""

import os
import re
from pathlib import Path
from typing import Literal, get_args

from datasets_scripts import expressions
from datasets_scripts.code_spans import mask_code
from datasets_scripts.pipeline import Drop, Step
from ultra.command import did_you_mean
from ultra.errors import InputError
from ultra.schema import Conversation, Message

Action = Literal["cut", "drop"]
"""``cut``: the conversation ends before the question; ``drop``: all of it goes."""
Preset = Literal["default", "openchat", "vicuna", "none"]

PATTERNS = Path(__file__).parent / "patterns"
BANNERS = PATTERNS / "banners.txt"

_LONGEST_NOTICE = 400
"""Characters: the page's own messages are shorter than this."""
_DETAIL = 100
"""Characters of a conversation that a drop shows at most, and of these"""
_CONTEXT = 20
"""about so many on each side of what was found."""
_DIGIT = re.compile(r"\d")
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u9fff]|[^\s\u0e00-\u0eff\u3040-\u9fff]+")
"""A character of a script that is written without blanks, or what stands between blanks."""
_CUT = {"error_banner": "cut_at_banner", "refusal": "cut_at_refusal"}

_POLICY_NOTICE = re.compile(
    r"""
    \s* (?: this\ (?:content|prompt|request|conversation)\ (?:may|might)\ (?:violate|have\ violated)
            \ our\ (?:content\ polic(?:y|ies)|usage\ polic(?:y|ies)|terms\ of\ use)
            (?:\ or\ our\ (?:content\ polic(?:y|ies)|usage\ polic(?:y|ies)|terms\ of\ use))? \.?
        \s* (?:if\ you\ believe\ this\ to\ be\ in\ error,\ please\ submit\ your\ feedback.{0,150}
              |did\ we\ get\ it\ wrong\?.{0,150})?
        \s* )+
    """,
    re.VERBOSE | re.IGNORECASE,
)  # fmt: skip
_COPY_LABEL = re.compile(
    r"""
    (?:\A|\n{1,3}) [ \t]*+ (?:[a-z][a-z0-9+\#.-]{0,14})? Copy\ code [ \t]*+ (?=\n|\Z)
    | (?:(?:\A|\n{1,3}) (?=Copy\d{1,6}\ chars\ /\ \d{1,6}\ words[ \t]*+ (?:\n|\Z)))?
      Copy\d{1,6}\ chars\ /\ \d{1,6}\ words
    """,
    re.VERBOSE,
)
_FENCE_LABEL = re.compile(r"^([ \t>]*+`{3,}[\w+#.-]*?)Copy code[ \t]*+$", re.MULTILINE)
_FOOTER = re.compile(
    r"""
    [ \t]*+ (?: regenerate(?:\ response)? | stop\ generating | continue\ generating
    | was\ this\ response\ better\ or\ worse\?.{0,40}
    | (?:chatgpt\ )?\w{3,9}\ \d{1,2}\ version\..{0,200}
    | (?:chatgpt\ )?free\ research\ preview\..{0,200}
    | chatgpt\ (?:can\ make\ mistakes\.|may\ produce\ inaccurate\ information).{0,150} ) \s*
    """,
    re.VERBOSE | re.IGNORECASE,
)


def interface(action: Action = "cut", patterns: Path = BANNERS) -> Step:
    """Take out what the chat page left in messages; end at an error banner that is no answer.

    An answer that is a banner, or breaks off with one, is cut away with its question, and so is all
    that follows; ``drop`` drops the conversation. A person's turn counts only if all of it is the
    page's notice about its content policy. Labels of buttons and footers are removed. Code stays as
    it is.

    Raises:
        InputError: the file of patterns cannot be used.
    """
    banners = "|".join(group.expression for group in expressions.load(patterns))
    banner = re.compile(rf"[!*_>\s]{{0,4}}+(?:(?>{banners})[\s.*_]*+){{1,4}}+", re.IGNORECASE)

    def step(conversation: Conversation) -> Conversation | Drop:
        for number, turn in enumerate(conversation.messages):
            text = turn["content"]
            notice = ""
            if turn["role"] == "assistant":
                if "Copy" in text and ("Copy code" in text or " chars / " in text):
                    text = _change(conversation, turn, _without_labels(text), "copy_label_removed")
                line = _last_line(text)
                if _FOOTER.fullmatch(line):
                    text = _without_footers(text)
                    _change(conversation, turn, text, "page_footer_removed")
                    notice, line = "" if text else line, _last_line(text)
                if banner.fullmatch(line.replace("\u2019", "'")) and not _is_quoted(line, text):
                    notice = line
            elif is_page_notice(text):
                notice = text
            if notice:
                drop = Drop("error_banner", excerpt(notice, 0, len(notice)))
                return _end_before(number, conversation, action, drop)
        return conversation

    return step


def _change(conversation: Conversation, turn: Message, text: str, change: str) -> str:
    if text != turn["content"]:
        turn["content"] = text
        conversation.changes.append(change)
    return text


def is_page_notice(text: str) -> bool:
    """Whether all of a text is the chat page's notice that its content policy may be violated.

    The browser extension that saved conversations stored this notice as if a person had said it.
    """
    return len(text) <= _LONGEST_NOTICE and _POLICY_NOTICE.fullmatch(text) is not None


def no_page_notices(conversation: Conversation) -> Conversation:
    """Step: take out turns of a person that are nothing but the page's notice."""
    kept = [
        turn
        for turn in conversation.messages
        if turn["role"] != "user" or not is_page_notice(turn["content"])
    ]
    conversation.changes += ["page_notice_removed"] * (len(conversation.messages) - len(kept))
    conversation.messages = kept
    return conversation


def refusals(preset: Preset | Path = "default", action: Action = "cut") -> Step:
    """End a conversation at an answer that refuses, or that says which model it is.

    A path names a file of patterns like those in ``patterns/``. ``openchat`` and ``vicuna`` do what
    these projects did in July 2023, for comparison: their words anywhere, in any turn, always drop
    the conversation.

    Raises:
        InputError: the file of patterns cannot be used, or there is none and no such preset.
    """
    if preset == "none":
        return lambda conversation: conversation
    if preset == "openchat" or preset == "vicuna":
        return _words_of(PATTERNS / f"{preset}.txt")
    groups = expressions.load(PATTERNS / "refusals.txt" if preset == "default" else _own(preset))
    may_match = expressions.key_finder(groups)

    def step(conversation: Conversation) -> Conversation | Drop:
        messages = conversation.messages
        if not may_match([turn["content"] for turn in messages if turn["role"] == "assistant"]):
            return conversation
        for number, turn in enumerate(messages):
            span = (
                expressions.find(groups, turn["content"]) if turn["role"] == "assistant" else None
            )
            if span is not None:
                drop = Drop("refusal", excerpt(turn["content"], *span))
                return _end_before(number, conversation, action, drop)
        return conversation

    return step


def _own(path: Path) -> Path:
    if os.path.isfile(path):  # noqa: PTH113 - Path's raises for names too long, closed folders
        return path
    presets = get_args(Preset)
    raise InputError(
        f"refusals: {path}: is no file; give one of patterns, or one of {', '.join(presets)}"
        f"{did_you_mean(str(path), presets)}"
    )


def _words_of(path: Path) -> Step:
    """Plain words anywhere, and expressions for how a turn begins: all that these files need."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    words = [line for line in lines if line.isalnum()]
    starts = re.compile("|".join(sorted(set(lines) - set(words))) or "(?!)", re.IGNORECASE)

    def step(conversation: Conversation) -> Conversation | Drop:
        for turn in conversation.messages:
            text = turn["content"]
            lowered = text.lower()
            for word in words:
                if word in lowered:
                    start = lowered.index(word)
                    return Drop("refusal", excerpt(text, start, start + len(word)))
            if match := starts.match(text):
                return Drop("refusal", excerpt(text, *match.span()))
        return conversation

    return step


def _end_before(
    number: int, conversation: Conversation, action: Action, drop: Drop
) -> Conversation | Drop:
    """The conversation up to the question of an unwanted turn; or the drop."""
    messages = conversation.messages[:number]
    if messages and messages[-1]["role"] == "user":
        messages.pop()
    if action == "drop" or not any(turn["role"] == "assistant" for turn in messages):
        return drop
    conversation.messages = messages
    conversation.changes.append(_CUT[drop.reason])
    return conversation


def excerpt(text: str, start: int, end: int) -> str:
    """What was found, with a little of what stands around it, 1 to 100 characters.

    Half an address could not be told for one, nor a number without what stands before it. So only
    whole words are shown, of those around it none from the next number on, and no number where the
    text is cut. Where that leaves nothing, it is ``…``.
    """
    end = min(end, start + _DETAIL)
    first, last = max(0, start - _DETAIL), min(len(text), end + _DETAIL)
    shown: list[tuple[int, int]] = []
    for begin, stop in (word.span() for word in _WORD.finditer(text, first, last)):
        is_cut = (begin == first > 0) or (stop == last < len(text))
        if is_cut or stop <= start - _CONTEXT or begin >= end + _CONTEXT:
            continue
        if _DIGIT.search(text, begin, stop) and (stop <= start or begin >= end):
            if begin >= end:
                break
            shown.clear()
        else:
            shown.append((begin, stop))
    while shown and shown[-1][1] - shown[0][0] > _DETAIL:
        shown.pop(0 if shown[0][1] <= start else -1)
    while shown and _DIGIT.search(text, *shown[-1]) and text[shown[-1][1] : last].strip():
        shown.pop()
    return " ".join(text[shown[0][0] : shown[-1][1]].split()) if shown else "…"


def _last_line(text: str) -> str:
    """The last line with text in it; nothing if it is longer than what the page says."""
    text = text.rstrip()
    start = text.rfind("\n") + 1
    return text[start:] if len(text) - start <= _LONGEST_NOTICE else ""


def _is_quoted(line: str, text: str) -> bool:
    """Whether a text gives its last line as an example: after a colon, or in code."""
    text = text.rstrip()
    before = text[: -len(line)].rstrip()
    return before.endswith((":", "\uff1a")) or not mask_code(text).endswith(line)


def _without_footers(text: str) -> str:
    lines = text.split("\n")
    while lines and (not lines[-1].strip() or _FOOTER.fullmatch(lines[-1])):
        lines.pop()
    return "\n".join(lines)


def _without_labels(text: str) -> str:
    text = _FENCE_LABEL.sub(r"\1", text)
    kept, end = [], 0
    for match in _COPY_LABEL.finditer(mask_code(text)):
        kept.append(text[end : match.start()])
        end = match.end()
    kept.append(text[end:])
    return "".join(kept).lstrip("\n") if end else text
