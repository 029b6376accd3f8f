"""A judgment's row is whole and consistent, or it is none; its file stands below the results."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import judgments
from tests.benchmarks.fakes import judgment, write_rows
from ultra.errors import InputError

GRADE = {"kind": "grade", "order": "", "baseline": "", "verdict": "graded", "scores": [8.5]}
PAIR = {"kind": "pair_scores", "scores": [0, 10.0], "verdict": "baseline"}
WEIGHTED = {"kind": "pair_weighted", "preference": 1.93}
UNSCORED: dict[str, Any] = {"verdict": "unscored", "reason": "no_verdict"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"verdict": "tie"},
        {"usd": 0},
        {"usd": 0.02, "turn": 2, "sample": 3, "difficulty": 10},
        UNSCORED,
        GRADE,
        {**GRADE, **UNSCORED, "scores": []},
        PAIR,
        {**PAIR, **UNSCORED, "scores": []},
        WEIGHTED,
        {**WEIGHTED, "preference": 1.5, "verdict": "tie", "tries": 0, "text": ""},
        {**WEIGHTED, **UNSCORED, "preference": None},
    ],
)
def test_what_is_a_judgment(tmp_path: Path, changes: dict[str, Any]) -> None:
    row = judgment(**changes)
    assert list(row) == list(judgments.FIELDS)
    assert judgments.read(write_rows(tmp_path / "rows.jsonl", [row])) == [row]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"verdict": "won"}, "verdict"),
        ({"kind": "coin"}, "kind"),
        ({"reason": "but"}, "reason"),
        ({**UNSCORED, "reason": ""}, "reason"),
        ({"order": ""}, "order"),
        ({"scores": [1.0]}, "scores"),
        ({"preference": 1.2}, "preference"),
        ({"characters": -1}, "characters"),
        ({"turn": -1}, "turn"),
        ({"turn": True}, "turn"),
        ({"usd": -0.1}, "usd"),
        ({"usage": {"prompt_tokens": "many"}}, "usage"),
        ({**GRADE, "scores": [10.5]}, "scores"),
        ({**GRADE, "scores": [True]}, "scores"),
        ({**GRADE, "scores": []}, "scores"),
        ({**GRADE, "verdict": "model"}, "verdict"),
        ({**GRADE, "order": "model_first"}, "order"),
        ({**PAIR, "scores": [9.0]}, "scores"),
        ({**PAIR, **UNSCORED}, "scores"),
        ({**PAIR, "verdict": "model"}, "verdict"),
        ({**PAIR, "verdict": "tie"}, "verdict"),
        ({**WEIGHTED, "preference": None}, "preference"),
        ({**WEIGHTED, "preference": 2.1}, "preference"),
        ({**WEIGHTED, "preference": 1.2}, "verdict"),
        ({**WEIGHTED, **UNSCORED}, "preference"),
    ],
)
def test_what_is_none(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [judgment(), judgment(id="q2", **changes)])
    with pytest.raises(InputError, match=f"row 2 is no judgment: see its .*{field}"):
        judgments.read(path)


@pytest.mark.parametrize("field", judgments.FIELDS)
def test_no_field_may_be_missing_or_of_another_type(tmp_path: Path, field: str) -> None:
    row = judgment()
    missing = {name: value for name, value in row.items() if name != field}
    assert judgments.faults(missing) == [field]
    assert judgments.faults({**row, field: {1: 2} if field != "usage" else []}) == [field]


def test_two_rows_about_the_same_are_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [judgment(), judgment(verdict="tie")])
    with pytest.raises(InputError, match="two rows judge the same question, turn, order"):
        judgments.read(path)
    others = [judgment(sample=1), judgment(turn=1), judgment(order="baseline_first")]
    assert len(judgments.read(write_rows(path, [judgment(), *others]))) == 4


def test_an_empty_file_holds_no_judgments(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no judgments"):
        judgments.read(write_rows(tmp_path / "rows.jsonl", []))


@pytest.mark.parametrize("judge", ["gpt-4.1", "org/judge", "../../evil", "..", "%2e", "a-b-c"])
def test_files_stand_in_the_results_and_a_protocol_beside_its_judgments(judge: str) -> None:
    path = judgments.path(Path("out"), judge, "0123456789ab")
    assert path.parent == Path("out")
    assert path.name.startswith("judged-by-")
    assert judgments.protocol_path(path) == Path("out/protocol-0123456789ab.json")
