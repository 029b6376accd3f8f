"""Bootstrap intervals: near theory, the same every time, and paired where questions are."""

import pytest

from benchmarks.intervals import difference, interval
from benchmarks.metrics import Measure


def win_rate(*points: float) -> Measure:
    return Measure("win_rate", 100.0, {f"{n}": (point, 1.0) for n, point in enumerate(points)})


def test_an_interval_is_near_the_normal_one() -> None:
    # Standard error of a fair coin thrown 400 times: 2.5 %, times 1.96 either side of 50 %.
    assert interval(win_rate(*[1.0, 0.0] * 200)) == pytest.approx((45.1, 54.9), abs=0.7)


def test_an_interval_of_a_ratio_draws_both_sides_together() -> None:
    parts = {str(n): (float(n), 2.0 * n) for n in range(1, 40)}
    assert interval(Measure("percent", 100.0, parts)) == pytest.approx((50.0, 50.0))


def test_an_interval_does_not_depend_on_the_order_of_questions() -> None:
    one = win_rate(0.1, 0.9, 0.4, 1.0, 0.0, 0.7)
    assert interval(one) == interval(one._replace(parts=dict(reversed(one.parts.items()))))


@pytest.mark.parametrize(
    ("points", "bounds"),
    [([1.0] * 10, (72.2, 100.0)), ([0.0] * 10, (0.0, 27.8)), ([0.5], (5.5, 94.5))],
)
def test_where_all_is_alike_the_interval_is_wilsons(
    points: list[float], bounds: tuple[float, float]
) -> None:
    assert interval(win_rate(*points)) == pytest.approx(bounds, abs=0.05)


def test_nothing_scored_has_no_interval() -> None:
    assert interval(win_rate()) is None
    assert interval(Measure("percent", 100.0, {"1": (5.0, 0.0)})) is None


def test_a_small_difference_on_the_same_questions_is_seen() -> None:
    one = win_rate(*(float(n % 2) for n in range(100)))
    other = one._replace(parts=one.parts | {f"{n}": (0.0, 1.0) for n in range(1, 20, 2)})
    found = difference(one, other)
    assert found is not None
    assert found.n == 100
    assert found.difference == pytest.approx(10.0)
    assert 0 < found.lower < 10 < found.upper < 20  # unpaired, the intervals would overlap


def test_only_shared_scored_questions_are_compared() -> None:
    one = Measure("win_rate", 100.0, {"a": (1.0, 1.0), "c": (1.0, 1.0)})
    other = Measure("win_rate", 100.0, {"c": (0.0, 1.0), "d": (1.0, 1.0)})
    found = difference(one, other)
    assert found is not None
    assert (found.n, found.difference) == (1, 100.0)
    assert difference(one, Measure("win_rate", 100.0, {"d": (1.0, 1.0)})) is None
    assert difference(one, Measure("win_rate", 100.0, {"a": (1.0, 0.0)})) is None
