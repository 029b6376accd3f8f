"""Files of regular expressions, to be read, to be replaced by one's own, and to be fast.

One a line, as in ``patterns/``. A line with ``#`` in front is a comment. Above some of them stands
where they are looked for, and what must be there for them to be tried at all, which keeps a build
fast:

- ``opening: sorry | désolé``: in an opening, the first line of an answer or 120 characters of it,
  that has one of these: a word in lower case, or, if it has letters beyond ASCII, a part of one;
- ``anywhere: OpenAI | an AI``: anywhere in an answer that has one of these, spelled so.

Upper and lower case, and straight and curly apostrophes, are the same to an expression; ``^`` is
the start of a clause. What stands in code or in quotation marks is somebody else's sentence and is
not looked at.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datasets_scripts.code_spans import blank, mask_code
from ultra.errors import InputError

_OPENING = 120
"""Characters: an opening is an answer's first line, or this much of it."""
_HEADER = re.compile(r"(?:opening|anywhere):.*")
_QUOTED = (
    re.compile(  # none holds its own opening mark, or a row of these would cost 400 times more
        r"""
    "[^"\n]{1,400}" | “[^“”\n]{1,400}” | «[^«»\n]{1,400}» | „[^„“\n]{1,400}“ | 「[^「」\n]{1,400}」
    """,
        re.VERBOSE,
    )
)
_CLAUSE_END = re.compile(r"(?<=[,.!?:;…)*>-]) ")


@dataclass(frozen=True)
class Group:
    """Expressions that are looked for in one place, and the keys of which one must be there."""

    opening: bool
    words: frozenset[str]
    parts: tuple[str, ...]
    expression: str
    regex: re.Pattern[str]


def load(path: Path) -> list[Group]:
    """Read a file of patterns.

    Raises:
        InputError: it cannot be read, has no pattern, or a line of it is no expression that can
            stand beside others; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a file of patterns ({error})") from error
    found: dict[str, list[str]] = {}
    header = ""
    for number, line in enumerate(map(str.strip, lines), 1):
        if _HEADER.fullmatch(line):
            header = line
        elif line and not line.startswith("#"):
            _check(line, f"{path}:{number}")
            found.setdefault(header, []).append(f"(?:{line})")
    if not found:
        raise InputError(f"{path}: has no pattern; write one regular expression a line")
    return [_group(header, "|".join(expressions)) for header, expressions in found.items()]


def _group(header: str, expression: str) -> Group:
    place, _, listed = header.partition(":")
    keys = [key.strip() for key in listed.split("|") if key.strip()]
    opening = place == "opening"
    words = frozenset(key for key in keys if opening and key.isascii())
    parts = tuple(key for key in keys if key not in words)
    regex = re.compile(expression, re.IGNORECASE | re.MULTILINE)
    return Group(opening, words, parts, expression, regex)


def _check(expression: str, where: str) -> None:
    try:
        groups = re.compile(f"(?:{expression})").groups
        matches_nothing = re.search(expression, "", re.MULTILINE) is not None
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"{where}: not a regular expression: {error}") from error
    if groups:
        raise InputError(f"{where}: write (?:...) in place of (...), as lines are put together")
    if matches_nothing:
        raise InputError(f"{where}: matches the empty text, and so would match every answer")


def find(groups: list[Group], text: str) -> tuple[int, int] | None:
    """Start and end of the first thing that a group finds in an answer, in characters."""
    openings, words = _openings([text])
    for group in groups:
        place = openings if group.opening else text
        if (
            not (group.words or group.parts)
            or not group.words.isdisjoint(words)
            or any(part in place for part in group.parts)
        ):
            match = group.regex.search(_own_words(_opening(text) if group.opening else text))
            if match is not None:
                return match.span()
    return None


def key_finder(groups: list[Group]) -> Callable[[list[str]], bool]:
    """Whether a conversation's answers have a key: hardly any do, so this makes a build fast."""
    without_key = any(not (group.words or group.parts) for group in groups)
    words = frozenset[str]().union(*(group.words for group in groups))
    parts = [part for group in groups if group.opening for part in group.parts]
    anywhere = [part for group in groups if not group.opening for part in group.parts]

    def may_match(answers: list[str]) -> bool:
        openings, there = _openings(answers)
        if without_key or not words.isdisjoint(there):
            return True
        if not openings.isascii() and [part for part in parts if part in openings]:
            return True
        whole = "\n".join(answers)
        return bool([part for part in anywhere if part in whole])

    return may_match


def _openings(answers: list[str]) -> tuple[str, set[str]]:
    """The openings of answers in lower case, and their words."""
    openings = "\n".join(map(_opening, answers)).lower().replace("\u2019", "'")
    words = openings.replace(",", " ").replace(".", " ").replace("!", " ").split()
    return openings, set(words)


def _opening(text: str) -> str:
    end = text.find("\n", 0, _OPENING)
    return text[: end if end >= 0 else _OPENING]


def _own_words(text: str) -> str:
    """A text, as long as before, with code and quotations blank and each clause on its own line."""
    text = _QUOTED.sub(blank, mask_code(text.replace("\u2019", "'")))
    return _CLAUSE_END.sub("\n", text)
