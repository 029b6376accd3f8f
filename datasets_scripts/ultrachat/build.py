"""Build the UltraChat corpus: opening lines in, a release of simulated dialogues out."""

import asyncio
import sqlite3
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from datasets_scripts import contamination, statistics, topics
from datasets_scripts.questions import Questions
from datasets_scripts.spool import Spool
from datasets_scripts.summary import print_summary
from datasets_scripts.topics import Embeddings
from datasets_scripts.ultrachat import estimate, judged, report, rows, simulation, views
from datasets_scripts.ultrachat.dialogue import Cast
from datasets_scripts.ultrachat.estimate import Survey
from datasets_scripts.ultrachat.judged import Judge
from datasets_scripts.ultrachat.openings import make, request
from datasets_scripts.ultrachat.openings.make import DROPPED, MANIFEST, OPENINGS
from datasets_scripts.ultrachat.openings.opening import read as read_openings
from datasets_scripts.ultrachat.openings.sift import sift
from datasets_scripts.ultrachat.rows import CORPUS, Collector, Recipe
from datasets_scripts.ultrachat.settings import CONFIGS, VERSION, Settings
from datasets_scripts.ultrachat.simulation import Plans
from ultra import command, jsonl, models, release
from ultra.budget import Prices
from ultra.chat import ChatModel, OpenAIChat, Sampling
from ultra.engine import Session, session
from ultra.errors import OutputError, SettingError

SAMPLE = Path(__file__).parent / "sample" / "openings.jsonl"
_EACH_SHARD = (
    "each shard makes all openings for itself; to pay for them once, make them with python -m "
    "datasets_scripts.ultrachat.openings.make, and name their file with --openings"
)


def build(settings: Settings) -> Path:
    """Make the release, or find it already made from the same openings; returns its directory.

    Raises:
        InputError: the openings cannot be read, or no dialogue is kept.
        OutputError: the release directory holds something else, or another run is at work.
        ModelError: an endpoint refuses us; finished calls are in the journal.
        BudgetError: the next call could pass the budget; likewise.
        SettingError: an endpoint has no address or key, a model no price for a budget in money, or
            the shard no dialogue.
    """
    if settings.openings is None and not settings.opening_model:
        print(f"no --openings is set: building from the bundled sample in {SAMPLE}")
    if settings.shard and settings.opening_model:
        print(_EACH_SHARD, file=sys.stderr)
    if settings.embedding_model:  # what is wrong with it is better known before the dialogues
        OpenAIChat(settings.embedding_model, settings.base_url)
    cast = _cast(settings)
    made = _identity(settings, cast)
    if not settings.preview and _is_built(settings, made):
        print(f"{settings.path}: already built from these openings")
    else:
        asyncio.run(_run(settings, cast, made))
    if not settings.preview:
        print_summary(settings.path)
    return settings.path


def _is_built(settings: Settings, made: dict[str, Any]) -> bool:
    try:
        return release.is_built(settings.path, made)
    except OutputError as error:
        kept = f" (finished calls are in {settings.run}, and are not paid for again)"
        raise OutputError(f"{error}{kept if settings.run.exists() else ''}") from error


def _cast(settings: Settings) -> Cast:
    user, assistant = settings.user_model, settings.assistant_model
    if not user and not assistant:
        flags = "--user-model and --assistant-model (MODEL= with make)"
        user = assistant = models.chosen("", "user and assistant", flags)
    user = models.chosen(user, "user", "--user-model")
    assistant = models.chosen(assistant, "assistant", "--assistant-model")
    return Cast(
        models.open_model(user, settings.user_base_url or settings.base_url),
        models.open_model(assistant, settings.assistant_base_url or settings.base_url),
        settings.user_sampling,
        settings.assistant_sampling,
        views.load(),
        settings.view,
        settings.retries,
        settings.vary_temperature,
    )


def _identity(settings: Settings, cast: Cast) -> dict[str, Any]:
    """The manifest fields that decide the bytes."""
    writer = _writer(settings)
    names = {"user": cast.user.name, "assistant": cast.assistant.name}
    sampling = {"user": _drawn(cast.user_sampling), "assistant": _drawn(cast.assistant_sampling)}
    told = cast.script.digests
    if writer is None:
        given = Survey.of(read_openings(settings.openings or SAMPLE, settings.sector))
        source: dict[str, Any] = {"openings": given.count, "xxh3_128": given.digest}
    else:
        asked = request.identity(settings.request, writer)
        source = {"recipe": asked["recipe"], **asked["configuration"], **asked["input"]}
        names, sampling, told = (
            names | asked["models"],
            sampling | asked["sampling"],
            told | asked["prompts"],
        )
    demo = {"demo": True} if "demo" in names.values() else {}
    return demo | {
        "version": VERSION,
        "configuration": _configuration(settings),
        "input": source,
        "models": names,
        "sampling": sampling,
        "prompts": told,
    }


def _writer(settings: Settings) -> ChatModel | None:
    """Who writes the openings, if they are not those of a file."""
    if not settings.opening_model:
        return None
    url = settings.opening_base_url or settings.base_url
    return models.open_model(settings.opening_model, url)


def _configuration(settings: Settings) -> dict[str, Any]:
    """The settings that decide the bytes, but for those of models; of files their digests."""
    judge = {"model": settings.judge_model, "dialogues": settings.judged}
    return {
        "sector": settings.sector,
        "n": settings.n,
        "seed": settings.seed,
        "shard": settings.shard,
        "rounds": [settings.min_rounds, settings.max_rounds],
        "view": settings.view,
        "retries": settings.retries,
        "vary_temperature": settings.vary_temperature,
        "near_duplicates": settings.near_duplicates,
        "questions": Questions.load(settings.questions).digest if settings.questions else "",
        "drop_overlap": settings.drop_overlap,
        "judged": judge if settings.judged else {},
        "embedding_model": settings.embedding_model,
        "tokenizer": statistics.identity(settings.tokenizer),
        "test_share": settings.test_share,
    }


def _drawn(sampling: Sampling) -> dict[str, Any]:
    """Sampling without what each call has for itself; the seed stands in the row."""
    own = ("seed", "sample", "top_logprobs")
    return {key: value for key, value in asdict(sampling).items() if key not in own}


async def _run(settings: Settings, cast: Cast, made: dict[str, Any]) -> None:
    """Get the openings, and either show some dialogues or make the release."""
    async with session(settings, settings.run, CORPUS) as talks:
        cast = replace(cast, user=talks.model(cast.user), assistant=talks.model(cast.assistant))
        judge = _judge(settings, talks)
        questions = Questions.load(settings.questions) if settings.questions else None
        account = await _openings(settings, talks, made, questions)
        report.print_openings(account["steps"])
        names, prices = made["models"], talks.budget.prices
        plans = _plans(settings, names, prices)
        if settings.preview:
            first = replace(plans, numbers=plans.numbers[: settings.preview])
            await simulation.preview(talks, first, cast)
            return
        with Spool(settings.out) as spool:
            count = statistics.counter(settings.tokenizer)
            collector = Collector(spool, cast, plans.recipe, count, questions)
            await _hold(settings, talks, plans, cast, collector)
            made |= {"openings": account, **collector.account(prices, names)}
            made["topics"] = _topics(settings, spool)
            if questions is not None:
                made["contamination"] = contamination.account_for(spool.db, questions)
            if judge is not None:
                sample = judged.sample((line for _, line in spool.lines("all")), settings.judged)
                made["judged"] = await judged.judge(talks, judge, sample)
            spool.to_release(settings.path, CORPUS, made, report.template(made), CONFIGS)


def _plans(settings: Settings, names: dict[str, str], prices: Prices) -> Plans:
    """The dialogues of this build, after saying what they will take."""
    read = partial(read_openings, settings.folder / OPENINGS, settings.sector)
    survey = Survey.of(read())
    shard, shards = settings.part
    numbers = range(shard, settings.n or survey.count, shards)
    if not numbers:
        raise SettingError(f"shard: {settings.shard} has none of {numbers.stop:,} dialogues")
    if numbers.stop > survey.count and not settings.preview:
        print(f"{numbers.stop:,} dialogues go round {survey.count:,} openings")
    for line in estimate.lines(prices, names, survey, len(numbers), settings.rounds):
        print(line)
    return Plans(read, Recipe(VERSION, settings.seed), numbers, settings.rounds)


def _judge(settings: Settings, talks: Session) -> Judge | None:
    if not settings.judged:
        return None
    return Judge.of(talks.model(models.open_model(settings.judge_model, settings.base_url)))


async def _hold(
    settings: Settings, talks: Session, plans: Plans, cast: Cast, collector: Collector
) -> None:
    """Hold all dialogues, and collect them and the openings that were not used."""
    try:
        await simulation.hold(talks, plans, cast, collector.take)
    except* sqlite3.OperationalError as errors:  # of the spool, which explains it
        raise errors.exceptions[0] from None
    if collector.kept:  # else what says why no dialogue was would count openings for dialogues
        collector.drop_openings(jsonl.read(settings.folder / DROPPED))


async def _openings(
    settings: Settings, talks: Session, made: dict[str, Any], questions: Questions | None
) -> dict[str, Any]:
    """Write the openings into the run's folder; returns the account of them."""
    folder, writer = settings.folder, _writer(settings)
    if writer is not None:
        await make.generate(settings.request, talks, writer, folder, anew=True)
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        return {key: manifest[key] for key in ("steps", "openings", "written_by")}
    decided = ("sector", "near_duplicates", "questions", "drop_overlap")
    wanted = {"input": made["input"], **{name: made["configuration"][name] for name in decided}}
    checks = (settings.near_duplicates, questions, settings.drop_overlap)
    return sift(settings.openings or SAMPLE, settings.sector, folder, checks, wanted)


def _topics(settings: Settings, spool: Spool) -> dict[str, Any]:
    """How alike the topics of the dialogues are, by an endpoint's vectors or by words."""
    texts = partial(rows.texts, spool)
    if not settings.embedding_model:
        return topics.by_words(texts)
    kept = settings.run / "embeddings.sqlite"
    with Embeddings(settings.embedding_model, settings.base_url, kept) as embeddings:
        return topics.by_embeddings(texts, embeddings)


if __name__ == "__main__":
    command.main(Settings, build, program="python -m datasets_scripts.ultrachat.build")
