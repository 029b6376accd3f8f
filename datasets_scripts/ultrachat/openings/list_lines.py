"""Find the lines of a reply that are items of a list, however they are marked.

A line is marked by a number, a letter, a bullet or a tag, or stands in a row of a table. If any
line is marked, those of one level are the items: the first level, or what stands under it if it
has headings. Without any mark every line is an item but for what introduces and concludes a list.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple


class _Line(NamedTuple):
    level: str
    text: str


_TAG = re.compile(
    r"<(/?)(li|ol|ul|p|br|b|i|strong|em|item|items|list|question|message)\s?/?>", re.I
)
_MARK = re.compile(
    r"""
    ([ \t]*+) (?:>[ \t]*+)? ([*_]{0,3})
    (?:
        (?:(?:q|question|item|message|task|no\.)[ ]?)? (?P<number>\d{1,3})
            (?: (?:/\d{1,3})? [.):\]]+ (?!\d) | [ ]?[-\u2013\u2014][ ] | (?=[*_]{2}[ ]) )
      | [(\[]\d{1,3}[)\]]
      | (?P<circled>[①-⑳❶-❿])
      | (?P<letter>[a-z])[.)](?=[ ])
      | (?P<bullet> (?:[-+]|(?<=\*)(?<!\*\*)|[\u2013\u2014•‣◦·▪●○■►])(?=[ \t]) | [•‣▪●]  )
    )
    (?P<rest>.*)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NUMBERS_IN_LINE = re.compile(r"(?:^|(?<=\s))\(?(\d{1,3})[.)](?=\s)\s*")
_RULE = re.compile(r"\s*+\|[-:|\s]++")
_COLONS = (":", "\uff1a")
_NO_ITEM = re.compile(r"\s*+(?:#{1,6}\s.*|[-*_=~`]{3,}\s*\w{0,12}|[\[\]{},]{1,3})\s*", re.DOTALL)
_CHATTER = re.compile(
    r"""
    (?: (?:sure|certainly|of\ course|absolutely|okay|ok|great|got\ it|happy\ to\ help)\b[,.!:\ ]
      | (?:here(?:'s|\ is|\ are)|below\ (?:is|are)|the\ following|following\ are
        |these\ (?:are|items)|this\ list|i\ hope|i(?:'ve|\ have)\ (?:written|made|tried)
        |let\ me\ know|feel\ free
        |would\ you\ like\ me|note:|please\ note|each\ (?:item|of\ these))\b ).*
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)


def items(text: str) -> list[str]:
    """What follows the marks of the items of a list, in their order."""
    found = list(_lines(text))
    marked = [line.level for line in found if line.level]
    if not marked:
        whole = [line.text.strip() for line in found]
        if len(whole) == 1:
            whole = _split_in_line(whole[0])
        return [one for one in whole if not one.endswith(_COLONS) and not _chats(one)]
    if len(marked) == 1:
        together = " ".join(line.text for line in found if line.level)
        parts = _split_in_line(f"1. {together}")
        if len(parts) > 1:
            return parts
    return list(_of_one_level(found))


def is_chatter(text: str) -> bool:
    """Whether a line begins as a remark about a reply does."""
    return _CHATTER.match(text) is not None


def _lines(text: str) -> Iterator[_Line]:
    """Each line with text: its level, which is empty without a mark, and what follows the mark."""
    text = _TAG.sub(lambda tag: "\n- " if not tag[1] and _begins(tag[2]) else "", text)
    for line, following in pairwise([*text.split("\n"), ""]):
        if not line.strip() or _NO_ITEM.fullmatch(line):
            continue
        if line.lstrip().startswith("|"):
            if not _RULE.fullmatch(line) and not _RULE.fullmatch(following):  # no head of a table
                yield _Line("table", max(map(str.strip, line.split("|")), key=len))
            continue
        match = _MARK.match(line)
        if match is None:
            yield _Line("", line)
            continue
        indent = len(match[1].expandtabs(4)) // 2
        sort = next((name for name in ("letter", "bullet") if match[name]), "number")
        text_after = match["rest"].strip()
        if match[2] and match[2] != "*" and text_after.count(match[2]) % 2:
            text_after = match[2] + text_after  # the number stood inside of bold print
        yield _Line(f"{indent}{sort}", text_after)


def _begins(tag: str) -> bool:
    return tag.lower() in ("li", "item", "question", "message")


def _of_one_level(found: list[_Line]) -> Iterator[str]:
    first = next(line.level for line in found if line.level)
    marked = [line for line in found if line.level]
    heads = {
        place
        for place, (line, after) in enumerate(zip(marked, [*marked[1:], marked[0]], strict=True))
        if line.level == first != after.level and _is_heading(line.text)
    }
    level = marked[min(heads) + 1].level if heads else first
    current = ""
    for line in found:
        if line.level:
            if current:
                yield current
            current = line.text if line.level == level else ""
        elif current and line.text[:1].isspace() and not current.endswith((".", "?", "!", '"')):
            current += " " + line.text.strip()  # a line that was wrapped
    if current:
        yield current


def _is_heading(text: str) -> bool:
    bare = text.strip().rstrip("*_")
    return bare.endswith(":") or (text.startswith("**") and text.endswith("**") and "?" not in text)


def _split_in_line(text: str) -> list[str]:
    """Items that stand behind their numbers in one line, if these count 1, 2, 3."""
    starts: list[re.Match[str]] = []
    for match in _NUMBERS_IN_LINE.finditer(text):
        if int(match[1]) == len(starts) + 1:
            starts.append(match)
    if len(starts) < 2:
        return [text]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return [text[match.end() : end].strip() for match, end in zip(starts, ends, strict=True)]


def _chats(text: str) -> bool:
    return is_chatter(text) and not text.endswith("?")
