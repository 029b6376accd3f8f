"""Steps from a raw conversation to a released one, and the account of what each of them dropped."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ultra.schema import Conversation


@dataclass(frozen=True)
class Drop:
    """Why a conversation leaves the build: a short fixed ``reason``, and what was seen."""

    reason: str
    detail: str = ""


Step = Callable[[Conversation], Conversation | Drop]


class Ledger:
    """Counts, for each named step in order, what came in, was dropped and was changed, and why."""

    def __init__(self, steps: Iterable[str]) -> None:
        self._seen = dict.fromkeys(steps, 0)
        self._dropped: dict[str, Counter[str]] = {name: Counter() for name in self._seen}
        self._changed: dict[str, Counter[str]] = {name: Counter() for name in self._seen}

    def enter(self, step: str, count: int = 1) -> None:
        self._seen[step] += count

    def drop(self, step: str, reason: str, count: int = 1) -> None:
        self._dropped[step][reason] += count

    def change(self, step: str, what: str, count: int = 1) -> None:
        self._changed[step][what] += count

    def table(self) -> list[dict[str, Any]]:
        """One row a step, for the manifest: ``step``, ``in``, ``dropped`` and ``changed``."""
        return [
            {
                "step": name,
                "in": seen,
                "dropped": dict(sorted(self._dropped[name].items())),
                "changed": dict(sorted(self._changed[name].items())),
            }
            for name, seen in self._seen.items()
        ]

    def merge(self, table: list[dict[str, Any]]) -> None:
        """Add the counts of another ledger, given as its :meth:`table`."""
        for row in table:
            self._seen[row["step"]] += row["in"]
            self._dropped[row["step"]].update(row["dropped"])
            self._changed[row["step"]].update(row["changed"])


def apply(
    steps: Mapping[str, Step], conversation: Conversation, ledger: Ledger
) -> Conversation | tuple[str, Drop]:
    """Run the steps in order; returns the conversation, or the step that dropped it and why."""
    for name, step in steps.items():
        ledger.enter(name)
        result = step(conversation)
        if isinstance(result, Drop):
            ledger.drop(name, result.reason)
            return name, result
        conversation = result
        for change in conversation.changes:
            ledger.change(name, change)
        conversation.changes.clear()
    return conversation
