"""Answers: every question asked once, in its turns, and nothing asked twice."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import results, suites
from benchmarks.answer import Settings, answer
from tests.benchmarks.fakes import FakeChat, files_below, read_rows
from ultra import jsonl, models
from ultra.errors import CallError, InputError, ModelError, SettingError
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
    chosen = Settings("fake", "", "starter", tmp_path, settings.sampling, concurrency)
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
    journal = results.journal(results.folder(Path("out"), "s", "m"), "answers", "m")
    assert journal.parent != results.folder(Path("out"), "s", "m.run")
    assert journal == results.folder(Path("out"), "s", "m") / "run" / "answers-m" / "journal.jsonl"


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


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_concurrency_below_one_is_refused(concurrency: int) -> None:
    with pytest.raises(SettingError, match=f"concurrency: {concurrency}"):
        Settings(concurrency=concurrency)


@pytest.mark.parametrize(
    "row", ['{"turns": ["a"]}', '{"id": 1, "turns": []}', '{"id": "q"}', '{"id": "q", "turns": ""}']
)
def test_a_row_that_is_no_answer_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / "answers.jsonl").write_text('{"id": "p", "turns": ["fine"]}\n' + row)
    with pytest.raises(InputError, match="row 2 is no answer"):
        results.read_answers(tmp_path / "answers.jsonl")


def test_turns_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"id": "q", "turns": [null]}')
    with pytest.raises(InputError, match="row 1 is no answer: 'turns' must be"):
        results.read_answers(tmp_path / "answers.jsonl")


def test_if_no_question_is_answered_the_run_fails_and_says_why(
    use: Use, settings: Settings
) -> None:
    def fails(messages: list[Message]) -> str:
        raise CallError("model fake: 400 bad request")

    use(FakeChat("fake", fails))
    with pytest.raises(ModelError, match="3 of 3 questions have no answer: model fake: 400"):
        answer(settings)
