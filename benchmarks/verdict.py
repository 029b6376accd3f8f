"""What a judge's words say: read strictly, or not at all."""

import re
from dataclasses import dataclass
from typing import Literal

Choice = Literal["A", "B", "C"]

_CHOICE = re.compile(r"\[\[([ABC])\]\]")


@dataclass(frozen=True)
class Unscored:
    """No verdict could be read, and why."""

    reason: str


def last_line_choice(text: str) -> Choice | Unscored:
    """The one ``[[A]]``, ``[[B]]`` or ``[[C]]`` in the last line that is not blank.

    The judge was asked to end with it; marks further up may be quoted from an answer, so they never
    count. Nothing here prefers one side.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    found = set(_CHOICE.findall(lines[-1])) if lines else set()
    if len(found) == 1:
        return found.pop()  # type: ignore[no-any-return]
    return Unscored("two_verdicts" if found else "no_verdict" if lines else "empty")
