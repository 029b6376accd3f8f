"""Questions that ship, and one's own."""

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results, suites
from tests.benchmarks.fakes import write_rows
from ultra.errors import InputError, SettingError

CATEGORIES = [
    "generic",
    "knowledge",
    "roleplay",
    "common-sense",
    "fermi",
    "counterfactual",
    "coding",
    "math",
    "writing",
]


def question(id: str = "q", **more: Any) -> dict[str, Any]:
    return {"id": id, "category": "c", "turns": ["Why?"], **more}


def test_starter_asks_three_questions_in_each_category() -> None:
    starter = suites.load("starter")
    assert Counter(one.category for one in starter.questions) == dict.fromkeys(CATEGORIES, 3)
    texts = [turn for one in starter.questions for turn in one.turns]
    assert len(set(texts)) == len(texts) == 27
    assert all(text == text.strip() != "" for text in texts)


def test_the_baseline_of_starter_answers_every_question() -> None:
    starter = suites.load("starter")
    assert starter.baseline
    answers = results.read_answers(starter.baseline)
    assert list(answers) == [one.id for one in starter.questions]
    for one in starter.questions:
        assert len(answers[one.id]["turns"]) == len(one.turns)
        assert all(turn.strip() for turn in answers[one.id]["turns"])
        assert answers[one.id]["model"] == "starter-baseline"


def test_own_questions_are_read_in_their_order(tmp_path: Path) -> None:
    rows = [question("b", turns=["One?", "Two?"]), {"id": "a", "turns": ["Three?"]}]
    own = suites.load(str(write_rows(tmp_path / "own.jsonl", rows)))
    assert own.name == f"own@{own.digest[:8]}"
    assert own.baseline is None
    assert [(one.id, one.category, one.turns) for one in own.questions] == [
        ("b", "c", ["One?", "Two?"]),
        ("a", "", ["Three?"]),
    ]


def test_own_questions_may_be_compressed(tmp_path: Path) -> None:
    plain = write_rows(tmp_path / "own.jsonl", [question()])
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert suites.load(str(packed)).digest == suites.load(str(plain)).digest
    assert suites.load(str(packed)).name == f"packed@{suites.load(str(plain)).digest[:8]}"


@pytest.mark.parametrize(
    "rows",
    [
        [question("other")],
        [question(category="other")],
        [question(turns=["Who?"])],
        [question(turns=["Why?", "Why?"])],
        [question(), question("more")],
    ],
)
def test_the_digest_follows_the_questions(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    digest = suites.load(str(write_rows(tmp_path / "q.jsonl", [question()]))).digest
    note = [{"note": "not asked", **question()}]
    assert suites.load(str(write_rows(tmp_path / "q.jsonl", note))).digest == digest
    assert suites.load(str(write_rows(tmp_path / "q.jsonl", rows))).digest != digest


def test_an_unknown_suite_names_the_known_ones() -> None:
    with pytest.raises(SettingError, match=r"suite startr: unknown; use starter"):
        suites.load("startr")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no questions"),
        ('{"id": "q", "turns": ["a"]}\n' * 2, "same id"),
        ('{"turns": ["a"]}', "question 1: has no 'id'"),
        ('{"id": "", "turns": ["a"]}', "has no 'id'"),
        ('{"id": 7, "turns": ["a"]}', "has no 'id'"),
        ('{"id": "p", "turns": ["a"]}\n{"id": "q"}', "question 2: 'turns' must be"),
        ('{"id": "q", "turns": "a"}', "'turns' must be"),
        ('{"id": "q", "turns": []}', "'turns' must be"),
        ('{"id": "q", "turns": ["a", null]}', "'turns' must be"),
        ("[1]", "expected a JSON object"),
        ('{"id": "q", ', "not JSON"),
    ],
)
def test_broken_questions_are_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=says) as caught:
        suites.load(str(path))
    assert str(path) in str(caught.value)


def test_a_missing_file_of_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.jsonl: cannot be read"):
        suites.load(str(tmp_path / "missing.jsonl"))


def test_two_versions_of_a_suite_have_two_names(tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / f"own.v{n}.jsonl", [question(f"q{n}")]) for n in (1, 2)]
    names = [suites.load(str(path)).name for path in paths]
    assert [name.partition("@")[0] for name in names] == ["own.v1", "own.v2"]
    assert len(set(names)) == 2


def test_an_edited_suite_has_another_name(tmp_path: Path) -> None:
    names = [
        suites.load(str(write_rows(tmp_path / place / "own.jsonl", [question(turns=[text])]))).name
        for place, text in [("here", "Why?"), ("here", "Who?"), ("there", "Why?")]
    ]
    assert names[0] == names[2] != names[1]


def test_own_questions_do_not_pass_for_the_suite_that_ships(tmp_path: Path) -> None:
    own = suites.load(str(write_rows(tmp_path / "starter.jsonl", [question()])))
    assert own.name != "starter"
