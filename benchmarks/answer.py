"""Let a model answer a suite: questions in, one line of answers for each out."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks import answer_forms, results, suites
from benchmarks.suites import Question, Suite
from ultra import command, files, jsonl, models
from ultra.budget import Prices, estimate
from ultra.chat import ChatModel, Completion, Sampling
from ultra.engine import Limits, Session, session
from ultra.errors import CallError, ModelError, OutputError
from ultra.schema import Message

BYTES_PER_TOKEN = 4
"""Of English, about; for the estimate before a run only."""


@dataclass(frozen=True)
class Settings(Limits):
    """Let a model answer the questions of a suite."""

    model: str = ""
    """Who answers: demo, a checkpoint folder, or a model's name at the endpoint."""
    base_url: str = ""
    """OpenAI-compatible endpoint; by default OPENAI_BASE_URL."""
    suite: str = "starter"
    """Name of a suite, or a .jsonl file of questions."""
    out: Path = Path("out/results")
    """Folder of all results; this model's go to OUT/<suite>/<model>/."""
    system: str = ""
    """System prompt before every question; none by default."""
    sampling: Sampling = field(default_factory=lambda: Sampling(0.7, max_tokens=1024))
    """How answers are drawn."""
    temperatures: Literal["suite", "sampling"] = "suite"
    """suite: a category's own temperature, where the suite has one; sampling: never."""
    benchmarks_dir: Path | None = None
    """Folder of the published benchmark files; by default ULTRA_BENCHMARKS_DIR."""


def answer(settings: Settings) -> Path:
    """Write the answers of one model; finished calls come from its journal.

    Raises:
        SettingError: unknown suite, or a model that cannot be opened.
        InputError: the suite's questions are not to be had.
        OutputError: imported answers of a model of this name are there.
        BudgetError: the next call could pass the budget.
        ModelError: the endpoint refuses us, or no question was answered.
    """
    suite = suites.load(settings.suite, settings.benchmarks_dir)
    prices = Prices.load(settings.prices)
    model = models.open_model(
        models.chosen(settings.model, "answers", "--model (MODEL= with make)"), settings.base_url
    )
    path = results.folder(settings.out, suite.name, model.name) / results.ANSWERS
    _keep_imported(path)
    print(_estimate(settings, suite, prices, model.name))
    rows = asyncio.run(_answer_all(settings, suite, model))
    jsonl.write(path, rows)
    _keep_training(Path(settings.model), path.parent)
    _report(rows)
    print(path)
    return path


def _keep_imported(path: Path) -> None:
    """Answers of our own come from the journal again; those that came in a file do not."""
    if not path.exists():
        return
    for row in results.read_answers(path).values():
        if str(row.get("revision", "")).startswith(answer_forms.IMPORTED):
            raise OutputError(f"{path}: holds imported answers; choose another --out or remove it")


def _keep_training(checkpoint: Path, folder: Path) -> None:
    """Carry the record of a checkpoint's training along: the table says which data it was."""
    record = checkpoint / results.TRAINING
    if record.is_file():
        with files.atomic(folder / results.TRAINING) as file:
            file.write(record.read_bytes())


def _estimate(settings: Settings, suite: Suite, prices: Prices, model: str) -> str:
    """What the calls may take, if every answer is as long as it may be."""
    calls = read = 0
    for question in suite.questions:
        said = len(settings.system.encode("utf-8", "replace"))
        for number, turn in enumerate(question.turns):
            said += len(turn.encode("utf-8", "replace"))
            read += said // BYTES_PER_TOKEN + number * settings.sampling.max_tokens
            calls += 1
    written = calls * settings.sampling.max_tokens
    return f"at most: {estimate(prices, model, calls, read, written)}"


def _report(rows: list[dict[str, Any]]) -> None:
    """Say what is wrong with answers.

    Raises:
        ModelError: there are none.
    """
    cut = sum("length" in row.get("finish_reasons", []) for row in rows)
    if cut:
        print(f"{cut} of {len(rows)} answers are cut at sampling.max_tokens")
    errors = [row["error"] for row in rows if "error" in row]
    if errors:
        failed = f"{len(errors)} of {len(rows)} questions have no answer: {errors[0]}"
        if len(errors) == len(rows):
            raise ModelError(failed)
        print(f"{failed}; run again to ask them again")


async def _answer_all(settings: Settings, suite: Suite, model: ChatModel) -> list[dict[str, Any]]:
    """The rows in the order of the questions."""
    rows: dict[str, dict[str, Any]] = {}
    folder = results.folder(settings.out, suite.name, model.name)
    place = results.run(folder, "answers", model.name)
    async with session(settings, place, f"{model.name} answers {suite.name}") as opened:
        asked = opened.model(model)

        async def work(question: Question) -> None:
            sampling = _sampling(settings, suite, question)
            rows[question.id] = await _answer_one(question, asked, settings, sampling)

        await _fill(opened, asked, settings, suite)
        await opened.for_each(suite.questions, work, len(suite.questions), "questions")
    return [rows[question.id] for question in suite.questions]


def _sampling(settings: Settings, suite: Suite, question: Question) -> Sampling:
    if settings.temperatures == "sampling" or question.category not in suite.temperatures:
        return settings.sampling
    return replace(settings.sampling, temperature=suite.temperatures[question.category])


async def _fill(opened: Session, asked: ChatModel, settings: Settings, suite: Suite) -> None:
    """Let the Batch API answer the first turns; a second one has to see the answer to the first."""
    if not settings.batch:
        return

    def first_turns() -> Iterator[tuple[list[Message], Sampling]]:
        for question in suite.questions:
            messages = [*_opening(settings), _asks(question.turns[0])]
            yield messages, _sampling(settings, suite, question)

    await opened.fill(asked, first_turns())


def _opening(settings: Settings) -> list[Message]:
    return [{"role": "system", "content": settings.system}] if settings.system else []


def _asks(turn: str) -> Message:
    return {"role": "user", "content": turn}


async def _answer_one(
    question: Question, model: ChatModel, settings: Settings, sampling: Sampling
) -> dict[str, Any]:
    """The answer row of one question; if a call failed it has no turns, but an ``error``."""
    messages = _opening(settings)
    turns: list[str] = []
    answers: list[Completion] = []
    failed: dict[str, str] = {}
    for turn in question.turns:
        messages.append(_asks(turn))
        try:
            said = await model.complete(list(messages), sampling)
        except CallError as error:
            turns, failed = [], {"error": str(error)}
            break
        turns.append(said.text)
        messages.append({"role": "assistant", "content": turns[-1]})
        answers.append(said)
    return {
        "id": question.id,
        "question": question.digest,
        "model": model.name,
        "revision": model.identity,
        "turns": turns,
        **failed,
        "finish_reasons": [said.finish_reason for said in answers],
        "sampling": asdict(sampling),
        "system": settings.system,
        **_paid(answers),
    }


def _paid(answers: list[Completion]) -> dict[str, Any]:
    """The tokens of all turns, and what they cost in USD; None if that was not known."""
    usage = {
        "prompt_tokens": sum(said.usage.prompt_tokens for said in answers),
        "completion_tokens": sum(said.usage.completion_tokens for said in answers),
    }
    known = [said.usd for said in answers if said.usd is not None]
    return {"usage": usage, "usd": sum(known) if len(known) == len(answers) else None}


if __name__ == "__main__":
    command.main(Settings, answer)
