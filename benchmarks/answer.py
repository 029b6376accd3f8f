"""Let a model answer a suite: questions in, one line of answers for each out."""

import asyncio
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import results, suites
from benchmarks.suites import Question, Suite
from ultra import command, jsonl, models, pool
from ultra.chat import ChatModel, Sampling
from ultra.errors import CallError, ModelError, SettingError
from ultra.journal import recorded
from ultra.schema import Message


@dataclass(frozen=True)
class Settings:
    """Let a model answer the questions of a suite."""

    model: str = ""
    """Who answers: demo, a checkpoint folder, or a model's name at the endpoint."""
    base_url: str = ""
    """OpenAI-compatible endpoint; by default OPENAI_BASE_URL."""
    suite: str = "starter"
    """Name of a suite, or a .jsonl file of questions."""
    out: Path = Path("out/results")
    """Folder of all results; this model's go to OUT/<suite>/<model>/."""
    sampling: Sampling = field(default_factory=lambda: Sampling(0.7, max_tokens=1024))
    """How answers are drawn."""
    concurrency: int = 16
    """Questions asked at the same time."""

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise SettingError(f"concurrency: {self.concurrency} is not 1 or more")


def answer(settings: Settings) -> Path:
    """Write the answers of one model; finished calls come from its journal.

    Raises:
        SettingError: unknown suite, or a model that cannot be opened.
        ModelError: the endpoint refuses us, or no question was answered.
    """
    suite = suites.load(settings.suite)
    model = models.open_model(
        models.chosen(settings.model, "answers", "--model (MODEL= with make)"), settings.base_url
    )
    folder = results.folder(settings.out, suite.name, model.name)
    rows = asyncio.run(
        _answer_all(settings, suite, model, results.journal(folder, "answers", model.name))
    )
    path = folder / results.ANSWERS
    jsonl.write(path, rows)
    errors = [row["error"] for row in rows if "error" in row]
    if errors:
        failed = f"{len(errors)} of {len(rows)} questions have no answer: {errors[0]}"
        if len(errors) == len(rows):
            raise ModelError(failed)
        print(f"{failed}; run again to ask them again")
    print(path)
    return path


async def _answer_all(
    settings: Settings, suite: Suite, model: ChatModel, place: Path
) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    async with recorded(model, place) as asked:
        bar = tqdm(total=len(suite.questions), disable=None)
        bar.set_description(f"{model.name} answers {suite.name}")

        async def work(question: Question) -> None:
            rows[question.id] = await _answer_one(question, asked, settings.sampling)
            bar.update()

        with bar:
            await pool.for_each(suite.questions, work, settings.concurrency)
    return [rows[question.id] for question in suite.questions]


async def _answer_one(question: Question, model: ChatModel, sampling: Sampling) -> dict[str, Any]:
    """The answer row of one question; ``error`` instead of turns if a call failed."""
    row: dict[str, Any] = {
        "id": question.id,
        "question": question.digest,
        "model": model.name,
        "revision": model.identity,
    }
    messages: list[Message] = []
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    endings: list[str] = []
    for turn in question.turns:
        messages.append({"role": "user", "content": turn})
        try:
            said = await model.complete(list(messages), sampling)
        except CallError as error:
            return {**row, "turns": [], "error": str(error)}
        messages.append({"role": "assistant", "content": said.text})
        endings.append(said.finish_reason)
        usage["prompt_tokens"] += said.usage.prompt_tokens
        usage["completion_tokens"] += said.usage.completion_tokens
    turns = [turn["content"] for turn in messages if turn["role"] == "assistant"]
    details = {"finish_reasons": endings, "usage": usage, "sampling": asdict(sampling)}
    return {**row, "turns": turns, **details}


if __name__ == "__main__":
    command.main(Settings, answer)
