"""What is decided about a dialogue before it begins.

All of it is drawn from xxh3-64 of (recipe, seed, index, what is drawn), with nothing carried from
one dialogue to the next: the same plan on any machine, for any number of workers and shards, and
more dialogues leave the plans of the first ones as they were.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import xxhash
import yaml

from datasets_scripts.ultrachat.openings.opening import Opening, Sector
from ultra import prompts

PROMPTS = Path(__file__).parent / "prompts"
ROUNDS: dict[Sector, tuple[int, int]] = {"world": (3, 7), "creation": (2, 4), "material": (2, 4)}
"""Fewest and most rounds, a user turn and its answer each, by sector (arXiv 2305.14233, sec. 3)."""

_TEMPERATURES = (0.8, 0.9, 1.0, 1.1, 1.2)


@dataclass(frozen=True)
class Plan:
    """What a dialogue is to be."""

    index: int
    opening: Opening
    rounds: int
    """How many rounds are planned."""
    least_rounds: int
    """A dialogue that has to end before that many rounds is dropped."""
    seed: int
    """Sent with every call of the dialogue; 31 bits."""
    persona: str
    """Who the simulated user is, a line of ``personas.yaml``."""
    register: str
    """How it writes, a key of ``styles.yaml``."""
    length: str
    """How long its turns are, a key of ``styles.yaml``."""
    intents: tuple[str, ...]
    """What each of its turns after the opening does, ``rounds - 1`` keys of ``intents.yaml``."""
    user_temperature: float
    """By what the temperature of the simulated user is multiplied."""


@cache
def table(name: str) -> Any:
    """What a YAML file beside the prompts holds."""
    return yaml.safe_load(prompts.load(PROMPTS / name).text)


def plan(
    recipe: str, seed: int, index: int, opening: Opening, rounds: tuple[int, int] | None = None
) -> Plan:
    """Draw what a dialogue will be; ``rounds`` is the fewest and the most, by default the sector's.

    Turn for turn the same intents are drawn whatever the number of rounds.
    """

    def draw(what: str) -> int:
        return xxhash.xxh3_64_intdigest(f"{recipe}\0{seed}\0{index}\0{what}".encode())

    low, high = rounds or ROUNDS[opening.sector]
    styles, personas = table("styles.yaml"), table("personas.yaml")
    planned = low + draw("rounds") % (high - low + 1)
    return Plan(
        index=index,
        opening=opening,
        rounds=planned,
        least_rounds=low,
        seed=draw("seed") % 2**31,
        persona=personas[draw("persona") % len(personas)],
        register=_one_of(list(styles["registers"]), draw("register")),
        length=_one_of(list(styles["lengths"]), draw("length")),
        intents=_intents(opening.sector, planned - 1, draw),
        user_temperature=_TEMPERATURES[draw("temperature") % len(_TEMPERATURES)],
    )


def _one_of(names: list[str], drawn: int) -> str:
    return names[drawn % len(names)]


def _intents(sector: Sector, turns: int, draw: Callable[[str], int]) -> tuple[str, ...]:
    drawn_from = [
        name for name, intent in table("intents.yaml").items() for _ in range(intent[sector])
    ]
    return tuple(_one_of(drawn_from, draw(f"intent {turn}")) for turn in range(turns))
