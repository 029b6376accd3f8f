"""What a build is about to ask of its models, from the openings alone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import xxhash

from datasets_scripts.ultrachat.openings.opening import Opening, Sector
from datasets_scripts.ultrachat.plan import ROUNDS
from ultra import budget, jsonl
from ultra.budget import Prices

_ANSWER = 300
_QUESTION = 60
"""Tokens of a mean turn of each side: an utterance of UltraChat has 309 tokens, most of them the
assistant's (arXiv 2305.14233, table 6)."""
_RULES = 450
"""Tokens of what the simulated user is told."""
_CHARACTERS = 4
"""Of English text to a token."""


@dataclass
class Survey:
    """A pass over the openings: how many of each sector, how long, and a digest of them all."""

    count: int = 0
    digest: str = ""
    sectors: Counter[Sector] = field(default_factory=Counter)
    characters: Counter[Sector] = field(default_factory=Counter)

    @classmethod
    def of(cls, openings: Iterable[Opening]) -> "Survey":
        """Read the openings once, keeping none of them."""
        found, state = cls(), xxhash.xxh3_128()
        for opening in openings:
            state.update(jsonl.dump(opening.row()))
            found.count += 1
            found.sectors[opening.sector] += 1
            found.characters[opening.sector] += len(opening.text)
        found.digest = state.hexdigest()
        return found


@dataclass(frozen=True)
class Load:
    """Calls to one model, and the tokens of all of them together."""

    calls: float = 0
    prompt_tokens: float = 0
    completion_tokens: float = 0

    def __add__(self, other: "Load") -> "Load":
        return Load(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def times(self, factor: float) -> "Load":
        return Load(
            factor * self.calls, factor * self.prompt_tokens, factor * self.completion_tokens
        )

    def line(self, prices: Prices, model: str) -> str:
        """One line for a person: calls, tokens, and money if the price is known."""
        tokens = round(self.prompt_tokens), round(self.completion_tokens)
        return budget.estimate(prices, model, round(self.calls), *tokens)


def lines(
    prices: Prices,
    models: Mapping[str, str],
    survey: Survey,
    dialogues: int,
    rounds: tuple[int, int] | None,
) -> list[str]:
    """What is printed before a run, a line for each part; ``models`` names who plays it."""
    loads = {"user": Load(), "assistant": Load()}
    for sector, count in survey.sectors.items():
        low, high = rounds or ROUNDS[sector]
        opening = survey.characters[sector] / count / _CHARACTERS
        share = dialogues * count / survey.count / (high - low + 1)
        for planned in range(low, high + 1):
            loads["user"] += _user(planned, opening).times(share)
            loads["assistant"] += _assistant(planned, opening).times(share)
    return [f"{part}: {load.line(prices, models[part])}" for part, load in loads.items()]


def _assistant(rounds: int, opening: float) -> Load:
    """Each answer is asked for with everything that was said before."""
    earlier = rounds * (rounds - 1) / 2
    return Load(rounds, rounds * opening + earlier * (_ANSWER + _QUESTION), rounds * _ANSWER)


def _user(rounds: int, opening: float) -> Load:
    asked = rounds - 1
    said = asked * (_RULES + opening) + _ANSWER * asked * rounds / 2
    return Load(asked, said + _QUESTION * asked * (asked - 1) / 2, asked * _QUESTION)
