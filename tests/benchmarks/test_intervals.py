"""Bootstrap intervals: near theory, the same every time, and paired where questions are."""

import pytest

from benchmarks.intervals import bootstrap_interval, paired_difference


def test_an_interval_is_near_the_normal_one() -> None:
    lower, upper = bootstrap_interval([1.0, 0.0] * 200) or (0.0, 0.0)
    # Standard error of a fair coin thrown 400 times: 2.5 %, times 1.96 either side of 50 %.
    assert (lower, upper) == pytest.approx((45.1, 54.9), abs=0.7)


def test_an_interval_does_not_depend_on_the_order_of_points() -> None:
    points = [0.1, 0.9, 0.4, 1.0, 0.0, 0.7]
    assert bootstrap_interval(points) == bootstrap_interval(points[::-1])


def test_no_points_have_no_interval_and_equal_ones_no_width() -> None:
    assert bootstrap_interval([]) is None
    assert bootstrap_interval([0.5] * 9) == (50.0, 50.0)


def test_a_small_difference_on_the_same_questions_is_seen() -> None:
    one = {f"q{n}": float(n % 2) for n in range(100)}
    other = {**one, **{f"q{n}": 0.0 for n in range(1, 20, 2)}}
    found = paired_difference(one, other)
    assert found is not None
    assert found.n == 100
    assert found.difference == pytest.approx(10.0)
    assert 0 < found.lower < 10 < found.upper < 20  # unpaired, the intervals would overlap


def test_only_shared_scored_questions_are_compared() -> None:
    one, other = {"a": 1.0, "b": None, "c": 1.0}, {"b": 0.0, "c": 0.0, "d": 1.0}
    found = paired_difference(one, other)
    assert found is not None
    assert (found.n, found.difference) == (1, 100.0)
    assert paired_difference({"a": 1.0}, {"a": None}) is None
