"""Steps from a raw conversation to a released one, and the account of what each of them dropped."""

from collections import Counter
from collections.abc import Callable
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
    """Counts, for each named step in order, what came in and what was dropped for which reason."""

    def __init__(self, steps: list[str]) -> None:
        self._seen = dict.fromkeys(steps, 0)
        self._dropped: dict[str, Counter[str]] = {name: Counter() for name in steps}

    def enter(self, step: str, count: int = 1) -> None:
        self._seen[step] += count

    def drop(self, step: str, reason: str, count: int = 1) -> None:
        self._dropped[step][reason] += count

    def table(self) -> list[dict[str, Any]]:
        """One row a step, for the manifest: ``step``, ``in``, ``dropped`` by reason."""
        return [
            {"step": name, "in": seen, "dropped": dict(sorted(self._dropped[name].items()))}
            for name, seen in self._seen.items()
        ]


def apply(
    steps: dict[str, Step], conversation: Conversation, ledger: Ledger
) -> Conversation | tuple[str, Drop]:
    """Run the steps in order; returns the conversation, or the step that dropped it and why."""
    for name, step in steps.items():
        ledger.enter(name)
        result = step(conversation)
        if isinstance(result, Drop):
            ledger.drop(name, result.reason)
            return name, result
        conversation = result
    return conversation
