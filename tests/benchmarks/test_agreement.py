"""Agreement between judges, and with length, worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.agreement import (
    Agreement,
    Settings,
    agreement,
    compare,
    labels,
    length_correlation,
    pooled_agreement,
)
from tests.benchmarks.fakes import judgment, write_rows
from ultra.errors import InputError

near: Any = pytest.approx  # in the place of a number

ONE = {"1": "model", "2": "model", "3": "baseline", "4": "tie", "5": None, "6": "tie"}
OTHER = {"1": "model", "2": "baseline", "3": "baseline", "4": "model", "5": "tie", "7": "tie"}


def test_accuracy_and_kappa() -> None:
    # 2 of 4 the same; by chance (2 * 2 + 1 * 2 + 1 * 0) / 16 = 3 / 8; (1/2 - 3/8) / (5/8) = .2
    assert agreement(ONE, OTHER) == Agreement(4, 3, 50.0, near(0.2))
    assert agreement(OTHER, ONE) == agreement(ONE, OTHER)


def test_without_ties() -> None:
    found = agreement(ONE, OTHER, without=frozenset({"tie"}))
    assert found.n == 3
    assert found.accuracy == pytest.approx(200 / 3)


def test_agreement_that_chance_explains_or_that_is_not_there() -> None:
    same = {"1": "model", "2": "model"}
    assert agreement(same, same) == Agreement(2, 0, 100.0, None)
    assert agreement({"1": None}, same) == Agreement(0, 2, None, None)


def test_votes_are_pooled() -> None:
    votes = [("a", "a"), ("a", "b"), ("b", "b"), (None, "a")]
    assert pooled_agreement(votes) == Agreement(3, 1, near(200 / 3), near(0.4))


def test_length_correlation() -> None:
    assert length_correlation([(10, 1.0), (-10, 0.0), (5, None)]) == pytest.approx(1.0)
    # Lengths 1 2 3 and points 1 0 0: covariance -1/3, variances 2/3 and 2/9.
    assert length_correlation([(1, 1.0), (2, 0.0), (3, 0.0)]) == pytest.approx(-0.8660254)
    assert length_correlation([(1, 1.0), (1, 0.0)]) is None
    assert length_correlation([(1, 1.0)]) is None


def test_a_judge_and_people_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = {"1": "model", "2": "model", "3": "baseline", "4": "tie", "5": "unscored"}
    rows = [
        judgment(id=id, verdict=verdict, reason="empty" if verdict == "unscored" else "")
        for id, verdict in verdicts.items()
    ]
    judged = write_rows(tmp_path / "judged-by-j-p.jsonl", rows)
    people = {"1": "model", "2": "baseline", "3": "baseline", "4": "model", "5": "tie", "7": "tie"}
    said = write_rows(
        tmp_path / "people.jsonl", [{"id": id, "verdict": one} for id, one in people.items()]
    )
    found = compare(Settings(judged, said, json=True))
    assert found == Agreement(4, 2, 50.0, near(0.2))
    assert json.loads(capsys.readouterr().out)["accuracy"] == 50.0
    assert compare(Settings(said, judged, without_ties=True)).n == 3
    assert capsys.readouterr().out.startswith("n 3  unscored 2  accuracy 66.6")


def test_published_reviews_agree_with_themselves(golden: Path) -> None:
    path = golden / "vicuna/review/review_gpt35_vicuna-13b.jsonl"
    found = compare(Settings(path, path))
    assert (found.n, found.accuracy, found.kappa) == (80, 100.0, near(1.0))
    path = golden / "alpaca_eval/alpaca_eval_gpt4/vicuna-13b.json.gz"
    assert sum(label == "tie" for label in labels(path).values()) == 2


def test_what_cannot_be_compared_is_one_clear_error(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.jsonl", [{"id": "1", "verdict": "model"}])
    other = write_rows(tmp_path / "other.jsonl", [{"id": "2", "verdict": "tie"}])
    with pytest.raises(InputError, match="no question in common, such as '1' and '2'"):
        compare(Settings(one, other))
    with pytest.raises(InputError, match="'A' is no verdict"):
        labels(write_rows(tmp_path / "a.jsonl", [{"id": "1", "verdict": "A"}]))
    grade = judgment(kind="grade", baseline="", order="", verdict="graded", scores=[7])
    with pytest.raises(InputError, match="no comparisons with one baseline"):
        labels(write_rows(tmp_path / "judged-by-j-p.jsonl", [grade]))
