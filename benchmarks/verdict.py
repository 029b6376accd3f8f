"""What a judge's words say: read strictly, or not at all."""

import re
from dataclasses import dataclass
from typing import Literal

Choice = Literal["A", "B", "C"]

_MARK = re.compile(r"\[\[([ABC])\]\]")
_LEAD = re.compile(r"((my|the|so) )?(final )?((verdict|choice|decision)( is)?)?")
"""The words that may stand beside a mark, in lower case, one blank between them."""


@dataclass(frozen=True)
class Unscored:
    """No verdict could be read, and why."""

    reason: str


def last_line_choice(text: str) -> Choice | Unscored:
    """The one ``[[A]]``, ``[[B]]`` or ``[[C]]`` that is all the last line says.

    The judge was asked to end with such a line; "Final verdict:" before it and emphasis around it
    are let through. Marks further up, or within a sentence, may be quoted from an answer or denied,
    so they never count. Nothing here prefers one side.
    """
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    found = set(_MARK.findall(line))
    if len(found) != 1:
        return Unscored("two_verdicts" if found else "no_verdict" if line else "empty")
    words = re.sub(r"[\W_]+", " ", _MARK.sub(" ", line)).strip().lower()
    if not _LEAD.fullmatch(words):
        return Unscored("verdict_in_a_sentence")
    return found.pop()  # type: ignore[no-any-return]
