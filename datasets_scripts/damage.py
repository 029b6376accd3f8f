"""Step against format damage: lists that start again at 1, and text read in the wrong encoding."""

# ruff: noqa: RUF001 - characters that are easily confused are the subject here

import re
from typing import Literal

from datasets_scripts.code_spans import mask_code, outside_code
from datasets_scripts.pipeline import Drop, Step
from ultra.schema import Conversation

_ITEM = re.compile(r"(\d{1,9})\. ")
_NEW_TOPIC = re.compile(
    r"""
    \#{1,6}(?:\s|$)                              # a heading,
    | (?:\*\*|__)[^\n]{1,200}(?:\*\*|__):?\s*$   # or a paragraph in bold that serves as one
    | (?:-{3,}|={3,}|\*{3,}|_{3,})\s*$           # a rule, or the line under a heading
    """,
    re.VERBOSE,
)
_GARBLED = re.compile(
    "[Â-ôРСвГ][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸЂЃѓЉЊЌЋЏђљњќћџЎўЈҐЁЄЇІіґё№єјЅѕї]"
)
"""First byte of a UTF-8 character, then one that continues it, both read as Windows-1252 or -1251.

Not proof, as ``É…`` is fine; but without one there is nothing to repair, and this is 30 times
faster to find out than what ftfy asks.
"""
_LOST_QUOTE = re.compile(r"â€(?=[\s.,;:!?)]|$)")
"""A closing quotation mark: Windows-1252 has no character for its last byte, so many lost it."""
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]")
_ON_ENCODINGS = re.compile(
    r"""
    mojibake | garbled | encod | unicode | utf-?\d | charset | character\ set | latin-?1 | iso-8859
    | windows-125 | cp-?125 | ftfy | codifica | codage | zeichensatz | kodierung | кодиров | юникод
    | 编码 | 編碼 | 乱码 | 亂碼 | 文字化け | 文字コード | エンコード | 인코딩 | 깨진
    """,
    re.VERBOSE | re.IGNORECASE,
)


def repair(
    numbering: Literal["repair", "drop", "keep"] = "repair",
    encoding: Literal["repair", "keep"] = "repair",
) -> Step:
    """Number on lists that start again at 1, and decode garbled text such as ``donâ€™t`` again.

    The page's sanitiser lost the first number of a list, so that one that a block of code or a
    paragraph interrupts begins anew after it. ``numbering="drop"`` drops such a conversation.
    Encodings are repaired outside code, unless the conversation is about encodings.
    """

    def step(conversation: Conversation) -> Conversation | Drop:
        for turn in conversation.messages:
            text = turn["content"]
            if numbering != "keep" and turn["role"] == "assistant":
                text = renumber(text)
                if text != turn["content"]:
                    if numbering == "drop":
                        return Drop("broken_numbering", _first_difference(turn["content"], text))
                    turn["content"] = text
                    conversation.changes.append("list_renumbered")
        if encoding == "repair":
            _repair_encoding(conversation)
        return conversation

    return step


def _first_difference(old: str, new: str) -> str:
    """The line in which two texts begin to differ, up to 100 characters of it."""
    lines = zip(old.split("\n"), new.split("\n"), strict=True)
    return next(one[:100] for one, two in lines if one != two)


# Numbering


def renumber(text: str) -> str:
    """Number on an answer's top-level lists that start at 1 again and again.

    A list goes on after nothing but code, and after any text if it had one item so far since it
    last started again: nobody numbers one thing. After a heading, a rule, or a paragraph that ends
    with a colon, a list is one of its own. The text of an item moves along when its number gets
    wider.
    """
    if text.startswith("1. ") + text.count("\n1. ") < 2:
        return text
    lines = text.split("\n")
    visible = mask_code(text).split("\n")
    for series in _series(lines, visible):
        for number, place in enumerate(series, 1):
            item = _ITEM.match(lines[place])
            wider = len(f"{number}. ") - len(item[0]) if item else 0
            if item and item[1] != str(number):
                lines[place] = f"{number}. {lines[place][item.end() :]}"
            for inner in range(place + 1, _end_of_item(lines, place) if wider > 0 else 0):
                if lines[inner]:
                    lines[inner] = " " * wider + lines[inner]
    return "\n".join(lines)


def _series(lines: list[str], visible: list[str]) -> list[list[int]]:
    """Places of the items of each broken series; ``visible`` are the lines with code masked."""
    found: list[list[int]] = []
    series: list[int] = []
    ones = last = 0
    between: list[str] = []  # since the last item, at its level; code as an empty line
    for place, line in enumerate(visible):
        item = _ITEM.match(line)
        number = int(item[1]) if item else 0
        if item is None:
            if _NEW_TOPIC.match(line):
                found += [series] if ones > 1 else []
                series, ones, last = [], 0, 0
        elif series and number == 1 and _goes_on(between, last):
            series.append(place)
            ones, last = ones + 1, 1
        elif series and number == last + 1:
            series.append(place)
            last = number
        else:
            found += [series] if ones > 1 else []
            series, ones, last = ([place], 1, 1) if number == 1 else ([], 0, 0)
        if item:
            between = []
        elif line.strip() and not lines[place].startswith((" ", "\t")):
            between.append(line.strip("x \t"))
    return found + ([series] if ones > 1 else [])


def _goes_on(between: list[str], last: int) -> bool:
    """Whether an item 1 after an item ``last`` is the next of it, by what stands between them."""
    if between and not any(between):
        return True  # nothing but code
    return last == 1 and not (between and between[-1].endswith((":", "：")))


def _end_of_item(lines: list[str], place: int) -> int:
    """The line after the last that belongs to an item by its indentation."""
    end = place + 1
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith("   ")):
        end += 1
    return end


# Encoding


def _repair_encoding(conversation: Conversation) -> None:
    garbled = [
        turn
        for turn in conversation.messages
        if not turn["content"].isascii() and _GARBLED.search(turn["content"])
    ]
    if not garbled or any(_ON_ENCODINGS.search(turn["content"]) for turn in conversation.messages):
        return
    for turn in garbled:
        text = outside_code(turn["content"], decode_again)
        if text != turn["content"]:
            turn["content"] = text
            conversation.changes.append("encoding_repaired")


def decode_again(text: str) -> str:
    """Undo a wrong decoding line by line; lines that make sense, or would not after it, stay."""
    return "\n".join(map(_decode_line, text.split("\n"))) if _GARBLED.search(text) else text


def _decode_line(line: str) -> str:
    if not _GARBLED.search(line):
        return line
    import ftfy

    # What was lost cannot be had back: ftfy would put U+FFFD in place of a question mark.
    config = ftfy.TextFixerConfig(replace_lossy_sequences=False, explain=False)
    fixed = ftfy.fix_encoding(_LOST_QUOTE.sub("â€\x9d", line), config)
    return line if len(_NO_TEXT.findall(fixed)) > len(_NO_TEXT.findall(line)) else fixed
