"""Overlap with benchmark questions: what counts, at which length, and what never does."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.questions import SHARED, Question, Questions
from tests.conftest import SHARED as MATERIAL
from ultra.errors import InputError
from ultra.schema import Message

FERRY = (
    "Why would the old ferry across the northern lake stop running in a mild winter without any ice"
)
BREAD = "How long does rye bread keep?"
TEMPLATE = "Answer in plain English as if you spoke to a child of six:"


def questions(*texts: str, suite: str = "own") -> Questions:
    return Questions("q", "", [Question(suite, f"{n}", (text,)) for n, text in enumerate(texts)])


def said(text: str, role: Any = "user") -> list[Message]:
    return [{"role": role, "content": text}]


def lengths(asked: Questions, text: str) -> dict[str, int]:
    return {one.question: one.n for one in asked.overlaps(said(text))}


def words(first: int, count: int) -> str:
    """Some of the words of ``FERRY``."""
    return " ".join(FERRY.split()[first : first + count])


@pytest.mark.parametrize(
    ("text", "n"),
    [
        (FERRY, 13),
        (f"Tell me, {FERRY.upper()}?! Thanks.", 13),
        (words(3, 13), 13),
        (f"and {words(5, 12)} or", 8),
        (f"one two three {words(2, 8)} five", 8),
        (f"{words(0, 8)} and {words(9, 9)}", 8),
        (words(0, 8).replace(" ", ", "), 8),
    ],
)
def test_eight_or_thirteen_words_in_a_row_overlap(text: str, n: int) -> None:
    assert lengths(questions(FERRY, BREAD), text) == {"own/0": n}


@pytest.mark.parametrize(
    "text",
    [
        "",
        words(2, 7),
        f"{words(0, 7)} {words(8, 7)}",
        " ".join(reversed(FERRY.split())),
        f"tell me: {BREAD}",  # short questions count as a whole turn only
        "rye bread",
    ],
)
def test_fewer_words_or_others_between_them_do_not(text: str) -> None:
    assert lengths(questions(FERRY, BREAD), text) == {}


def test_a_short_question_overlaps_as_a_whole_turn() -> None:
    assert lengths(questions(FERRY, BREAD), "how long does Rye bread keep") == {"own/1": 13}


def test_a_question_of_middling_length_overlaps_at_thirteen_as_a_whole_turn_only() -> None:
    nine = words(0, 9)
    assert lengths(questions(nine), nine) == {"own/0": 13}
    assert lengths(questions(nine), f"so {nine}") == {"own/0": 8}


def test_small_talk_is_no_question() -> None:
    assert lengths(questions("Please go on."), "please go on") == {}


def test_words_on_both_sides_of_a_turn_are_not_in_a_row() -> None:
    asked = Questions("q", "", [Question("own", "0", (words(0, 6), words(6, 6)))])
    assert asked.overlaps(said(words(0, 12))) == []
    halves = said(words(0, 7)) + said(words(7, 7), "assistant")
    assert questions(FERRY).overlaps(halves) == []


def test_each_role_overlaps_for_itself_at_its_longest() -> None:
    both = said(words(0, 9)) + said(f"You asked: {FERRY}", "assistant") + said(FERRY.lower())
    found = questions(FERRY).overlaps(both)
    assert [(one.role, one.n) for one in found] == [("assistant", 13), ("user", 13)]
    assert {one.span for one in found} == {words(0, 13).lower()}


def test_a_template_belongs_to_no_question() -> None:
    own = [f"{TEMPLATE} what is {word} {word} {word} made of" for word in "abcdefgh"[:SHARED]]
    assert lengths(questions(*own), f"{TEMPLATE} who are you") == {}
    assert lengths(questions(*own), own[2]) == {"own/2": 13}
    assert len(lengths(questions(*own[1:]), f"{TEMPLATE} who are you")) == SHARED - 1


def test_a_hash_in_common_is_no_overlap() -> None:
    asked = questions(FERRY)
    index = questions(" ".join(reversed(FERRY.split())))
    asked._grams, asked._anchors = index._grams, index._anchors
    assert lengths(asked, " ".join(reversed(FERRY.split()))) == {}


def test_a_question_of_several_suites_is_no_template() -> None:
    many = [Question(suite, "1", (FERRY,)) for suite in "abcdefgh"]
    assert len(Questions("q", "", many).overlaps(said(FERRY))) == len(many)


def test_scripts_without_blanks_overlap_by_character() -> None:
    asked = questions("请解释为什么北方的湖在温和的冬天也会结冰")
    assert lengths(asked, "你好。请解释为什么北方的湖在温和的冬天") == {"own/0": 13}
    assert lengths(asked, "请解释为什么北极") == {}


@given(st.integers(0, 60), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_an_overlap_is_found_wherever_it_stands(
    before: int, first: int, count: int, after: int
) -> None:
    asked = FERRY.split()
    same = asked[first : first + count]
    turn = " ".join([f"b{n}" for n in range(before)] + same + [f"a{n}" for n in range(after)])
    expected = 13 if len(same) >= 13 else 8 if len(same) >= 8 else None
    assert lengths(questions(FERRY), turn).get("own/0") == expected


@given(st.lists(st.sampled_from("ab"), max_size=40), st.lists(st.sampled_from("ab"), max_size=40))
def test_of_repetitive_texts_the_overlap_is_what_a_search_of_all_finds(
    question: list[str], turn: list[str]
) -> None:
    def runs(said: list[str], n: int) -> set[tuple[str, ...]]:
        return {tuple(said[place : place + n]) for place in range(len(said) - n + 1)}

    both = {n for n in (8, 13) if runs(question, n) & runs(turn, n)}
    whole = {13} if question == turn and len(turn) >= 4 else set()
    found = lengths(questions(" ".join(question)), " ".join(turn))
    assert found.get("own/0") == max(both | whole, default=None)


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def test_questions_are_read_in_all_their_spellings(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.jsonl",
        {"id": "a", "suite": "big", "category": "x", "turns": ["one", "two"]},
        {"question_id": 81, "text": "three"},
        {"instruction": "four", "output": "no"},
        {"prompt": "five"},
    )
    asked = Questions.load(path)
    assert [question.name for question in asked.questions] == [
        "big/a",
        "mine/81",
        "mine/3",
        "mine/4",
    ]
    assert [question.turns for question in asked.questions] == [
        ("one", "two"),
        ("three",),
        ("four",),
        ("five",),
    ]
    assert asked.name == "mine.jsonl"
    assert len(asked.digest) == 64


def test_keys_may_be_in_any_case(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", {"IDX": 7, "Skill": "Math", "Instruction": "one"})
    assert Questions.load(path).questions == [Question("mine", "7", ("one",))]


def test_an_array_of_questions_is_read_however_it_is_laid_out(tmp_path: Path) -> None:
    rows = [{"instruction": "one", "output": "no"}, {"class": "x", "data": "two"}]
    for number, option in enumerate((None, orjson.OPT_INDENT_2)):
        path = tmp_path / f"mine{number}.json"
        path.write_bytes(b"\n " + orjson.dumps(rows, option=option))
        asked = Questions.load(path)
        assert [question.turns for question in asked.questions] == [("one",), ("two",)]
        assert [question.name for question in asked.questions] == [
            f"mine{number}/1",
            f"mine{number}/2",
        ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "mine.json: question 1: expected a JSON object with 'turns'"),
        ('[{"text": "x"}', "mine.json: not JSON"),
        ("[]", "mine.json: holds no questions"),
    ],
)
def test_an_array_that_holds_no_questions_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "mine.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Questions.load(tmp_path / "mine.json")


@pytest.mark.parametrize("name", ["question.jsonl", "Questions.json", "questions.jsonl.gz"])
def test_a_file_that_is_just_called_questions_is_named_for_its_folder(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "mt_bench"
    folder.mkdir()
    path = write(folder / name, {"text": "one"})
    assert Questions.load(path).questions[0].name == "mt_bench/1"


def test_what_is_no_file_is_told_what_is_wanted(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.jsonl", tmp_path / ("x" * 999)):
        with pytest.raises(InputError, match=r"^questions: .*no file; give .*'turns'.*'data'"):
            Questions.load(path)


@pytest.mark.parametrize(
    ("name", "suite", "count"),
    [
        ("vicuna/question.jsonl", "vicuna", 80),
        ("openchat/question.jsonl", "openchat", 80),
        ("mt_bench/question.jsonl", "mt_bench", 80),
        ("alpaca_eval/alpaca_eval_gpt4_baseline.json", "alpaca_eval_gpt4_baseline", 805),
        ("evol_instruct/WizardLM_testset.jsonl", "WizardLM_testset", 218),
        ("ultra_eval/ultra_eval.json", "ultra_eval", 385),
    ],
)
def test_published_questions_are_read_as_they_are(name: str, suite: str, count: int) -> None:
    path = MATERIAL / "benchmarks" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there: published questions are not shipped")
    asked = Questions.load(path).questions
    assert (len(asked), {question.suite for question in asked}) == (count, {suite})


@pytest.mark.parametrize(
    "row",
    [
        {"id": "a"},
        {"id": "a", "turns": []},
        {"id": "a", "turns": ["x", 1]},
        {"id": "a", "turns": "x"},
        {"id": ["a"], "text": "x"},
        {"id": "a", "text": None},
        {"id": "a", "suite": 1, "text": "x"},
        {"question": "x"},
    ],
)
def test_what_is_no_question_is_named_by_file_and_row(tmp_path: Path, row: Any) -> None:
    path = write(tmp_path / "mine.jsonl", {"text": "fine"}, row)
    with pytest.raises(InputError, match=r"mine\.jsonl: question 2: .*'"):
        Questions.load(path)


def test_a_file_without_questions_or_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no questions"):
        Questions.load(write(tmp_path / "empty.jsonl"))
    twice = {"id": "a", "text": "x"}
    with pytest.raises(InputError, match="two questions are twice/a"):
        Questions.load(write(tmp_path / "twice.jsonl", twice, twice))


def test_questions_work_in_a_process_that_hashes_otherwise(tmp_path: Path) -> None:
    (tmp_path / "asked").write_bytes(pickle.dumps(questions(FERRY)))
    script = (
        "import pickle, sys; from pathlib import Path; "
        "asked = pickle.loads(Path(sys.argv[1]).read_bytes()); "
        "print(len(asked.overlaps([{'role': 'user', 'content': sys.argv[2]}])))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "asked"), FERRY]
    for seed in "12":
        run = subprocess.run(
            command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert run.stdout == "1\n"
