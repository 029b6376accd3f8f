"""Confidence intervals of win rates and of their differences, by drawing questions again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = Mapping[str, float | None]
"""A model's points by question, from 0 to 1; None if unscored."""


@dataclass(frozen=True)
class Difference:
    """One model's win rate less another's over ``n`` shared questions, in points of percent.

    ``lower`` and ``upper`` bound it with 95 % confidence; without 0 between them it is significant.
    """

    n: int
    difference: float
    lower: float
    upper: float


def bootstrap_interval(points: Sequence[float], rounds: int = 1000) -> tuple[float, float] | None:
    """The 95 % percentile bootstrap interval of a win rate, in percent (Efron 1979).

    Questions are drawn with replacement, from seed 0. None for no points.
    """
    if not points:
        return None
    lower, upper = np.percentile(_means(np.sort(np.asarray(points, float)), rounds), [2.5, 97.5])
    return 100 * float(lower), 100 * float(upper)


def paired_difference(one: Points, other: Points, rounds: int = 1000) -> Difference | None:
    """How far two models' win rates differ on the questions that both were scored on.

    Pairs are drawn together, so what makes a question hard for both cancels out. None if they share
    no scored question.
    """
    pairs = {id: (one[id], other.get(id)) for id in sorted(one)}
    gaps = np.array([a - b for a, b in pairs.values() if a is not None and b is not None])
    if not len(gaps):
        return None
    lower, upper = np.percentile(_means(gaps, rounds), [2.5, 97.5])
    return Difference(len(gaps), 100 * float(gaps.mean()), 100 * float(lower), 100 * float(upper))


def _means(values: npt.NDArray[np.float64], rounds: int) -> npt.NDArray[np.float64]:
    """Means (rounds,) of values drawn with replacement; one round at a time, to be small."""
    random = np.random.default_rng(0)
    draws = (random.integers(len(values), size=len(values)) for _ in range(rounds))
    return np.array([values[draw].mean() for draw in draws])
