"""Judge a model's answers, beside a baseline's or by themselves, under a protocol.

Every verdict stands with the judge's raw words. What cannot be judged or read is unscored, with a
reason, and is never a score.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks import answer_forms, cases, judgments, protocol, questions, reading, results, suites
from benchmarks.cases import Case
from benchmarks.protocol import Orders, Protocol
from benchmarks.suites import Suite
from ultra import budget, command, engine, files, jsonl, models
from ultra.budget import Budget, Prices
from ultra.chat import ChatModel, Completion, Sampling, Usage
from ultra.engine import Limits
from ultra.errors import CallError, InputError, SettingError
from ultra.schema import Message

Row = dict[str, Any]
LETTERS_A_TOKEN = 4
"""For the estimate before a run only: English text in the vocabularies of OpenAI."""


@dataclass(frozen=True)
class Settings(Limits):
    """Judge a model's answers to a suite."""

    model: str = ""
    """Whose answers: as given when they were made."""
    suite: str = "starter"
    """Name of a suite, or a .jsonl file of questions."""
    judge: list[str] = field(default_factory=list)
    """Who judges: demo, a checkpoint folder, or a model's name at the endpoint; again for each of
    several. By default the protocol's own judge."""
    base_url: str = ""
    """OpenAI-compatible endpoint of the judges; by default OPENAI_BASE_URL."""
    protocol: str = ""
    """Name of a protocol, or the path of a .yaml file; by default the suite's."""
    orders: Orders = ""
    """Orders in which two answers are shown; by default the protocol's."""
    samples: int = 0
    """Judgments of each order; 0 is as many as the protocol has."""
    baseline: str = ""
    """Answers to compare with: a file in any published form, or a model that has answered; by
    default the suite's own."""
    retry_unscored: bool = False
    """Ask once more, as another draw, about what was judged and could not be read."""
    out: Path = Path("out/results")
    """Folder of all results, where the answers are."""
    benchmarks_dir: Path | None = None
    """Folder of the published benchmark files; by default ULTRA_BENCHMARKS_DIR."""


@dataclass(frozen=True)
class Job:
    """What one judge has to do: the cases of one model's answers, and what all rows share."""

    model: str
    baseline: str
    protocol: Protocol
    record: Row
    cases: list[Case]
    tries: dict[tuple[str, int, str, int], int]

    def tries_of(self, case: Case) -> int:
        """How often a case may be asked until it is read."""
        return max(1, self.tries.get((case.question.id, case.turn, case.order, case.sample), 1))


def judge(settings: Settings) -> list[Path]:
    """Write the judgments of each judge on one model; finished calls come from the journal.

    Raises:
        SettingError: unknown suite or protocol, no baseline, or a judge that cannot be opened or
            does not give what the protocol needs.
        InputError: answers of the model or the baseline are missing, or the references are.
        ModelError: a judge's endpoint refuses us.
        BudgetError: the next call could pass the budget.
    """
    suite = suites.load(settings.suite, settings.benchmarks_dir)
    chosen = _protocol(settings, suite)
    named = models.display_name(
        models.chosen(settings.model, "answers", "--model (MODEL= with make)")
    )
    folder = results.folder(settings.out, suite.name, named)
    answers = results.read_answers(folder / results.ANSWERS)
    _check_questions(suite, answers, folder / results.ANSWERS)
    others = {} if chosen.kind == "grade" else _baseline(settings, suite)
    found = cases.cases(suite.questions, answers, others, chosen)
    cases.check_references(found, suite.name, chosen.name)
    _keep(suite, others, settings, folder)
    spent: Budget | None = None
    written = []
    for name in settings.judge or [chosen.judge]:
        name = models.chosen(name, "judge", "--judge (JUDGE= with make)")
        judging = models.open_model(name, settings.base_url)
        about = {"suite": suite.name, "suite_digest": suite.digest}
        record = chosen.record(judging.name, about, _digest(others))
        path = judgments.path(folder, judging.name, record["hash"])
        tries = _tries(path, settings.retry_unscored)
        job = Job(named, _name(others), chosen, record, found, tries)
        run = results.run(folder, "judgments", judging.name)
        rows, spent = asyncio.run(_judge_all(job, judging, settings, run, spent))
        files.write_text(judgments.protocol_path(path), orjson.dumps(record).decode() + "\n")
        jsonl.write(path, rows)
        _report(rows)
        print(path)
        written.append(path)
    return written


def _protocol(settings: Settings, suite: Suite) -> Protocol:
    name, folder = settings.protocol or suite.protocol, settings.benchmarks_dir
    return protocol.load(name, settings.samples, settings.orders, folder)


def _baseline(settings: Settings, suite: Suite) -> dict[str, Row]:
    """The answers compared with, by question."""
    if not settings.baseline:
        return suites.baseline_answers(suite, settings.benchmarks_dir)
    if settings.baseline == settings.model:
        raise SettingError(f"baseline: {settings.model} is the model that is judged")
    path = Path(settings.baseline)
    if not path.is_file():
        path = results.folder(settings.out, suite.name, settings.baseline) / results.ANSWERS
        if not path.is_file():
            raise SettingError(
                f"baseline: {settings.baseline} is no file, and no model of that name has answered "
                f"{suite.name} ({path} is not there)"
            )
    rows = answer_forms.read(path, suite.questions, allow=("missing", "foreign"))
    others = {row["id"]: row for row in rows}
    _check_questions(suite, others, path)
    return others


def _keep(suite: Suite, others: dict[str, Row], settings: Settings, folder: Path) -> None:
    """Write down one's own questions and answers compared with, which files may lose later."""
    if suite.name not in suites.known():
        questions.write(results.asked(folder), suite.questions)
    if settings.baseline and others:
        jsonl.write(results.compared(folder, _digest(others)), others.values())


def _check_questions(suite: Suite, answers: dict[str, Row], path: Path) -> None:
    """Hold answers to the questions that they were given to; imported ones do not say."""
    for question in suite.questions:
        if answers.get(question.id, {}).get("question", question.digest) != question.digest:
            raise InputError(
                f"{path}: question {question.id} was another one then; let the model answer again"
            )


def _name(others: dict[str, Row]) -> str:
    """Whose answers the model's are compared with, also where one of them is missing."""
    return next((row["model"] for row in others.values() if row.get("model")), "")


def _digest(others: dict[str, Row]) -> str:
    rows = others.values()
    return jsonl.digest([[row["id"], row.get("model", ""), row["turns"]] for row in rows])


def _tries(path: Path, retry: bool) -> dict[tuple[str, int, str, int], int]:
    """How often each case of a run before was asked; once more if it shall be tried again."""
    rows = judgments.read(path) if path.is_file() else []
    return {
        judgments.key(row): row["tries"] + (retry and row["verdict"] == "unscored") for row in rows
    }


async def _judge_all(
    job: Job, judging: ChatModel, settings: Settings, run: Path, spent: Budget | None
) -> tuple[list[Row], Budget]:
    """A row for each case, in their order, and what was ``spent`` by this judge and those before.

    All of them share one budget.
    """
    rows: dict[int, Row] = {}
    todo = [number for number, case in enumerate(job.cases) if cases.asked(case, job.protocol)]
    async with engine.session(settings, run, f"{judging.name} judges") as session:
        print(_estimate(job, todo, judging.name, session.budget.prices))
        if spent:
            session.budget.add(spent.usd, Usage(spent.tokens), spent.calls)
        asked = session.model(judging)

        async def work(number: int) -> None:
            rows[number] = await _judge_one(job, job.cases[number], asked)

        for number in sorted({*range(len(job.cases))} - {*todo}):
            await work(number)
        if job.protocol.kind == "pair_weighted":
            todo = await _try_logprobs(judging.name, todo, work, rows)
        if settings.batch:
            await session.fill(asked, _requests(job, todo))
        await session.for_each(todo, work, len(todo), "judgments")
    return [rows[number] for number in range(len(job.cases))], session.budget


async def _try_logprobs(
    name: str, todo: list[int], work: Callable[[int], Awaitable[None]], rows: dict[int, Row]
) -> list[int]:
    """Judge until one call succeeds, and see that it has probabilities; what is left to do.

    Raises:
        SettingError: it has none, so no other call would have.
    """
    for done, number in enumerate(todo, 1):
        await work(number)
        if rows[number]["reason"] == "no_logprobs":
            raise SettingError(
                f"judge {name}: gives no log probabilities, which this protocol weighs answers by; "
                "choose another judge, or a protocol that reads words (--protocol alpaca_eval)"
            )
        if rows[number]["tries"]:
            return todo[done:]
    return []


async def _judge_one(job: Job, case: Case, judging: ChatModel) -> Row:
    """The judgment of one case. After an unscored one of a run before, another draw may follow."""
    said: list[Completion] = []
    text, found = "", reading.unscored(cases.lacks(case))
    if not found.reason:
        found = reading.tie(job.protocol)
    if cases.asked(case, job.protocol):
        for attempt in range(job.tries_of(case)):
            try:
                sampling = cases.sampling(case, job.protocol, attempt)
                said.append(await judging.complete(cases.messages(case), sampling))
            except CallError as error:
                if not said:
                    text, found = str(error), reading.unscored(error.reason)
                continue
            latest = reading.read(said[-1], case, job.protocol)
            if len(said) == 1 or latest.verdict != "unscored":
                text, found = said[-1].text, latest
            if latest.verdict != "unscored":
                break
    return {**_head(job, case), **_paid(said), **asdict(found), "text": text}


def _head(job: Job, case: Case) -> Row:
    """What a judgment is about: all fields in their order, those of the verdict still empty."""
    about = {
        "id": case.question.id,
        "category": case.question.category,
        "difficulty": case.question.difficulty,
        "turn": case.turn,
        "model": job.model,
        "revision": case.model.get("revision", ""),
        "baseline": job.baseline,
        **{name: job.record[name] for name in ("suite", "suite_digest", "judge", "kind")},
        "protocol": job.record["hash"],
        "protocol_name": job.record["name"],
        "order": case.order,
        "sample": case.sample,
        "characters": sum(map(len, case.shown(case.model))),
        "baseline_characters": sum(map(len, case.shown(case.baseline))),
    }
    return {name: about.get(name) for name in judgments.FIELDS}


def _paid(said: list[Completion]) -> Row:
    """What the completions of one judgment cost together, and who the server says it was."""
    known = [one.usd for one in said if one.usd is not None]
    return {
        "judge_model": said[-1].model if said else "",
        "tries": len(said),
        "usage": {
            "prompt_tokens": sum(one.usage.prompt_tokens for one in said),
            "completion_tokens": sum(one.usage.completion_tokens for one in said),
        },
        "usd": sum(known) if len(known) == len(said) else None,
    }


def _requests(job: Job, todo: list[int]) -> Iterator[tuple[list[Message], Sampling]]:
    for number in todo:
        case = job.cases[number]
        for attempt in range(job.tries_of(case)):
            yield cases.messages(case), cases.sampling(case, job.protocol, attempt)


def _estimate(job: Job, todo: list[int], name: str, prices: Prices) -> str:
    """What the run may cost at most, calls that are in the journal already included."""
    letters = sum(
        len(message["content"]) for number in todo for message in cases.messages(job.cases[number])
    )
    written = len(todo) * job.protocol.sampling.max_tokens
    most = budget.estimate(prices, name, len(todo), letters // LETTERS_A_TOKEN, written)
    return f"{most} (if nothing is in the journal yet, and every reply is as long as it may be)"


def _report(rows: list[Row]) -> None:
    unscored = Counter(row["reason"] for row in rows if row["verdict"] == "unscored")
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(unscored.items()))
    print(f"{len(rows)} judgments, unscored: {reasons or 'none'}")


if __name__ == "__main__":
    command.main(Settings, judge)
