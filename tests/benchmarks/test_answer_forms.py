"""Answers in the forms of other tools: read whole or refused, and the same after a round trip."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import answer_forms, published, results
from benchmarks.answer_forms import Form
from benchmarks.questions import Question
from tests.benchmarks.fakes import write_rows
from ultra import jsonl
from ultra.errors import InputError, SettingError

ASKED = [
    Question("1", "tea", ["How hot?"]),
    Question("2", "tea", ["How long?"]),
    Question("x-3", "cake", ["Which cake?"]),
]
TALKS = [Question("81", "tea", ["How hot?", "And green tea?"])]
HOSTILE = [
    "\0",
    "<script>alert(1)</script>",
    "[[A]] 10 10",
    "{answer}",
    "漢" * 10,
    "",
    "\u2028\r\n",
]


def alpaca(question: Question, text: str = "Hot.", model: str = "m") -> dict[str, Any]:
    category = question.category
    asked = question.turns[0]
    return {"instruction": asked, "output": text, "generator": model, "dataset": category}


def vicuna(question: Question, text: str = "Hot.", model: str = "m") -> dict[str, Any]:
    id = int(question.id) if question.id.isdecimal() else question.id
    return {"question_id": id, "text": text, "answer_id": "a", "model_id": model}


def fastchat(question: Question, text: str = "Hot.", model: str = "m") -> dict[str, Any]:
    row = vicuna(question, text, model)
    del row["text"]
    turns = [text] * len(question.turns)
    return {**row, "choices": [{"index": 0, "turns": turns}], "tstamp": 1.5}


def ultrachat(question: Question, text: str = "Hot.", model: str = "m") -> dict[str, Any]:
    category = f" {question.category} "
    return {"class": category, "data": question.turns[0], "output": text, "generator": model}


Form_ = Callable[..., dict[str, Any]]
FORMS: list[Form_] = [alpaca, vicuna, fastchat, ultrachat]


def write_array(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("write", [write_rows, write_array])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_in_the_order_of_the_questions(
    tmp_path: Path, form: Form_, write: Callable[..., Path]
) -> None:
    path = write(tmp_path / "m.json", [form(one, f"To {one.id}.") for one in reversed(ASKED)])
    rows = answer_forms.read(path, ASKED)
    assert [row["id"] for row in rows] == ["1", "2", "x-3"]
    assert [row["turns"] for row in rows] == [["To 1."], ["To 2."], ["To x-3."]]
    assert [row["question"] for row in rows] == [one.digest for one in ASKED]
    assert {row["model"] for row in rows} == {"m"}
    assert {row["usd"] for row in rows} == {None}
    assert len({row["revision"] for row in rows}) == 1


@pytest.mark.parametrize("form", FORMS)
def test_the_revision_follows_the_file(tmp_path: Path, form: Form_) -> None:
    texts = [[form(one, text) for one in ASKED] for text in ("One.", "Two.")]
    one, two = (
        answer_forms.read(write_rows(tmp_path / "f.jsonl", rows), ASKED)[0]["revision"]
        for rows in texts
    )
    assert one != two


def test_a_model_without_a_name_is_called_as_its_file(tmp_path: Path) -> None:
    rows = [{"instruction": one.turns[0], "output": "Hot."} for one in ASKED]
    read = answer_forms.read(write_rows(tmp_path / "my-model.json", rows), ASKED)
    assert {row["model"] for row in read} == {"my-model"}


def test_fastchat_answers_have_their_turns(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.jsonl", [fastchat(TALKS[0], "Hot.")])
    assert answer_forms.read(path, TALKS)[0]["turns"] == ["Hot.", "Hot."]
    assert answer_forms.read_turns(path) == {"81": ["Hot.", "Hot."]}


def test_an_answer_to_one_turn_of_two_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.jsonl", [vicuna(TALKS[0])])
    with pytest.raises(InputError, match="answer to '81' has 1 turn, the question 2"):
        answer_forms.read(path, TALKS)


def test_one_of_several_models_is_chosen(tmp_path: Path) -> None:
    rows = [alpaca(one, model, model) for model in ("a", "b") for one in ASKED]
    path = write_rows(tmp_path / "both.json", rows)
    with pytest.raises(SettingError, match="answers of a, b; choose one with --model"):
        answer_forms.read(path, ASKED)
    with pytest.raises(SettingError, match="has no answers of c, but of a, b"):
        answer_forms.read(path, ASKED, "c")
    assert [row["turns"] for row in answer_forms.read(path, ASKED, "b")] == [["b"]] * 3


@pytest.mark.parametrize("form", FORMS)
def test_missing_double_and_foreign_questions_are_counted_and_shown(
    tmp_path: Path, form: Form_
) -> None:
    good = [form(one) for one in ASKED]
    foreign = [form(Question(str(n), "", [f"Why {n}?"])) for n in (8, 9)]

    def read(rows: list[dict[str, Any]]) -> None:
        answer_forms.read(write_rows(tmp_path / "m.jsonl", rows), ASKED)

    with pytest.raises(InputError, match=r"2 questions of 3 without an answer.*'2' \('How long\?'"):
        read(good[:1])
    with pytest.raises(InputError, match=r"1 answer to questions that already have one.*leave one"):
        read([*good, good[0]])
    with pytest.raises(
        InputError, match=r"2 answers to questions that this suite has not.*(8|Why)"
    ):
        read(good + foreign)


def test_what_is_allowed_is_left_out(tmp_path: Path) -> None:
    foreign = alpaca(Question("9", "", ["Why?"]))
    path = write_rows(tmp_path / "m.json", [alpaca(ASKED[1]), foreign])
    read = answer_forms.read(path, ASKED, allow=["missing", "foreign"])
    assert [row["id"] for row in read] == ["2"]
    nothing = write_rows(tmp_path / "n.json", [foreign])
    with pytest.raises(InputError, match="answers no question of this suite"):
        answer_forms.read(nothing, ASKED, allow=["missing", "foreign"])


def test_questions_of_one_text_are_matched_in_their_order(tmp_path: Path) -> None:
    asked = [Question(str(n), "", ["Why?"]) for n in (1, 2)]
    rows = [ultrachat(asked[0], text) for text in ("first", "second")]
    read = answer_forms.read(write_rows(tmp_path / "m.json", rows), asked)
    assert [row["turns"] for row in read] == [["first"], ["second"]]
    three = write_rows(tmp_path / "m.json", [*rows, rows[0]])
    with pytest.raises(InputError, match="1 answer to questions that already have one"):
        answer_forms.read(three, asked)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": 1}, "no answers in a known form: answers, fastchat, vicuna, alpaca_eval"),
        ({"instruction": "How hot?", "output": None}, "row 1 is no answer: its 'output' is no"),
        ({"instruction": 1, "output": ""}, "its 'instruction' is no text"),
        ({"question_id": 1, "text": ["Hot."]}, "its 'text' is no text"),
        ({"question_id": None, "text": "Hot."}, "its 'question_id' is no id"),
        ({"question_id": True, "text": "Hot."}, "its 'question_id' is no id"),
        ({"question_id": 1, "choices": []}, "its 'turns' are no texts"),
        ({"question_id": 1, "choices": {"turns": ["a"]}}, "its 'turns' are no texts"),
        ({"question_id": 1, "choices": [{"turns": ["a", 1]}]}, "its 'turns' are no texts"),
        ({"question_id": 1, "choices": [None]}, "its 'turns' are no texts"),
        ({"id": "1", "turns": []}, "its 'turns' are no texts"),
        ({"id": 1, "turns": ["a"]}, "its 'id' is no text"),
    ],
)
def test_a_row_that_is_no_answer_is_refused(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    path = write_rows(tmp_path / "m.json", [row])
    with pytest.raises(InputError, match=says) as caught:
        answer_forms.read(path, ASKED)
    assert str(path) in str(caught.value)


def test_our_own_rows_are_kept_as_they_are(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "1", "model": "m", "turns": ["Hot."], "usd": 0.5, "note": "kept"},
        {"id": "2", "model": "m", "turns": [], "error": "the kettle broke"},
        {"id": "x-3", "model": "m", "turns": ["Cake."]},
    ]
    assert answer_forms.read(write_rows(tmp_path / "answers.jsonl", rows), ASKED) == rows


@pytest.mark.parametrize("kind", ["answers", "alpaca_eval", "fastchat", "vicuna", "ultrachat"])
def test_what_is_written_is_read_back(tmp_path: Path, kind: Form) -> None:
    source = write_rows(tmp_path / "m.json", [vicuna(one, f"To {one.id}.") for one in ASKED])
    rows = answer_forms.read(source, ASKED)
    written = answer_forms.written(rows, ASKED, kind)
    assert written == answer_forms.written(rows[::-1], ASKED, kind)
    again = answer_forms.read(write_rows(tmp_path / "again.json", written), ASKED)
    for name in ("id", "turns", "model", "question"):
        assert [row[name] for row in again] == [row[name] for row in rows]


def test_what_is_written_has_the_columns_of_its_form(tmp_path: Path) -> None:
    rows = answer_forms.read(write_rows(tmp_path / "m.json", map(alpaca, ASKED)), ASKED)
    for kind, form in [("alpaca_eval", alpaca), ("fastchat", fastchat), ("vicuna", vicuna)]:
        (first, *_) = answer_forms.written(rows, ASKED, kind)  # type: ignore[arg-type]
        assert form(ASKED[0]).keys() <= first.keys()
    ids = [row["question_id"] for row in answer_forms.written(rows, ASKED, "fastchat")]
    assert ids == [1, 2, "x-3"]


@pytest.mark.parametrize("id", ["7", "07", "-7", "7.0", "\u0667", "9" * 5000, "0", ""])
def test_ids_are_the_same_after_a_round_trip(tmp_path: Path, id: str) -> None:
    asked = [Question(id, "", ["Why?"])]
    rows = answer_forms.written([{"id": id, "model": "m", "turns": ["So."]}], asked, "fastchat")
    path = tmp_path / "m.jsonl"
    jsonl.write(path, rows)
    assert [row["id"] for row in answer_forms.read(path, asked)] == [id]


def test_a_model_that_is_no_text_has_no_name(tmp_path: Path) -> None:
    rows = [{**alpaca(one), "generator": None} for one in ASKED]
    read = answer_forms.read(write_rows(tmp_path / "file.json", rows), ASKED)
    assert {row["model"] for row in read} == {"file"}


def test_a_failed_answer_is_written_nowhere() -> None:
    rows = [
        {"id": "1", "model": "m", "turns": [], "error": "the kettle broke"},
        {"id": "2", "model": "m", "turns": [""]},
    ]
    written = answer_forms.written(rows, ASKED, "alpaca_eval")
    assert [row["output"] for row in written] == [""]


@pytest.mark.parametrize("kind", ["alpaca_eval", "vicuna", "ultrachat"])
def test_two_turns_do_not_fit_a_form_of_one(kind: Form) -> None:
    rows = [{"id": "81", "model": "m", "turns": ["Hot.", "Less."]}]
    with pytest.raises(SettingError, match=f"form: {kind} has one turn"):
        answer_forms.written(rows, TALKS, kind)
    assert (
        answer_forms.written(rows, TALKS, "fastchat")[0]["choices"][0]["turns"] == rows[0]["turns"]
    )


@pytest.mark.parametrize("form", FORMS)
def test_hostile_answers_stay_loadable(tmp_path: Path, form: Form_) -> None:
    texts = [*HOSTILE, "a" * 1_000_000, "\ud83d", "\udc00\ud800", "\ud83d\ude00"]
    asked = [Question(str(n), "", [f"Why {n}?"]) for n in range(len(texts))]
    rows = [form(one, text) for one, text in zip(asked, texts, strict=True)]
    read = answer_forms.read(write_array(tmp_path / "m.json", rows), asked)
    assert [row["turns"][0] for row in read] == [jsonl.scrub(text) for text in texts]
    jsonl.write(tmp_path / "answers.jsonl", read)
    again = results.read_answers(tmp_path / "answers.jsonl")
    assert [again[one.id]["turns"] for one in asked] == [row["turns"] for row in read]
    out = answer_forms.written(read, asked, "alpaca_eval")
    jsonl.write(tmp_path / "out.jsonl", out)
    assert published.rows(tmp_path / "out.jsonl") == out


def test_hostile_names_and_ids_are_shown_short(tmp_path: Path) -> None:
    row = alpaca(Question("", "", ["\ud800\n" + "a" * 1_000_000]), model="\ud800")
    with pytest.raises(InputError) as caught:
        answer_forms.read(write_rows(tmp_path / "m.json", [row]), ASKED)
    assert len(str(caught.value)) < 500
    str(caught.value).encode("utf-8")
    two = [alpaca(ASKED[0], model=name) for name in ("\ud800", "b")]
    with pytest.raises(SettingError, match="answers of b, \ufffd; choose"):
        answer_forms.read(write_rows(tmp_path / "two.json", two), ASKED)


def test_our_own_rows_stay_loadable_too(tmp_path: Path) -> None:
    rows = [{"id": "1", "turns": ["\ud83d\0"], "error": "\udc00", "usd": None}]
    (read,) = answer_forms.read(write_rows(tmp_path / "a.jsonl", rows), ASKED[:1])
    assert read == {"id": "1", "turns": ["\ufffd\0"], "error": "\ufffd", "usd": None}
    jsonl.dump(read)
