"""How well the two models stayed in their parts, and what the dialogues took, summed over a build.

All figures are sums of whole numbers, so no order of the dialogues changes them.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from datasets_scripts.ultrachat.dialogue import Dialogue, Failed
from ultra.budget import Prices
from ultra.chat import Usage

PARTS = ("user", "assistant")
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens")
_OF_A_DIALOGUE = ("ended_early", "dropped")


class Health:
    """The account of all dialogues, kept and failed."""

    def __init__(self) -> None:
        self._health, self._usage, self._rejected = Counter[str](), Counter[str](), Counter[str]()

    def add(self, result: Dialogue | Failed) -> None:
        """Count what happened in a dialogue."""
        self._health.update(result.health)
        self._rejected.update(result.rejected)
        if isinstance(result, Dialogue):
            self._usage.update(result.usage)

    def table(self) -> dict[str, Any]:
        """``role_health`` of the manifest.

        For each part the ``turns`` that were asked for, those asked again too, and the ``faults``
        in them, a rate of the turns and a count each; and what became of the ``dialogues``.
        """
        found = self._health
        return {
            "dialogues": found["dialogues"],
            **{name: _rate(found[name], found["dialogues"]) for name in _OF_A_DIALOGUE},
            "asked_again": found["asked_again"],
            "thanks_pairs_removed": found["thanks_pairs_removed"],
            **{part: self._of(part) for part in PARTS},
        }

    def _of(self, part: str) -> dict[str, Any]:
        turns = self._health[f"{part}_turns"]
        start = f"{part}_"
        faults = {
            name.removeprefix(start): _rate(count, turns)
            for name, count in sorted(self._health.items())
            if name.startswith(start) and name != f"{part}_turns" and count
        }
        return {"turns": turns, "faults": faults}

    def usage(self, prices: Prices, names: Mapping[str, str]) -> dict[str, int | float]:
        """Calls, tokens and money of the completions that are turns of kept dialogues."""
        return _totals(self._usage, prices, names)

    def rejected(self, prices: Prices, names: Mapping[str, str]) -> dict[str, int | float]:
        """The same of all the others: tries with a fault, turns cut away, dialogues dropped."""
        return _totals(self._rejected, prices, names)


def _rate(count: int, of: int) -> dict[str, int | float]:
    return {"count": count, "rate": round(count / of, 4) if of else 0.0}


def _totals(
    counted: Counter[str], prices: Prices, names: Mapping[str, str]
) -> dict[str, int | float]:
    """Sums over both parts; ``usd`` only if the price of both is known."""
    totals: dict[str, int | float] = {
        name: sum(counted[f"{part}_{name}"] for part in PARTS) for name in ("calls", *_TOKENS)
    }
    costs = [
        prices.usd(names[part], Usage(*(counted[f"{part}_{name}"] for name in _TOKENS)))
        for part in PARTS
    ]
    known = [cost for cost in costs if cost is not None]
    if len(known) == len(costs):
        totals["usd"] = round(sum(known), 6)
    return totals
