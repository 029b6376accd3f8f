"""From a held dialogue to a row of the release, on its way through the spool."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import xxhash

from datasets_scripts import language, statistics
from datasets_scripts.pipeline import Drop, Ledger
from datasets_scripts.questions import Questions
from datasets_scripts.spool import Entry, Spool, counts
from datasets_scripts.ultrachat.dialogue import Cast, Dialogue, Failed, user_temperature
from datasets_scripts.ultrachat.health import Health
from datasets_scripts.ultrachat.plan import Plan
from ultra import jsonl, release, schema
from ultra.budget import Prices
from ultra.schema import Conversation

CORPUS = "ultrachat"
STEP = "simulate"
OPENINGS = "openings"
"""Step of the drop report for openings with which no dialogue was begun."""


class Recipe(NamedTuple):
    """What all plans are drawn from, with the number of each."""

    version: str
    seed: int


def dialogue_id(plan: Plan) -> str:
    """The id of a plan's row: no other plan of the recipe and seed has it, on any shard."""
    return f"{plan.opening.sector}-{plan.index:08d}"


class Collector:
    """Takes dialogues as they end, in any order, into the spool and into the account of them.

    Args:
        spool: where rows and drops go.
        cast: who speaks, and how that is sampled.
        recipe: what the plans are drawn from.
        count: what counts lengths.
        questions: benchmark questions to look for in the dialogues; None looks for none.
    """

    def __init__(
        self,
        spool: Spool,
        cast: Cast,
        recipe: Recipe,
        count: statistics.Count,
        questions: Questions | None,
    ) -> None:
        self._ledger, self._health = Ledger([STEP]), Health()
        self._spool, self._cast, self._recipe = spool, cast, recipe
        self._count, self._questions = count, questions
        self.kept = 0
        self._identify = language.identify([], [])

    def take(self, plan: Plan, result: Dialogue | Failed) -> None:
        """Count a dialogue, and keep it or its reason."""
        self._ledger.enter(STEP)
        self._health.add(result)
        if isinstance(result, Failed):
            self._ledger.drop(STEP, result.reason)
            drop = Drop(result.reason, jsonl.scrub(result.detail))
            self._spool.drop(dialogue_id(plan), plan.opening.source, STEP, drop)
        else:
            self._keep(plan, result)

    def drop_openings(self, dropped: Iterable[dict[str, str]]) -> None:
        """Report the openings that were never used, as the sieve wrote them down."""
        for row in dropped:
            self._spool.drop(row["path"], "", OPENINGS, Drop(row["reason"], row["detail"]))

    def account(self, prices: Prices, models: Mapping[str, str]) -> dict[str, Any]:
        """What the manifest says of the dialogues; ``models`` names who plays which part."""
        return {
            "steps": self._ledger.table(),
            "role_health": self._health.table(),
            "usage": self._health.usage(prices, models),
            "rejected": self._health.rejected(prices, models),
        }

    def _keep(self, plan: Plan, held: Dialogue) -> None:
        self.kept += 1
        provenance = _provenance(plan, held, self._cast, self._recipe)
        conversation = Conversation(dialogue_id(plan), held.messages, provenance)
        row = conversation.row()
        if plan.opening.material:  # all that is asked about one text stands on one side
            row["root"] = schema.root_id([{"role": "user", "content": plan.opening.material}])
        content = xxhash.xxh3_128_digest(jsonl.dump(held.messages))
        entry = Entry(row["id"], row["source"], row["root"], content, (), counts(held.messages))
        entry.configs = f"all {plan.opening.sector}"
        if self._questions and (found := self._questions.overlaps(held.messages)):
            entry.overlaps = orjson.dumps(found).decode()
        identified = self._identify(conversation)
        told = identified.provenance["language"] if isinstance(identified, Conversation) else ""
        entry.described = statistics.describe(held.messages, str(told), self._count)
        self._spool.add(entry, release.line_of(row, CORPUS))


def _provenance(
    plan: Plan, held: Dialogue, cast: Cast, recipe: Recipe
) -> dict[str, str | int | float]:
    """The columns after ``messages``, in the order of ``schema.PROVENANCE``."""
    user, assistant = cast.user_sampling, cast.assistant_sampling
    return {
        "source": plan.opening.source,
        "model": held.model,
        "user_model": held.user_model,
        "opening_model": plan.opening.model,
        "sector": plan.opening.sector,
        "topic": plan.opening.topic,
        "kind": plan.opening.kind,
        "rounds": held.rounds,
        "rounds_planned": plan.rounds,
        "finish": held.finish,
        "persona": plan.persona,
        "register": plan.register,
        "intents": ", ".join(plan.intents[: held.rounds - 1]),
        "temperature": float(assistant.temperature),
        "top_p": float(assistant.top_p),
        "max_tokens": assistant.max_tokens,
        "user_temperature": float(user_temperature(plan, cast)),
        "user_top_p": float(user.top_p),
        "user_max_tokens": user.max_tokens,
        "recipe": recipe.version,
        "recipe_seed": recipe.seed,
        "seed": plan.seed,
    }


def texts(spool: Spool) -> Iterator[tuple[Sequence[str], str]]:
    """Configurations and whole text of each dialogue in the spool, in the order of the release."""
    for _, line in spool.lines("all"):
        row = orjson.loads(line)
        yield ("all", row["sector"]), "\n\n".join(turn["content"] for turn in row["messages"])
