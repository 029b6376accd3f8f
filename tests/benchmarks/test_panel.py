"""Several judges as one."""

from typing import Any

import pytest

from benchmarks import judgments, panel
from tests.benchmarks.fakes import judgment
from ultra.errors import InputError

SCORES = {"kind": "pair_scores"}
WEIGHTED = {"kind": "pair_weighted"}
GRADE = {"kind": "grade", "order": "", "baseline": "", "verdict": "graded"}
UNSCORED: dict[str, Any] = {"verdict": "unscored", "reason": "empty"}


def together(*changes: dict[str, Any]) -> dict[str, Any]:
    """What a panel says of one question, of which each judge said something else."""
    judges = {f"j{n}": [judgment(judge=f"j{n}", **one)] for n, one in enumerate(changes, 1)}
    (row,) = panel.combine(judges)
    assert judgments.faults(row) == []
    return row


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["model", "model", "baseline"], "model"),
        (["baseline", "tie", "baseline"], "baseline"),
        (["model", "baseline"], "tie"),
        (["model", "baseline", "tie"], "tie"),
        (["model", "model", "tie", "tie"], "tie"),
        (["tie"], "tie"),
    ],
)
def test_the_most_frequent_choice_counts(verdicts: list[str], expected: str) -> None:
    assert together(*({"verdict": one} for one in verdicts))["verdict"] == expected
    assert together(*({"verdict": one} for one in verdicts[::-1]))["verdict"] == expected


def test_scores_grades_and_preferences_are_averaged() -> None:
    pairs: list[list[float]] = [[9, 4], [3, 8], [6, 5]]
    row = together(*({**SCORES, "scores": of, "verdict": _of(*of)} for of in pairs))
    assert (row["scores"], row["verdict"]) == ([6.0, pytest.approx(17 / 3)], "model")
    row = together({**GRADE, "scores": [8]}, {**GRADE, "scores": [9]})
    assert (row["scores"], row["verdict"]) == ([8.5], "graded")
    first = {**WEIGHTED, "preference": 1.9, "verdict": "model"}
    row = together(first, {**WEIGHTED, "preference": 1.05, "verdict": "baseline"})
    assert (row["preference"], row["verdict"]) == (pytest.approx(1.475), "baseline")


def _of(model: float, baseline: float) -> str:
    return "model" if model > baseline else "baseline"


def test_what_one_judge_did_not_score_is_unscored() -> None:
    row = together({**SCORES, "scores": [9, 1]}, {**SCORES, **UNSCORED})
    assert (row["verdict"], row["reason"], row["scores"]) == ("unscored", "a_judge_unscored", [])


def test_what_was_paid_is_summed_and_every_judge_is_named() -> None:
    row = together({"usd": 0.25, "tries": 2}, {"usd": 0.5})
    assert (row["usd"], row["tries"], row["judge"]) == (0.75, 3, "j1 + j2")
    assert row["usage"] == {"prompt_tokens": 20, "completion_tokens": 4}
    assert row["text"] == "j1:\nreasons\n[[A]]\n\nj2:\nreasons\n[[A]]"
    assert together({"usd": 0.25}, {"usd": None})["usd"] is None


@pytest.mark.parametrize("other", [{"id": "q2"}, {"suite_digest": "e"}, {"baseline": "another"}])
def test_judges_of_something_else_are_no_panel(other: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="judges: "):
        together({}, other)


def test_a_panel_has_judges() -> None:
    with pytest.raises(InputError, match="one or more"):
        panel.combine({})
