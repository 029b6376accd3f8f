"""How far judges agree with each other, with people, and with the length of an answer."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

Labels = Mapping[str, str | None]
"""A judge's verdict by question, such as model, tie or baseline; None if unscored."""


@dataclass(frozen=True)
class Agreement:
    """``n`` questions both judged, of which they gave the same verdict to ``accuracy`` percent.

    ``unscored`` questions have a verdict of one of them at most. ``kappa`` is Cohen's, from -1 to
    1; None where chance alone would agree always.
    """

    n: int
    unscored: int
    accuracy: float | None
    kappa: float | None


def agreement(one: Labels, other: Labels, without: frozenset[str] = frozenset()) -> Agreement:
    """Accuracy, and Cohen's kappa (1960): agreement beyond what the judges' habits bring by chance.

    Questions to which either gave a verdict in ``without`` are left out; with {"tie"} the accuracy
    is setup S2 of MT-bench (Zheng et al., arXiv 2306.05685), with none of them S1.
    """
    both = [(one.get(id), other.get(id)) for id in one.keys() | other.keys()]
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    unscored = len(both) - len(pairs)
    pairs = [(a, b) for a, b in pairs if a not in without and b not in without]
    n = len(pairs)
    if not n:
        return Agreement(0, unscored, None, None)
    same = sum(a == b for a, b in pairs) / n
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    chance = sum(first[label] * second[label] for label in first) / n**2
    kappa = (same - chance) / (1 - chance) if chance < 1 else None
    return Agreement(n, unscored, 100 * same, kappa)


def pooled_agreement(votes: Iterable[tuple[str | None, str | None]]) -> Agreement:
    """The same over pairs of votes, as where several people voted on one question."""
    pairs = [(str(number), pair) for number, pair in enumerate(votes)]
    return agreement({id: a for id, (a, _) in pairs}, {id: b for id, (_, b) in pairs})


def length_correlation(pairs: Iterable[tuple[int, float | None]]) -> float | None:
    """Pearson correlation of (characters the model wrote more than the baseline, its points).

    Near 0 for a judge, or a suite, that does not mind length. Unscored pairs are left out; None if
    there are fewer than two, or all are alike in length or in points.
    """
    known = [(float(length), point) for length, point in pairs if point is not None]
    if len(known) < 2:
        return None
    lengths, points = zip(*known, strict=True)
    spread = statistics.pvariance(lengths) * statistics.pvariance(points)
    if spread <= 0:
        return None
    return statistics.covariance(lengths, points) * (len(known) - 1) / len(known) / sqrt(spread)
