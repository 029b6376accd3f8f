"""From judgments to numbers: pure functions, each with its source and unit."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

POINTS = {"model": 1.0, "tie": 0.5, "baseline": 0.0}


@dataclass(frozen=True)
class Score:
    """How often a model's answer was preferred to the baseline's.

    ``n`` questions were scored, ``unscored`` were not and count nowhere. ``win_rate`` and
    ``standard_error`` are in percent and None where n is too small (0, or below 2).
    """

    n: int
    unscored: int
    win_rate: float | None
    standard_error: float | None
    wins: int
    ties: int
    losses: int


def win_rate(judgments: Iterable[dict[str, Any]]) -> Score:
    """Win rate over questions, each judged once in every order.

    A question's points are the mean over its orders of 1 for the model, 0.5 for a tie, 0 for the
    baseline, so a preference for a position cancels out. A question with an unscored order is left
    out whole, because half of it would bring that preference back. The standard error is the sample
    standard deviation of the points over the square root of n (as in AlpacaEval's ``win_rate``).
    """
    verdicts: dict[str, list[str]] = defaultdict(list)
    for row in judgments:
        verdicts[row["id"]].append(row["verdict"])
    scored = [of for of in verdicts.values() if "unscored" not in of]
    points = [statistics.fmean(POINTS[verdict] for verdict in of) for of in scored]
    n = len(points)
    return Score(
        n=n,
        unscored=len(verdicts) - n,
        win_rate=100 * statistics.fmean(points) if n else None,
        standard_error=100 * statistics.stdev(points) / n**0.5 if n > 1 else None,
        wins=sum(point > 0.5 for point in points),
        ties=sum(point == 0.5 for point in points),
        losses=sum(point < 0.5 for point in points),
    )


def wilson_interval(score: Score) -> tuple[float, float] | None:
    """The 95 % score interval of a win rate, in percent (Wilson 1927, with n the questions).

    Unlike win rate ± 1.96 standard errors it is no point where every answer won or lost. It takes
    the points for wins and losses only, so with ties it is a little too wide.
    """
    if score.win_rate is None:
        return None
    z, n, share = 1.959964, score.n, score.win_rate / 100
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def flip_rate(judgments: Iterable[dict[str, Any]]) -> float | None:
    """Percent of questions, scored in both orders, whose verdict changed with the order."""
    verdicts: dict[str, set[str]] = defaultdict(set)
    for row in judgments:
        verdicts[row["id"]].add(row["verdict"])
    scored = [of for of in verdicts.values() if "unscored" not in of]
    return 100 * sum(len(of) > 1 for of in scored) / len(scored) if scored else None
