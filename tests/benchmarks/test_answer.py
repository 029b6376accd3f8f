"""Answers: every question asked once, in its turns, and nothing asked twice."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import results, suites
from benchmarks.answer import Settings, answer
from tests.benchmarks.fakes import FakeChat, files_below, read_rows
from tests.conftest import ROOT
from tests.servers.batch_api import BatchServer
from tests.servers.chat_api import FILTERED_PROMPT, ChatServer, Fault, Request
from ultra import jsonl, models
from ultra.chat import ChatModel, Sampling
from ultra.engine import Session
from ultra.errors import BudgetError, CallError, ModelError, SettingError
from ultra.schema import Message

Use = Callable[[FakeChat], FakeChat]
HOSTILE_NAMES = ["../../evil", "..", ".", "/etc/evil", "org/model", "a b:c?", "x/../../y", "漢字"]


def parrot(messages: list[Message]) -> str:
    """Says the question back, and how many messages it has seen."""
    return f"{messages[-1]['content']} ({len(messages)})"


@pytest.fixture
def settings(suite: Path, tmp_path: Path) -> Settings:
    return Settings(model="fake", suite=str(suite), out=tmp_path / "results")


def test_each_turn_sees_the_turns_before_it(use: Use, settings: Settings) -> None:
    fake = use(FakeChat("fake", parrot))
    rows = read_rows(answer(settings))
    assert [row["id"] for row in rows] == ["q1", "q2", "q3"]
    asked = suites.load(settings.suite).questions
    assert [row["question"] for row in rows] == [jsonl.digest(one.turns) for one in asked]
    assert rows[1]["turns"] == ["How long? (1)", "And for green tea? (3)"]
    assert rows[1]["finish_reasons"] == ["stop", "stop"]
    assert rows[1]["usage"] == {"prompt_tokens": 20, "completion_tokens": 4}
    assert rows[1]["usd"] is None
    assert rows[1]["sampling"]["temperature"] == 0.7
    assert {(row["model"], row["revision"]) for row in rows} == {("fake", "fake fake")}
    assert [
        {"role": "user", "content": "How long?"},
        {"role": "assistant", "content": "How long? (1)"},
        {"role": "user", "content": "And for green tea?"},
    ] in fake.requests


@pytest.mark.parametrize("concurrency", [1, 2, 16])
def test_rows_stand_in_the_order_of_the_questions(
    use: Use, settings: Settings, tmp_path: Path, concurrency: int
) -> None:
    use(FakeChat("fake", parrot))
    chosen = Settings(model="fake", suite="starter", out=tmp_path, concurrency=concurrency)
    asked = [question.id for question in suites.load("starter").questions]
    assert [row["id"] for row in read_rows(answer(chosen))] == asked


def test_answering_again_asks_nothing_and_changes_no_byte(use: Use, settings: Settings) -> None:
    use(FakeChat("fake", parrot))
    first = answer(settings).read_bytes()
    silent = use(FakeChat("fake", parrot))
    assert answer(settings).read_bytes() == first
    assert silent.requests == []


def test_a_failed_call_is_a_row_with_its_error_and_asked_again(
    use: Use, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    def stumbles(messages: list[Message]) -> str:
        if "green" in messages[-1]["content"]:
            raise CallError("model fake: the kettle broke")
        return parrot(messages)

    use(FakeChat("fake", stumbles))
    rows = read_rows(answer(settings))
    assert rows[1]["turns"] == []
    assert rows[1]["error"] == "model fake: the kettle broke"
    assert [len(row["turns"]) for row in rows] == [1, 0, 1]
    assert "1 of 3 questions have no answer" in capsys.readouterr().out
    healed = use(FakeChat("fake", parrot))
    assert read_rows(answer(settings))[1]["turns"] == ["How long? (1)", "And for green tea? (3)"]
    assert [len(request) for request in healed.requests] == [3]


def test_a_refusing_endpoint_stops_the_run_and_leaves_no_answers(
    use: Use, settings: Settings
) -> None:
    def refuses(messages: list[Message]) -> str:
        if messages[-1]["content"] == "Which cake?":
            raise ModelError("model fake: bad key")
        return parrot(messages)

    use(FakeChat("fake", refuses))
    with pytest.raises(ModelError, match="bad key"):
        answer(settings)
    folder = results.folder(settings.out, suites.load(settings.suite).name, "fake")
    assert files_below(folder) == ["run/answers-fake/journal.jsonl", "run/answers-fake/runs.jsonl"]
    healed = use(FakeChat("fake", parrot))
    answer(settings)
    assert [request[-1]["content"] for request in healed.requests] == ["Which cake?"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_of_a_model_leaves_the_results_folder(
    use: Use, suite: Path, tmp_path: Path, name: str
) -> None:
    use(FakeChat(name, parrot))
    out = tmp_path / "deep" / "results"
    path = answer(Settings(model=name, suite=str(suite), out=out))
    assert path.resolve() == path
    asked = suites.load(str(suite)).name
    assert path.parent.parent == out / asked
    assert all(
        file.startswith((f"deep/results/{asked}/", "small.jsonl")) for file in files_below(tmp_path)
    )


def test_each_model_has_a_folder_of_its_own() -> None:
    names = [*HOSTILE_NAMES, "%..", "%2E%2E", "org%2Fmodel", "org_model", "a%20b:c?"]
    assert len({results.folder(Path("out"), "s", name) for name in names}) == len(names)


def test_no_journal_stands_where_another_model_has_its_answers() -> None:
    run = results.run(results.folder(Path("out"), "s", "m"), "answers", "m")
    assert run != results.folder(Path("out"), "s", "m.run")
    assert run == results.folder(Path("out"), "s", "m") / "run" / "answers-m"


def test_two_checkpoints_of_one_folder_name_are_two_models(tmp_path: Path) -> None:
    folders = []
    for run in ("a", "b"):
        path = tmp_path / run / "final"
        path.mkdir(parents=True)
        (path / "config.json").write_text(f'{{"seed": "{run}"}}')
        name = models.open_model(str(path)).name
        assert re.fullmatch("final@[0-9a-f]{8}", name)
        assert models.display_name(str(path)) == name
        folders.append(results.folder(tmp_path, "s", name))
    assert folders[0] != folders[1]


def test_the_record_of_a_checkpoints_training_is_carried_along(
    use: Use, suite: Path, tmp_path: Path
) -> None:
    use(FakeChat("tiny@01234567", parrot))
    record = tmp_path / "tiny" / results.TRAINING
    record.parent.mkdir()
    record.write_bytes(b'{"datasets": [{"name": "sharegpt 1.1.0", "digest": "d1"}]}')
    path = answer(Settings(model=str(record.parent), suite=str(suite), out=tmp_path / "out"))
    assert (path.parent / results.TRAINING).read_bytes() == record.read_bytes()
    path = answer(Settings(model="other", suite=str(suite), out=tmp_path / "other"))
    assert not (path.parent / results.TRAINING).exists()


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_concurrency_below_one_is_refused(concurrency: int) -> None:
    with pytest.raises(SettingError, match=f"concurrency: {concurrency}"):
        Settings(concurrency=concurrency)


def test_if_no_question_is_answered_the_run_fails_and_says_why(
    use: Use, settings: Settings
) -> None:
    def fails(messages: list[Message]) -> str:
        raise CallError("model fake: 400 bad request")

    use(FakeChat("fake", fails))
    with pytest.raises(ModelError, match="3 of 3 questions have no answer: model fake: 400"):
        answer(settings)


@pytest.fixture
def warm_suite(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> suites.Suite:
    """The small suite, with a temperature of its own for cake."""
    warm = replace(suites.load(settings.suite), name="warm", temperatures={"cake": 0.1})
    monkeypatch.setattr(suites, "load", lambda name, folder=None: warm)
    return warm


def test_a_category_has_its_own_temperature(
    use: Use, settings: Settings, warm_suite: suites.Suite
) -> None:
    fake = use(FakeChat("fake", parrot))
    rows = read_rows(answer(settings))
    assert [row["sampling"]["temperature"] for row in rows] == [0.7, 0.7, 0.1]
    assert [row["sampling"]["max_tokens"] for row in rows] == [1024] * 3
    chosen = replace(settings, temperatures="sampling", sampling=Sampling(0.3))
    rows = read_rows(answer(chosen))
    assert [row["sampling"]["temperature"] for row in rows] == [0.3] * 3
    assert len(fake.requests) == 8  # nothing was taken from answers drawn otherwise


def test_a_system_prompt_comes_before_every_question(use: Use, settings: Settings) -> None:
    fake = use(FakeChat("fake", parrot))
    plain = answer(settings).read_bytes()
    rows = read_rows(answer(replace(settings, system="Be brief.")))
    asked = [request for request in fake.requests if request[0]["role"] == "system"]
    assert len(asked) == 4
    assert {request[0]["content"] for request in asked} == {"Be brief."}
    assert {row["system"] for row in rows} == {"Be brief."}
    assert answer(settings).read_bytes() == plain


def test_answers_that_are_cut_are_marked_and_counted(
    use: Use, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    use(FakeChat("fake", parrot, finish_reason="length"))
    rows = read_rows(answer(settings))
    assert [row["finish_reasons"] for row in rows] == [["length"], ["length"] * 2, ["length"]]
    assert "3 of 3 answers are cut at sampling.max_tokens" in capsys.readouterr().out


def test_what_a_run_may_cost_is_said_before_the_first_call(
    use: Use, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    def looks(messages: list[Message]) -> str:
        said.append(capsys.readouterr().out)
        return ""

    use(FakeChat("gpt-4", looks))
    answer(settings)
    assert said[0].startswith("at most: gpt-4: 4 calls, about ")
    assert "4,096 written, about $" in said[0]


def test_each_answer_has_its_price(use: Use, settings: Settings, tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("fake: {prompt: 10, completion: 100, batch: 0.5}\n")
    use(FakeChat("fake", parrot))
    priced = replace(settings, prices=prices)
    assert [row["usd"] for row in read_rows(answer(priced))] == [3e-4, 6e-4, 3e-4]


def test_a_batch_has_the_first_turns_at_half_the_price(
    use: Use, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[tuple[list[Message], Sampling]] = []

    async def fill(
        self: Session, chat: ChatModel, requests: Iterable[tuple[list[Message], Sampling]]
    ) -> None:
        filled.extend(requests)

    monkeypatch.setattr(Session, "fill", fill)
    prices = tmp_path / "prices.yaml"
    prices.write_text("fake: {prompt: 10, completion: 100, batch: 0.5}\n")
    use(FakeChat("fake", parrot))
    chosen = replace(settings, prices=prices, batch=True, system="Be brief.")
    rows = read_rows(answer(chosen))
    assert [messages[-1]["content"] for messages, _ in filled] == [
        "How hot?",
        "How long?",
        "Which cake?",
    ]
    assert {messages[0]["content"] for messages, _ in filled} == {"Be brief."}
    assert [row["usd"] for row in rows] == [3e-4, 6e-4, 3e-4]  # nothing came of it
    answer(settings)
    assert len(filled) == 3


def test_rows_keep_the_price_that_was_paid(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultra.batch.PAUSES", (0.01, 0.01))
    prices = tmp_path / "prices.yaml"
    prices.write_text("m: {prompt: 10, completion: 100, batch: 0.5}\n")
    with BatchServer() as server:
        chosen = replace(settings, model="m", base_url=server.url, prices=prices)
        path = answer(replace(chosen, batch=True))
        first = path.read_bytes()
        (again,) = {answer(chosen).read_bytes(), answer(replace(chosen, prices=None)).read_bytes()}
    assert again == first
    usage, usd = read_rows(path)[0]["usage"], read_rows(path)[0]["usd"]
    whole = usage["prompt_tokens"] * 10 + usage["completion_tokens"] * 100
    assert usd == pytest.approx(whole / 2e6)


def test_turns_that_were_paid_count_though_a_later_one_failed(use: Use, settings: Settings) -> None:
    def stumbles(messages: list[Message]) -> str:
        if "green" in messages[-1]["content"]:
            raise CallError("the kettle broke")
        return parrot(messages)

    use(FakeChat("fake", stumbles))
    failed = read_rows(answer(settings))[1]
    assert failed["turns"] == []
    assert failed["usage"] == {"prompt_tokens": 10, "completion_tokens": 2}


@pytest.mark.parametrize(
    "text", ["\0", "\ud83d", "<script>x</script>", "a" * 1_000_000, "\u2028\r\n", ""]
)
def test_hostile_answers_stay_loadable(settings: Settings, text: str) -> None:
    with ChatServer(reply=lambda messages: text) as server:
        answers = results.read_answers(answer(replace(settings, model="m", base_url=server.url)))
    assert {turn for row in answers.values() for turn in row["turns"]} == {jsonl.scrub(text)}


def test_a_killed_run_asks_nothing_twice(tmp_path: Path) -> None:
    words = ["--model", "m", "--concurrency", "1", "--out", tmp_path]

    def start(url: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.answer", *map(str, words), "--base-url", url]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    with ChatServer(latency=0.02) as server:
        killed = start(server.url)
        while len(server.requests) < 5:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()
        killed.wait()
        assert not list(tmp_path.rglob("answers.jsonl"))
        assert start(server.url).wait() == 0
        asked = [request.body["messages"][-1]["content"] for request in server.requests]
    (path,) = tmp_path.rglob("answers.jsonl")
    assert len(read_rows(path)) == len(set(asked)) == 27
    assert len(asked) <= 28  # the one that was under way is asked again


def test_an_endpoint_answers_both_turns_and_its_faults_stay_in_their_rows(
    settings: Settings, tmp_path: Path
) -> None:
    def fault(request: Request) -> Fault:
        asked = request.body["messages"][-1]["content"]
        return FILTERED_PROMPT if asked == "Which cake?" else Fault()

    with ChatServer() as server:
        server.fault_of = fault
        chosen = replace(settings, model="m", base_url=server.url)
        rows = read_rows(answer(chosen))
        assert [len(row["turns"]) for row in rows] == [1, 2, 0]
        assert "error" in rows[2]
        calls = len(server.requests)
        server.fault_of = lambda request: Fault()
        assert [len(row["turns"]) for row in read_rows(answer(chosen))] == [1, 2, 1]
        assert len(server.requests) == calls + 1


def test_a_batch_leaves_only_later_turns_to_be_asked(settings: Settings) -> None:
    with BatchServer() as server:
        rows = read_rows(answer(replace(settings, model="m", base_url=server.url, batch=True)))
        (batch,) = server.batches.values()
        asked = [request.body["messages"] for request in server.requests]
    assert [len(row["turns"]) for row in rows] == [1, 2, 1]
    assert batch["status"] == "completed"
    assert [messages[-1]["content"] for messages in asked] == ["And for green tea?"]
    assert len(asked[0]) == 3


def test_a_budget_ends_the_run_and_a_higher_one_goes_on(use: Use, settings: Settings) -> None:
    fake = use(FakeChat("fake", parrot))
    with pytest.raises(BudgetError, match="budget"):
        answer(replace(settings, concurrency=1, budget_calls=3))
    assert len(fake.requests) == 3
    assert files_below(settings.out / suites.load(settings.suite).name / "fake") == [
        "run/answers-fake/journal.jsonl",
        "run/answers-fake/runs.jsonl",
    ]
    rows = read_rows(answer(replace(settings, concurrency=1, budget_calls=4)))
    assert [len(row["turns"]) for row in rows] == [1, 2, 1]
    assert len(fake.requests) == 4
