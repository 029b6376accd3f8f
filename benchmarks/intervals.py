"""Confidence intervals of figures and of their differences, by drawing questions again."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.metrics import Measure
from benchmarks.published import in_order

Array = npt.NDArray[np.float64]
Interval = tuple[float, float]

ROUNDS = 1000
_Z = 1.959964
"""The normal distribution's 97.5 % quantile."""


@dataclass(frozen=True)
class Difference:
    """One model's figure less another's over ``n`` shared questions, in the figure's own unit.

    ``lower`` and ``upper`` bound it with 95 % confidence; without 0 between them it is significant.
    """

    n: int
    difference: float
    lower: float
    upper: float


def interval(measure: Measure, rounds: int = ROUNDS) -> Interval | None:
    """The 95 % percentile bootstrap interval of a figure (Efron 1979); None without questions.

    Questions are drawn with replacement, from seed 0, whatever order they come in. Where all of
    them were won or all were lost, nothing that is drawn from them differs, and a win rate gets the
    score interval of Wilson (1927) instead of a point.
    """
    parts = _table(measure, sorted(measure.parts, key=in_order))
    if measure.value is None:
        return None
    if measure.unit == 100 and not np.ptp(parts, axis=0).any() and parts[0, 1] == 1:
        return _wilson(float(parts[0, 0]), len(parts))
    return _percentiles(measure.unit * _ratios(parts, rounds))


def difference(one: Measure, other: Measure, rounds: int = ROUNDS) -> Difference | None:
    """How far two models differ on the questions that both were scored on.

    Pairs are drawn together, so what makes a question hard for both cancels out. None if they share
    no scored question.
    """
    shared = sorted(one.parts.keys() & other.parts.keys(), key=in_order)
    if not shared:
        return None
    first, second = _table(one, shared), _table(other, shared)
    if not first[:, 1].any() or not second[:, 1].any():
        return None
    gap = one.unit * first[:, 0].sum() / first[:, 1].sum()
    gap -= other.unit * second[:, 0].sum() / second[:, 1].sum()
    drawn = one.unit * _ratios(first, rounds) - other.unit * _ratios(second, rounds)
    return Difference(len(shared), float(gap), *_percentiles(drawn))


def _table(measure: Measure, questions: list[str]) -> Array:
    """What questions add above and below the line, (n, 2)."""
    return np.array([measure.parts[name] for name in questions], float).reshape(-1, 2)


def _ratios(parts: Array, rounds: int) -> Array:
    """Ratios of sums (rounds,) over rows drawn with replacement; one round at a time, to be small.

    From seed 0, so two tables of the same questions are drawn alike. A drawing that scored nothing
    at all below the line says nothing and is left out by :func:`_percentiles`.
    """
    random = np.random.default_rng(0)
    draws = (random.integers(len(parts), size=len(parts)) for _ in range(rounds))
    sums = np.array([parts[draw].sum(axis=0) for draw in draws])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan)


def _percentiles(drawn: Array) -> Interval:
    lower, upper = np.nanpercentile(drawn, [2.5, 97.5])
    return float(lower), float(upper)


def _wilson(share: float, n: int) -> Interval:
    """In percent."""
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * (share * (1 - share) / n + _Z**2 / (4 * n**2)) ** 0.5
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)
