"""Agreement between judges, and with length, worked out by hand."""

from typing import Any

import pytest

from benchmarks.agreement import Agreement, agreement, length_correlation, pooled_agreement

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
