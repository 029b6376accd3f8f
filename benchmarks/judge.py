"""Judge a model's answers against a baseline's: both orders, every verdict with its raw text."""

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from tqdm import tqdm

from benchmarks import results, suites, verdict
from benchmarks.suites import Question, Suite
from benchmarks.verdict import Unscored
from ultra import command, jsonl, models, pool, prompts
from ultra.chat import ChatModel, Completion, Sampling, Usage
from ultra.errors import CallError, InputError, SettingError
from ultra.journal import recorded
from ultra.prompts import Prompt
from ultra.schema import Message

HERE = Path(__file__).parent
Order = Literal["model_first", "baseline_first"]


@dataclass(frozen=True)
class Settings:
    """Judge a model's answers to a suite against a baseline's answers."""

    model: str = ""
    """Whose answers: as given when they were made."""
    suite: str = "starter"
    """Name of a suite, or a .jsonl file of questions."""
    judge: str = ""
    """Who judges: demo, a checkpoint folder, or a model's name at the endpoint."""
    base_url: str = ""
    """OpenAI-compatible endpoint of the judge; by default OPENAI_BASE_URL."""
    baseline: Path | None = None
    """Answers to compare with, a .jsonl file; by default the suite's own."""
    out: Path = Path("out/results")
    """Folder of all results, where the answers are."""
    concurrency: int = 16
    """Judgments made at the same time."""

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise SettingError(f"concurrency: {self.concurrency} is not 1 or more")


@dataclass(frozen=True)
class Protocol:
    """All that defines a number but the answers themselves. ``hash`` stands in every row."""

    hash: str
    system: Prompt
    request: Prompt
    orders: list[Order]
    sampling: Sampling


@dataclass(frozen=True)
class Pair:
    """One question with the two answers to it."""

    question: Question
    model: dict[str, Any]
    baseline: dict[str, Any]
    order: Order


def judge(settings: Settings) -> Path:
    """Write the judgments of one judge on one model; finished calls come from the journal.

    Raises:
        SettingError: unknown suite, no baseline for it, or a judge that cannot be opened.
        InputError: answers of the model or the baseline are missing.
        ModelError: the judge's endpoint refuses us.
    """
    suite = suites.load(settings.suite)
    named = models.display_name(
        models.chosen(settings.model, "answers", "--model (MODEL= with make)")
    )
    judging = models.open_model(
        models.chosen(settings.judge, "judge", "--judge (JUDGE= with make)"), settings.base_url
    )
    baseline = settings.baseline or suite.baseline
    if baseline is None:
        raise SettingError(f"suite {suite.name}: has no baseline of its own; set --baseline")
    folder = results.folder(settings.out, suite.name, named)
    answers = results.read_answers(folder / results.ANSWERS)
    others = results.read_answers(baseline)
    _check_questions(suite, answers, folder / results.ANSWERS)
    _check_questions(suite, others, baseline)
    if not any(question.id in others for question in suite.questions):
        raise InputError(f"{baseline}: answers none of the questions of suite {suite.name}")
    protocol = read_protocol("pairwise", suite, judging.name, jsonl.digest(others))
    pairs = [
        Pair(question, answers.get(question.id, {}), others.get(question.id, {}), order)
        for question in suite.questions
        for order in protocol.orders
    ]
    place = results.journal(folder, "judgments", judging.name)
    rows = asyncio.run(_judge_all(pairs, protocol, judging, place, settings.concurrency))
    head = {"suite": suite.name, "suite_digest": suite.digest, "judge": judging.name}
    path = results.judgments_file(folder, judging.name, protocol.hash)
    jsonl.write(path, ({**head, "model": named, **row} for row in rows))
    unscored = Counter(row["reason"] for row in rows if row["verdict"] == "unscored")
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(unscored.items()))
    print(f"{len(rows)} judgments, unscored: {reasons or 'none'}")
    print(path)
    return path


def _check_questions(suite: Suite, answers: dict[str, dict[str, Any]], path: Path) -> None:
    """Hold answers to the questions that they were given to; imported ones do not say."""
    for question in suite.questions:
        if answers.get(question.id, {}).get("question", question.digest) != question.digest:
            raise InputError(
                f"{path}: question {question.id} was another one then; let the model answer again"
            )


def read_protocol(name: str, suite: Suite, judge_name: str, baseline_digest: str) -> Protocol:
    """Read a protocol file and hash everything that decides a score under it."""
    written = yaml.safe_load((HERE / "protocols" / f"{name}.yaml").read_text(encoding="utf-8"))
    system = prompts.load(HERE / "prompts" / written["system_prompt"])
    request = prompts.load(HERE / "prompts" / written["request_prompt"])
    parts = [written, system.digest, request.digest, judge_name, suite.digest, baseline_digest]
    sampling = Sampling(**written["sampling"])
    return Protocol(jsonl.digest(parts)[:12], system, request, written["orders"], sampling)


async def _judge_all(
    pairs: list[Pair], protocol: Protocol, judging: ChatModel, place: Path, concurrency: int
) -> list[dict[str, Any]]:
    rows: dict[tuple[str, Order], dict[str, Any]] = {}
    async with recorded(judging, place) as asked:
        bar = tqdm(total=len(pairs), disable=None)
        bar.set_description(f"{judging.name} judges")

        async def work(pair: Pair) -> None:
            rows[pair.question.id, pair.order] = await _judge_one(pair, protocol, asked)
            bar.update()

        with bar:
            await pool.for_each(pairs, work, concurrency)
    return [rows[pair.question.id, pair.order] for pair in pairs]


async def _judge_one(pair: Pair, protocol: Protocol, judging: ChatModel) -> dict[str, Any]:
    """The judgment row of one question in one order."""
    row: dict[str, Any] = {
        "id": pair.question.id,
        "category": pair.question.category,
        "baseline": pair.baseline.get("model", ""),
        "order": pair.order,
        "protocol": protocol.hash,
        "revision": pair.model.get("revision", ""),
        "characters": sum(len(turn) for turn in pair.model.get("turns", [])),
    }
    if not pair.model.get("turns") or not pair.baseline.get("turns"):
        return {**row, **_unscored("no_answer"), "text": "", "usage": asdict(Usage())}
    try:
        said = await judging.complete(_request(pair, protocol), protocol.sampling)
    except CallError as error:
        return {**row, **_unscored("call_failed"), "text": str(error), "usage": asdict(Usage())}
    read = _read(said, pair.order)
    return {**row, **read, "text": said.text, "usage": asdict(said.usage)}


def _request(pair: Pair, protocol: Protocol) -> list[Message]:
    """The judge's messages. The code in the marks is a hash of all texts: no answer knows it."""
    model, baseline = "\n\n".join(pair.model["turns"]), "\n\n".join(pair.baseline["turns"])
    first, second = (model, baseline) if pair.order == "model_first" else (baseline, model)
    question = "\n\n".join(pair.question.turns)
    slots = {"question": question, "answer_a": first, "answer_b": second}
    text = protocol.request.fill({**slots, "code": jsonl.digest(slots)[:16]})
    return [
        {"role": "system", "content": protocol.system.text},
        {"role": "user", "content": text},
    ]


def _read(said: Completion, order: Order) -> dict[str, str]:
    if said.finish_reason in ("length", "content_filter"):  # its last line is not its last word
        return _unscored(said.finish_reason)
    choice = verdict.last_line_choice(said.text)
    if isinstance(choice, Unscored):
        return _unscored(choice.reason)
    if choice == "C":
        return {"verdict": "tie", "reason": ""}
    model_won = (choice == "A") == (order == "model_first")
    return {"verdict": "model" if model_won else "baseline", "reason": ""}


def _unscored(reason: str) -> dict[str, str]:
    return {"verdict": "unscored", "reason": reason}


if __name__ == "__main__":
    command.main(Settings, judge)
