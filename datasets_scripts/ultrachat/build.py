"""Build the UltraChat corpus: opening lines in, a release of simulated dialogues out."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import xxhash
from tqdm import tqdm

from datasets_scripts import language, statistics
from datasets_scripts.pipeline import Drop, Ledger
from datasets_scripts.spool import Entry, Spool, counts
from datasets_scripts.summary import print_summary
from datasets_scripts.ultrachat import dialogue, openings
from datasets_scripts.ultrachat.dialogue import Cast, Dialogue, Plan
from ultra import command, jsonl, models, pool, prompts, release, schema
from ultra.chat import Sampling
from ultra.errors import SettingError
from ultra.journal import Journal, Journaled
from ultra.schema import Conversation

CORPUS = "ultrachat"
VERSION = "1.0.0"
"""Goes up whenever the same openings, settings and model answers would give other bytes."""

HERE = Path(__file__).parent
SAMPLE = HERE / "sample" / "openings.jsonl"
STEP = "simulate"


@dataclass(frozen=True)
class Settings:
    """Build the UltraChat corpus: a user model and an assistant model hold dialogues."""

    openings: Path | None = None
    """JSONL of {sector, topic, opening}; by default the bundled sample."""
    out: Path = Path("out/releases")
    """Folder in which the release directory is made."""
    sector: Literal["all", "world", "creation", "material"] = "all"
    """Sector of openings to use."""
    n: int = 0
    """Number of dialogues, going round the openings if it is larger; 0 is one for each opening."""
    seed: int = 0
    """Decides the rounds of each dialogue, and is sent with every call."""
    min_rounds: int = 3
    """Fewest rounds of a dialogue; a round is a user turn and its answer."""
    max_rounds: int = 7
    """Most rounds of a dialogue."""
    user_model: str = ""
    """Who plays the user: demo, a checkpoint folder, or a model's name at the endpoint."""
    assistant_model: str = ""
    """Who answers, likewise."""
    base_url: str = ""
    """OpenAI-compatible endpoint of both; by default OPENAI_BASE_URL."""
    user_sampling: Sampling = field(default_factory=lambda: Sampling(1.0, max_tokens=512))
    """Sampling of the simulated user."""
    assistant_sampling: Sampling = field(default_factory=lambda: Sampling(0.7, max_tokens=2048))
    """Sampling of the assistant."""
    concurrency: int = 16
    """Dialogues held at the same time."""
    tokenizer: Path | None = None
    """A tokenizer.json, or the folder that holds it: lengths in its tokens, by default in words."""
    test_share: float = 0.05
    """Share of openings, 0 to below 1, whose dialogues go into the test split."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_rounds <= self.max_rounds:
            raise SettingError(f"min_rounds: {self.min_rounds} is not from 1 to max_rounds")
        if self.n < 0 or self.concurrency < 1:
            raise SettingError("n must be 0 or more, and concurrency 1 or more")
        for sampling in (self.user_sampling, self.assistant_sampling):
            if sampling.seed or sampling.sample:
                raise SettingError("seed: set 'seed' alone; each dialogue draws its own from it")
        if not 0 <= self.test_share < 1:
            raise SettingError(f"test_share: {self.test_share} is not from 0 to below 1")


def build(settings: Settings) -> Path:
    """Make the release, or find it already made from the same openings; returns its directory.

    Raises:
        InputError: the openings cannot be read, or no dialogue is kept.
        OutputError: the release directory holds something else, or another run is at work.
        ModelError: an endpoint refuses us; finished calls are in the journal.
    """
    if settings.openings is None:
        print(f"no --openings is set: building from the bundled sample in {SAMPLE}")
    lines = openings.read(settings.openings or SAMPLE, settings.sector)
    cast = _cast(settings)
    path = settings.out / f"{CORPUS}-{VERSION}"
    made = _identity(settings, lines, cast)
    if release.is_built(path, made):
        print(f"{path}: already built from these openings")
    else:
        asyncio.run(_make(settings, lines, cast, path, made))
    print_summary(path)
    return path


def _cast(settings: Settings) -> Cast:
    user, assistant = settings.user_model, settings.assistant_model
    if not user and not assistant:
        flags = "--user-model and --assistant-model (MODEL= with make)"
        user = assistant = models.chosen("", "user and assistant", flags)
    user = models.chosen(user, "user", "--user-model")
    assistant = models.chosen(assistant, "assistant", "--assistant-model")
    return Cast(
        models.open_model(user, settings.base_url),
        models.open_model(assistant, settings.base_url),
        settings.user_sampling,
        settings.assistant_sampling,
        prompts.load(HERE / "prompts" / "user.md"),
        prompts.load(HERE / "prompts" / "start.md"),
    )


def _identity(settings: Settings, lines: list[openings.Opening], cast: Cast) -> dict[str, Any]:
    """The manifest fields that decide the bytes."""
    demo = {"demo": True} if "demo" in (cast.user.name, cast.assistant.name) else {}
    return demo | {
        "version": VERSION,
        "configuration": {
            "sector": settings.sector,
            "n": settings.n or len(lines),
            "seed": settings.seed,
            "rounds": [settings.min_rounds, settings.max_rounds],
            "tokenizer": statistics.identity(settings.tokenizer),
            "test_share": settings.test_share,
        },
        "input": {
            "openings": len(lines),
            "xxh3_128": jsonl.digest([asdict(line) for line in lines]),
        },
        "models": {"user": cast.user.name, "assistant": cast.assistant.name},
        "sampling": {
            "user": _drawn(cast.user_sampling),
            "assistant": _drawn(cast.assistant_sampling),
        },
        "prompts": {prompt.name: prompt.digest for prompt in (cast.user_prompt, cast.start_prompt)},
    }


def _drawn(sampling: Sampling) -> dict[str, Any]:
    """Sampling without its seed, which each dialogue draws for itself; it stands in the row."""
    return {key: value for key, value in asdict(sampling).items() if key not in ("seed", "sample")}


async def _make(
    settings: Settings, lines: list[openings.Opening], cast: Cast, path: Path, made: dict[str, Any]
) -> None:
    run = path.with_name(path.name + ".run")
    with Journal(run / "journal.jsonl") as journal, Spool(settings.out) as spool:
        parts = replace(
            cast, user=Journaled(cast.user, journal), assistant=Journaled(cast.assistant, journal)
        )
        try:
            made |= await _simulate_all(settings, lines, parts, spool)
        finally:
            await parts.user.close()
            await parts.assistant.close()
        spool.to_release(path, CORPUS, made, prompts.load(HERE / "card.md"))


def _plans(settings: Settings, lines: list[openings.Opening]) -> Iterator[Plan]:
    rounds = (settings.min_rounds, settings.max_rounds)
    for index in range(settings.n or len(lines)):
        opening = lines[index % len(lines)]
        yield dialogue.plan(VERSION, settings.seed, index, opening, rounds)


async def _simulate_all(
    settings: Settings, lines: list[openings.Opening], cast: Cast, spool: Spool
) -> dict[str, Any]:
    """Hold all dialogues, some at a time, without a barrier between them."""
    ledger, usage, describe = Ledger([STEP]), Counter[str](), _describer(settings)
    total = settings.n or len(lines)
    with tqdm(desc=CORPUS, total=total, unit=" dialogues", disable=None) as bar:

        async def work(plan: Plan) -> None:
            ledger.enter(STEP)
            result = await dialogue.simulate(plan, cast)
            if isinstance(result, Drop):
                ledger.drop(STEP, result.reason)
                spool.drop(_id(plan), plan.opening.source, STEP, result)
            else:
                usage.update(result.usage)
                _keep(plan, result, spool, describe)
            bar.update()

        await pool.for_each(_plans(settings, lines), work, settings.concurrency)
    return {"steps": ledger.table(), "usage": dict(sorted(usage.items()))}


def _id(plan: Plan) -> str:
    return f"{plan.opening.sector}-{plan.index:08d}"


def _describer(settings: Settings) -> Callable[[Conversation], str]:
    """What describes a dialogue for the statistics, its language as it was found included."""
    count, identify = statistics.counter(settings.tokenizer), language.identify([], [])

    def describe(conversation: Conversation) -> str:
        identified = identify(conversation)
        told = identified.provenance["language"] if isinstance(identified, Conversation) else ""
        return statistics.describe(conversation.messages, str(told), count)

    return describe


def _keep(
    plan: Plan, held: Dialogue, spool: Spool, describe: Callable[[Conversation], str]
) -> None:
    provenance: dict[str, str | int | float] = {
        "source": plan.opening.source,
        "model": held.model,
        "user_model": held.user_model,
        "sector": plan.opening.sector,
        "topic": plan.opening.topic,
        "rounds": plan.rounds,
        "seed": plan.seed,
    }
    conversation = Conversation(_id(plan), held.messages, provenance)
    content = xxhash.xxh3_128_digest(jsonl.dump(held.messages))
    root, found = schema.root_id(held.messages), counts(held.messages)
    entry = Entry(conversation.id, plan.opening.source, root, content, counts=found)
    entry.described = describe(conversation)
    spool.add(entry, release.line_of(conversation.row(), CORPUS))


if __name__ == "__main__":
    command.main(Settings, build)
