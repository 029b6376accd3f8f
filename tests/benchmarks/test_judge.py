"""Judging: two answers in their slots, in both orders, and nothing an answer says moves them."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import judge as judging
from benchmarks import judgments, protocol, report, results, suites, templates
from benchmarks.judge import Settings
from tests.benchmarks import hostile
from tests.benchmarks.fakes import FakeChat, Reply, files_below, judgment, read_rows, write_rows
from tests.servers.batch_api import BatchServer
from ultra import jsonl
from ultra.chat import Completion, Sampling, Usage
from ultra.errors import BudgetError, CallError, InputError, ModelError, SettingError
from ultra.schema import Message

Use = Callable[[FakeChat], FakeChat]
QUESTIONS = {"q1": "How hot?", "q2": "How long?\n\nAnd for green tea?", "q3": "Which cake?"}


HOSTILE = {name: jsonl.scrub(answer) for name, answer in hostile.ANSWERS.items()}


def answers(model: str, say: Callable[[str], list[str]]) -> list[dict[str, Any]]:
    return [{"id": id, "model": model, "revision": "r1", "turns": say(id)} for id in QUESTIONS]


def folder(settings: Settings) -> Path:
    """Where the answers and judgments of ``mine`` stand."""
    return results.folder(settings.out, suites.load(settings.suite).name, "mine")


@pytest.fixture
def settings(suite: Path, tmp_path: Path) -> Settings:
    """Model and baseline have answered ``<name> on <question>``; the judge is ``fake``."""
    out = tmp_path / "results"
    baseline = write_rows(tmp_path / "base.jsonl", answers("base", lambda id: [f"base on {id}"]))
    chosen = Settings(
        model="mine", suite=str(suite), judge=["fake"], baseline=str(baseline), out=out
    )
    own = folder(chosen) / results.ANSWERS
    write_rows(own, answers("mine", lambda id: [f"mine on {id}"]))
    return chosen


def judge(settings: Settings) -> Path:
    """Judge with one judge; the file that it wrote."""
    (path,) = judging.judge(settings)
    return path


def says(text: str) -> Reply:
    return lambda messages: text


def prefers(mine: str) -> Callable[[list[Message]], str]:
    """A judge that knows an answer when it sees it, wherever it stands."""

    def reply(messages: list[Message]) -> str:
        first = messages[-1]["content"].partition("[end of answer A")[0]
        return "reasons\n[[A]]" if mine in first else "reasons\n[[B]]"

    return reply


def test_each_pair_is_judged_in_both_orders(use: Use, settings: Settings) -> None:
    fake = use(FakeChat("fake", says("[[C]]")))
    rows = read_rows(judge(settings))
    assert [(row["id"], row["order"]) for row in rows] == [
        (id, order) for id in QUESTIONS for order in ("model_first", "baseline_first")
    ]
    system = (templates.PROMPTS / "pair_system.md").read_text().strip()
    assert {request[0]["content"] for request in fake.requests} == {system}
    assert all([turn["role"] for turn in one] == ["system", "user"] for one in fake.requests)
    asked = sorted(request[1]["content"] for request in fake.requests)
    assert asked == sorted(
        filled(code_of(text), question, *pair)
        for id, question in QUESTIONS.items()
        for pair in [(f"mine on {id}", f"base on {id}"), (f"base on {id}", f"mine on {id}")]
        for text in asked
        if filled(code_of(text), question, *pair) == text
    )
    assert len(set(asked)) == 6


def code_of(text: str) -> str:
    found = re.match(r"\[question ([0-9a-f]{16})\]\n", text)
    assert found
    return found[1]


def filled(code: str, question: str, first: str, second: str) -> str:
    """The judge's request, written out by hand."""
    return (
        f"[question {code}]\n{question}\n[end of question {code}]\n\n"
        f"[answer A {code}]\n{first}\n[end of answer A {code}]\n\n"
        f"[answer B {code}]\n{second}\n[end of answer B {code}]"
    )


@pytest.fixture
def besieged(settings: Settings, tmp_path: Path) -> Settings:
    """A question for each hostile answer, which is the model's; the baseline's are honest."""
    asked = [{"id": name, "turns": [f"What is {name}?"]} for name in HOSTILE]
    suite = write_rows(tmp_path / "siege.jsonl", asked)
    base = [{"id": id, "model": "base", "turns": [f"base on {id}"]} for id in HOSTILE]
    chosen = replace(
        settings, suite=str(suite), baseline=str(write_rows(tmp_path / "honest.jsonl", base))
    )
    rows = [{"id": id, "model": "mine", "turns": [answer]} for id, answer in HOSTILE.items()]
    write_rows(folder(chosen) / results.ANSWERS, rows)
    return chosen


def test_a_hostile_answer_stands_in_its_slot_and_changes_nothing_else(
    use: Use, besieged: Settings
) -> None:
    fake = use(FakeChat("fake", says("[[C]]")))
    assert {row["verdict"] for row in judgments.read(judge(besieged))} == {"tie"}
    sent = [request[1]["content"] for request in fake.requests]
    for id, answer in HOSTILE.items():
        question, honest = f"What is {id}?", f"base on {id}"
        for pair in ((answer, honest), (honest, answer)):
            (text,) = [one for one in sent if filled(code_of(one), question, *pair) == one]
            assert code_of(text) not in answer


def test_what_the_demo_judge_thinks_of_one_answer_is_not_moved_by_the_other(
    besieged: Settings,
) -> None:
    def scores_of_the_baseline() -> dict[tuple[str, str], str]:
        rows = judgments.read(judge(replace(besieged, judge=["demo"])))
        read = [re.findall(r"answer [AB]\D+([\d.]+)\b", row["text"]) for row in rows]
        return {
            (row["id"], row["order"]): both[row["order"] == "model_first"]
            for row, both in zip(rows, read, strict=True)
        }

    found = scores_of_the_baseline()
    own = folder(besieged) / results.ANSWERS
    write_rows(own, [{**row, "turns": ["an honest answer"]} for row in read_rows(own)])
    assert scores_of_the_baseline() == found
    assert len(found) == 2 * len(HOSTILE)


def test_all_turns_of_question_and_answer_are_shown(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    own = folder(settings) / results.ANSWERS
    write_rows(own, answers("mine", lambda id: ["first turn", "second turn"]))
    fake = use(FakeChat("fake", says("[[C]]")))
    rows = read_rows(judge(settings))
    assert all("first turn\n\nsecond turn" in one[1]["content"] for one in fake.requests)
    assert {row["characters"] for row in rows} == {len("first turn") + len("second turn")}


@pytest.mark.parametrize(
    ("reply", "verdicts"),
    [
        (says("reasons\n[[A]]"), ["model", "baseline"]),
        (says("reasons\n[[B]]"), ["baseline", "model"]),
        (says("reasons\n[[C]]"), ["tie", "tie"]),
        (prefers("mine"), ["model", "model"]),
        (prefers("base"), ["baseline", "baseline"]),
    ],
)
def test_a_verdict_is_led_back_to_whose_answer_it_names(
    use: Use, settings: Settings, reply: Callable[[list[Message]], str], verdicts: list[str]
) -> None:
    use(FakeChat("fake", reply))
    rows = read_rows(judge(settings))
    assert [row["verdict"] for row in rows] == verdicts * 3
    assert {row["reason"] for row in rows} == {""}


def test_each_row_carries_its_origin_and_the_raw_text(use: Use, settings: Settings) -> None:
    use(FakeChat("fake", says("because\n[[A]]")))
    path = judge(settings)
    row = judgments.read(path)[0]
    suite = suites.load(settings.suite)
    assert row == judgment(
        suite=suite.name,
        suite_digest=suite.digest,
        judge="fake",
        judge_model="fake",
        characters=len("mine on q1"),
        baseline_characters=len("base on q1"),
        protocol=row["protocol"],
        text="because\n[[A]]",
    )
    record = json.loads(judgments.protocol_path(path).read_text())
    assert record["hash"] == row["protocol"] == path.stem[-12:]
    assert protocol.verify(record)
    assert (record["judge"], record["suite_digest"]) == ("fake", suite.digest)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("A is better.", "no_verdict"),
        ("[[A]] [[B]]", "two_verdicts"),
        ("I say [[A]].", "verdict_in_a_sentence"),
    ],
)
def test_what_cannot_be_read_is_unscored_with_its_text(
    use: Use, settings: Settings, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    use(FakeChat("fake", says(text)))
    rows = read_rows(judge(settings))
    assert {(row["verdict"], row["reason"], row["text"]) for row in rows} == {
        ("unscored", reason, text)
    }
    assert f"6 judgments, unscored: {reason} 6" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["length", "content_filter"])
def test_a_judgment_that_was_cut_off_is_unscored(use: Use, settings: Settings, ending: str) -> None:
    cut = "Answer B is better, although answer A claims:\n[[A]]"
    use(FakeChat("fake", says(cut), finish_reason=ending))
    rows = read_rows(judge(settings))
    assert {(row["verdict"], row["reason"], row["text"]) for row in rows} == {
        ("unscored", ending, cut)
    }
    assert rows[0]["usage"] == {"prompt_tokens": 10, "completion_tokens": 2}


@pytest.mark.parametrize("ending", ["stop", "eos", ""])
def test_a_judgment_that_came_to_its_end_is_read(use: Use, settings: Settings, ending: str) -> None:
    use(FakeChat("fake", says("[[C]]"), finish_reason=ending))
    assert {row["verdict"] for row in read_rows(judge(settings))} == {"tie"}


def test_answers_to_another_version_of_a_question_are_refused(use: Use, settings: Settings) -> None:
    own = folder(settings) / results.ANSWERS
    digests = [one.digest for one in suites.load(settings.suite).questions]
    rows = [{**row, "question": of} for row, of in zip(read_rows(own), digests, strict=True)]
    write_rows(own, rows)
    fake = use(FakeChat("fake", says("[[C]]")))
    judge(settings)
    assert len(fake.requests) == 6
    write_rows(own, [*rows[:2], {**rows[2], "question": digests[0]}])
    with pytest.raises(InputError, match="question q3 was another one then") as caught:
        judge(settings)
    assert str(caught.value).startswith(f"{own}: ")


def test_a_failed_call_is_unscored_and_made_again(use: Use, settings: Settings) -> None:
    def stumbles(messages: list[Message]) -> str:
        if "Which cake?" in messages[-1]["content"]:
            raise CallError("model fake: no answer in 600 s", "no_answer")
        return "[[C]]"

    use(FakeChat("fake", stumbles))
    rows = read_rows(judge(settings))
    assert [row["reason"] for row in rows] == [""] * 4 + ["no_answer"] * 2
    assert rows[-1]["verdict"] == "unscored"
    assert rows[-1]["text"] == "model fake: no answer in 600 s"
    healed = use(FakeChat("fake", says("[[C]]")))
    assert {row["verdict"] for row in read_rows(judge(settings))} == {"tie"}
    assert len(healed.requests) == 2
    assert all("Which cake?" in request[1]["content"] for request in healed.requests)


@pytest.mark.parametrize("whose", ["mine", "base"])
@pytest.mark.parametrize("how", ["no row", "failed row"])
def test_a_missing_answer_is_unscored_and_not_asked_about(
    use: Use, settings: Settings, whose: str, how: str
) -> None:
    own = folder(settings) / results.ANSWERS
    path = own if whose == "mine" else Path(settings.baseline)
    kept = [row for row in read_rows(path) if row["id"] != "q2"]
    failed = [{"id": "q2", "model": whose, "revision": "r1", "turns": [], "error": "timeout"}]
    write_rows(path, kept + (failed if how == "failed row" else []))
    fake = use(FakeChat("fake", says("[[C]]")))
    rows = read_rows(judge(settings))
    unscored = [row for row in rows if row["verdict"] == "unscored"]
    assert [(row["id"], row["reason"]) for row in unscored] == [("q2", "no_answer")] * 2
    assert {row["baseline"] for row in rows} == {"base"}
    assert len(fake.requests) == 4


def test_a_refusing_judge_stops_the_run_and_leaves_the_old_judgments(
    use: Use, settings: Settings
) -> None:
    chosen = replace(settings, concurrency=1)
    use(FakeChat("fake", says("[[C]]")))
    path = judge(chosen)
    own = folder(chosen) / results.ANSWERS
    write_rows(own, answers("mine", lambda id: [f"new on {id}"]))
    old = path.read_bytes()
    left = 3

    def refuses(messages: list[Message]) -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise ModelError("model fake: bad key")
        return "[[C]]"

    use(FakeChat("fake", refuses))
    with pytest.raises(ModelError, match="bad key"):
        judge(chosen)
    assert path.read_bytes() == old
    record = judgments.protocol(path)
    assert files_below(path.parent) == [
        "answers.jsonl",
        results.compared(Path(), record["baseline_digest"]).name,
        path.name,
        judgments.protocol_path(path).name,
        "questions.jsonl",
        "run/judgments-fake/journal.jsonl",
        "run/judgments-fake/runs.jsonl",
    ]
    healed = use(FakeChat("fake", says("[[C]]")))
    judge(chosen)
    assert len(healed.requests) == 6 - 3


@pytest.mark.parametrize("concurrency", [1, 16])
def test_judging_again_asks_nothing_and_changes_no_byte(
    use: Use, settings: Settings, concurrency: int
) -> None:
    use(FakeChat("fake", prefers("mine")))
    first = judge(settings).read_bytes()
    silent = use(FakeChat("fake", prefers("base")))
    assert judge(replace(settings, concurrency=concurrency)).read_bytes() == first
    assert silent.requests == []


def test_a_changed_answer_is_judged_anew(use: Use, settings: Settings) -> None:
    use(FakeChat("fake", says("[[C]]")))
    judge(settings)
    own = folder(settings) / results.ANSWERS
    write_rows(own, [*read_rows(own)[:2], {"id": "q3", "model": "mine", "turns": ["new"]}])
    again = use(FakeChat("fake", says("[[C]]")))
    judge(settings)
    assert len(again.requests) == 2
    assert all("new" in request[1]["content"] for request in again.requests)


@pytest.mark.parametrize("name", ["../../evil", "..", "/etc/evil", "org/judge"])
def test_no_name_of_a_judge_leaves_the_results_folder(
    use: Use, settings: Settings, tmp_path: Path, name: str
) -> None:
    before = files_below(tmp_path)
    use(FakeChat(name, says("[[C]]")))
    path = judge(replace(settings, judge=[name]))
    assert path.parent == folder(settings)
    assert path.resolve() == path
    made = set(files_below(tmp_path)) - set(before)
    place = folder(settings).relative_to(tmp_path).as_posix()
    assert len(made) == 6
    assert all(file.startswith(f"{place}/") for file in made)


def test_questions_and_answers_compared_with_are_kept_for_pages(
    use: Use, settings: Settings
) -> None:
    use(FakeChat("fake", says("[[C]]")))
    path = judge(settings)
    Path(settings.suite).unlink()
    Path(settings.baseline).unlink()
    page = report.render(report.read(path, report.Settings([path])))
    assert "And for green tea?" in page
    assert "base on q2" in page


def test_several_judges_share_one_budget(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges = {name: FakeChat(name, says("[[C]]")) for name in ("one", "two")}
    monkeypatch.setattr("ultra.models.open_model", lambda name, base_url="": judges[name])
    with pytest.raises(BudgetError):
        judging.judge(replace(settings, judge=["one", "two"], budget_calls=8, concurrency=1))
    assert [len(fake.requests) for fake in judges.values()] == [6, 2]
    judging.judge(replace(settings, judge=["one", "two"], budget_calls=12))
    assert [len(fake.requests) for fake in judges.values()] == [6, 6]


def test_without_answers_it_says_what_to_do_first(use: Use, settings: Settings) -> None:
    use(FakeChat("fake", says("[[C]]")))
    with pytest.raises(InputError, match="no answers there"):
        judge(replace(settings, model="absent"))


def test_own_questions_need_a_baseline(use: Use, settings: Settings) -> None:
    use(FakeChat("fake", says("[[C]]")))
    with pytest.raises(
        SettingError, match=r"small@[0-9a-f]{8}: has no baseline of its own; set --baseline"
    ):
        judge(replace(settings, baseline=""))


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_concurrency_below_one_is_refused(concurrency: int) -> None:
    with pytest.raises(SettingError, match=f"concurrency: {concurrency}"):
        Settings(concurrency=concurrency)


def test_a_baseline_of_something_else_is_refused(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    use(FakeChat("fake", says("[[C]]")))
    other = write_rows(tmp_path / "other.jsonl", [{"id": "zz", "turns": ["a"]}])
    with pytest.raises(InputError, match=r"other\.jsonl: answers no question of this suite"):
        judge(replace(settings, baseline=str(other)))


def test_another_baseline_overwrites_no_judgments(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    use(FakeChat("fake", says("[[C]]")))
    first = judge(settings)
    rows = [{"id": name, "turns": ["other"]} for name in ("q1", "q2", "q3")]
    second = judge(replace(settings, baseline=str(write_rows(tmp_path / "other.jsonl", rows))))
    assert first != second
    assert len(read_rows(first)) == len(read_rows(second)) == 6


# Other kinds of protocols.


def own(folder: Path, **changes: Any) -> str:
    """A protocol of one's own, like ``pairwise`` but for some changes."""
    written = yaml.safe_load((protocol.HERE / "pairwise.yaml").read_text())
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({**written, **changes}))
    return str(path)


def weighted(settings: Settings, tmp_path: Path, **changes: Any) -> Settings:
    chosen = {
        "kind": "pair_weighted",
        "parser": "token_choice",
        "sampling": {"max_tokens": 1, "top_logprobs": 5},
    }
    return replace(settings, protocol=own(tmp_path, **{**chosen, **changes}), concurrency=1)


def token(logprobs: dict[str, float]) -> Callable[[list[Message]], Completion]:
    """A judge of one token, which always ends because it was allowed no more."""
    tokens = [logprobs] if logprobs else []
    return lambda messages: Completion("m", "length", "fake", Usage(10, 1), tokens)


def test_probabilities_of_the_choice_are_the_preference(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    logprobs = {"M": math.log(0.6), "m": math.log(0.2), "the": -3.0, "x": float("-inf")}
    fake = use(FakeChat("fake", token(logprobs)))
    rows = judgments.read(judge(weighted(settings, tmp_path)))
    found = {row["order"]: (row["verdict"], row["preference"]) for row in rows}
    assert found["baseline_first"] == ("model", pytest.approx(1.75))
    assert found["model_first"] == ("baseline", pytest.approx(1.25))
    assert rows[0]["logprobs"] == [["M", math.log(0.6)], ["m", math.log(0.2)], ["the", -3.0]]
    assert {one.top_logprobs for one in fake.samplings} == {5}


def test_a_choice_between_neither_is_unscored(use: Use, settings: Settings, tmp_path: Path) -> None:
    use(FakeChat("fake", token({"the": -0.1})))
    rows = judgments.read(judge(weighted(settings, tmp_path)))
    assert {(row["verdict"], row["reason"], row["preference"]) for row in rows} == {
        ("unscored", "no_verdict", None)
    }


@pytest.mark.parametrize("how", ["none in the answer", "refused"])
def test_a_judge_without_probabilities_is_asked_once(
    use: Use, settings: Settings, tmp_path: Path, how: str
) -> None:
    def refuses(messages: list[Message]) -> str:
        raise CallError("model fake: knows no logprobs", "no_logprobs")

    fake = use(FakeChat("fake", refuses if how == "refused" else token({})))
    with pytest.raises(SettingError, match="judge fake: gives no log probabilities"):
        judge(weighted(settings, tmp_path))
    assert len(fake.requests) == 1


def test_a_call_that_fails_says_nothing_about_the_judge_and_a_later_one_may(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    good = token({"M": -0.1})

    def filters(messages: list[Message]) -> Completion:
        if "How hot?" in messages[-1]["content"]:
            raise CallError("model fake: filtered", "content_filter")
        return good(messages)

    use(FakeChat("fake", filters))
    rows = judgments.read(judge(weighted(settings, tmp_path)))
    assert [row["reason"] for row in rows] == ["content_filter"] * 2 + [""] * 4


def test_equal_answers_are_a_tie_that_costs_nothing(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    write_rows(folder(settings) / results.ANSWERS, answers("mine", lambda id: [f"base on {id}"]))
    fake = use(FakeChat("fake", token({})))
    rows = judgments.read(judge(weighted(settings, tmp_path, identical="tie")))
    assert fake.requests == []
    assert {(row["verdict"], row["preference"], row["tries"], row["usd"]) for row in rows} == {
        ("tie", 1.5, 0, 0)
    }


def test_scores_follow_whose_answer_was_shown_where(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    use(FakeChat("fake", says("9 0\nreasons")))
    chosen = replace(settings, protocol=own(tmp_path, kind="pair_scores", parser="last_scores"))
    rows = judgments.read(judge(chosen))
    assert [(row["order"], row["verdict"], row["scores"]) for row in rows] == [
        ("model_first", "model", [9, 0]),
        ("baseline_first", "baseline", [0, 9]),
    ] * 3


def test_a_published_parser_gives_no_score_out_of_range(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    use(FakeChat("fake", says("85 90")))
    changes = {"kind": "pair_scores", "parser": "first_line_scores"}
    rows = judgments.read(judge(replace(settings, protocol=own(tmp_path, **changes))))
    assert {row["reason"] for row in rows} == {"out_of_range"}


GRADE = {
    "kind": "grade",
    "orders": "",
    "parser": "last_rating",
    "prompts": [{"system": "pair_system.md", "user": "grade.md", "turn": 1}],
}


def test_a_grade_needs_no_baseline_and_shows_one_answer(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "grade.md").write_text("{question}|{answer}")
    fake = use(FakeChat("fake", says("Rating: [[0]]")))
    rows = judgments.read(judge(replace(settings, baseline="", protocol=own(tmp_path, **GRADE))))
    assert [(row["id"], row["turn"], row["verdict"], row["scores"]) for row in rows] == [
        (id, 1, "graded", [0.0]) for id in QUESTIONS
    ]
    assert {request[1]["content"] for request in fake.requests} == {
        "How hot?|mine on q1",
        "How long?|mine on q2",
        "Which cake?|mine on q3",
    }


def test_what_lacks_a_reference_is_named_and_unscored_and_if_all_do_nothing_is_paid(
    use: Use, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "grade.md").write_text("{question}|{answer}|{ref_answer_1}")
    chosen = replace(settings, protocol=own(tmp_path, **GRADE))
    fake = use(FakeChat("fake", says("[[7]]")))
    with pytest.raises(InputError, match=r"3 of 3 questions .* have none \(q1, q2, q3\)"):
        judge(chosen)
    assert fake.requests == []
    asked = [{**row, "reference": ["hot"]} for row in read_rows(Path(settings.suite))]
    del asked[2]["reference"]
    write_rows(Path(settings.suite), asked)  # which makes another suite of it
    write_rows(folder(chosen) / results.ANSWERS, answers("mine", lambda id: ["so"]))
    rows = judgments.read(judge(chosen))
    assert [row["reason"] for row in rows] == ["", "", "no_reference"]
    assert "1 of 3 questions" in capsys.readouterr().err
    assert all(request[1]["content"].endswith("|hot") for request in fake.requests)


# Samples, tries, judges and baselines.


def test_samples_are_draws_of_their_own(use: Use, settings: Settings) -> None:
    fake = use(FakeChat("fake", says("[[C]]")))
    rows = judgments.read(judge(replace(settings, samples=3, orders="model_first")))
    assert [(row["id"], row["sample"]) for row in rows] == [
        (id, sample) for id in QUESTIONS for sample in range(3)
    ]
    assert sorted(one.sample for one in fake.samplings) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_an_unscored_judgment_is_tried_again_only_when_asked(use: Use, settings: Settings) -> None:
    def mumbles(messages: list[Message]) -> str:
        words = "hm" if len(fake.requests) <= 6 else "hm hm"
        return words if "Which cake?" in messages[-1]["content"] else "[[C]]"

    fake = use(FakeChat("fake", mumbles))
    path = judge(settings)
    first = path.read_bytes()
    assert judge(settings).read_bytes() == first
    assert len(fake.requests) == 6

    judge(replace(settings, retry_unscored=True))
    assert [one.sample for one in fake.samplings[6:]] == [1, 1]
    rows = judgments.read(path)
    assert rows[-1]["text"] == "hm"
    assert [(row["verdict"], row["tries"]) for row in rows] == [("tie", 1)] * 4 + [
        ("unscored", 2)
    ] * 2
    assert rows[-1]["usage"] == {"prompt_tokens": 20, "completion_tokens": 4}

    fake = use(FakeChat("fake", says("[[A]]")))
    judge(replace(settings, retry_unscored=True))
    assert [one.sample for one in fake.samplings] == [2, 2]
    rows = judgments.read(path)
    assert [(row["verdict"], row["tries"]) for row in rows[4:]] == [("model", 3), ("baseline", 3)]
    last = path.read_bytes()

    silent = use(FakeChat("fake", says("[[B]]")))
    for retry in (False, True):
        assert judge(replace(settings, retry_unscored=retry)).read_bytes() == last
    assert silent.requests == []


def test_a_failed_retry_keeps_what_was_said_before(use: Use, settings: Settings) -> None:
    use(FakeChat("fake", says("hm")))
    before = judge(settings).read_bytes()

    def fails(messages: list[Message]) -> str:
        raise CallError("model fake: no answer", "no_answer")

    use(FakeChat("fake", fails))
    assert judge(replace(settings, retry_unscored=True)).read_bytes() == before


def test_several_judges_write_a_file_each(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    judges = {name: FakeChat(name, says(f"[[{name}]]")) for name in "ABC"}
    monkeypatch.setattr("ultra.models.open_model", lambda name, base_url="": judges[name])
    paths = judging.judge(replace(settings, judge=["A", "B", "C"]))
    rows = [judgments.read(path) for path in paths]
    assert [one[0]["judge"] for one in rows] == ["A", "B", "C"]
    assert [one[0]["verdict"] for one in rows] == ["model", "baseline", "tie"]
    assert len({one[0]["protocol"] for one in rows}) == 3


def test_the_protocols_judge_is_asked_where_no_other_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def opens(name: str, base_url: str = "") -> FakeChat:
        asked.append(name)
        return FakeChat(name, says("[[C]]"))

    monkeypatch.setattr("ultra.models.open_model", opens)
    judge(replace(settings, judge=[], protocol=own(tmp_path, judge="gpt-4")))
    assert asked == ["gpt-4"]


def test_another_models_answers_are_a_baseline(use: Use, settings: Settings) -> None:
    rows = answers("other", lambda id: [f"other on {id}"])
    write_rows(folder(settings).parent / "other" / results.ANSWERS, rows)
    fake = use(FakeChat("fake", says("[[C]]")))
    assert {
        row["baseline"] for row in judgments.read(judge(replace(settings, baseline="other")))
    } == {"other"}
    assert all("other on q" in request[1]["content"] for request in fake.requests)
    with pytest.raises(SettingError, match="baseline: absent is no file, and no model"):
        judge(replace(settings, baseline="absent"))
    with pytest.raises(SettingError, match="baseline: mine is the model that is judged"):
        judge(replace(settings, baseline="mine"))


def test_the_price_stands_in_each_row_and_an_estimate_before_the_run(
    use: Use, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use(FakeChat("fake", says("[[C]]")))
    prices = tmp_path / "prices.yaml"
    prices.write_text("fake: {prompt: 1000, completion: 2000}\n")
    path = judge(replace(settings, prices=prices))
    assert [row["usd"] for row in read_rows(path)] == pytest.approx([10 * 0.001 + 2 * 0.002] * 6)
    assert "fake: 6 calls, about " in capsys.readouterr().out
    first = path.read_bytes()
    assert (
        judge(settings).read_bytes() == first
    )  # what was paid for at one price is not priced again


def test_what_a_judge_without_a_price_cost_is_not_known(use: Use, settings: Settings) -> None:
    use(FakeChat("fake", says("[[C]]")))
    assert {row["usd"] for row in judgments.read(judge(settings))} == {None}


def test_a_reply_without_probabilities_was_paid_for(
    use: Use, settings: Settings, tmp_path: Path
) -> None:
    with_them, without = token({"M": -0.1}), token({})
    asked: list[list[Message]] = []

    def forgets(messages: list[Message]) -> Completion:
        asked.append(messages)
        return (with_them if len(asked) == 1 else without)(messages)

    use(FakeChat("fake", forgets))
    first, *rest = judgments.read(judge(weighted(settings, tmp_path)))
    assert first["verdict"] != "unscored"
    assert {(row["reason"], row["tries"], row["text"]) for row in rest} == {("no_logprobs", 1, "m")}
    assert all(row["usage"] == first["usage"] for row in rest)


def test_a_batch_holds_every_call_that_the_run_makes(
    use: Use, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[tuple[list[Message], Sampling]] = []

    async def fill(session: object, chat: object, requests: Any) -> None:
        held.extend(requests)

    monkeypatch.setattr("ultra.engine.Session.fill", fill)
    fake = use(FakeChat("fake", says("[[C]]")))
    judge(replace(settings, batch=True))
    assert [messages for messages, _ in held] == fake.requests
    assert [sampling for _, sampling in held] == fake.samplings


def test_a_budget_stops_the_run_before_it_is_passed_and_a_higher_one_goes_on(
    use: Use, settings: Settings
) -> None:
    fake = use(FakeChat("fake", says("[[C]]")))
    with pytest.raises(BudgetError, match="2 of 2 calls spent"):
        judge(replace(settings, budget_calls=2))
    assert len(fake.requests) == 2
    assert not list(folder(settings).glob("judged-by-*"))
    fake = use(FakeChat("fake", says("[[C]]")))
    assert len(judgments.read(judge(replace(settings, budget_calls=6)))) == 6
    assert len(fake.requests) == 4


def test_money_is_only_limited_where_the_price_is_known(use: Use, settings: Settings) -> None:
    fake = use(FakeChat("fake", says("[[C]]")))
    with pytest.raises(SettingError, match="no price for fake"):
        judge(replace(settings, budget_usd=1.0))
    assert fake.requests == []


def test_judgments_come_through_a_batch_at_its_price(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ultra.batch.PAUSES", (0.01, 0.01))
    with BatchServer() as server:
        server.reply = lambda messages: "reasons\n[[C]]"
        chosen = replace(settings, judge=["gpt-4"], base_url=server.url, batch=True)
        rows = judgments.read(judge(chosen))
        assert (len(server.batches), server.requests) == (1, [])
    assert {row["verdict"] for row in rows} == {"tie"}
    read, written = rows[0]["usage"].values()
    assert rows[0]["usd"] == pytest.approx((read * 30 + written * 60) / 2e6)
