"""How far judges agree with each other, with people, and with the length of an answer.

As a command it compares two files of pairwise judgments of the same answers: published ones, one's
own, or what people said, lines of ``{"id", "verdict"}`` with model, tie or baseline.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

import orjson

from benchmarks import metrics, published
from ultra import command
from ultra.errors import InputError

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


@dataclass(frozen=True)
class Settings:
    """Compare the verdicts of two judges, or of a judge and people, on the same answers."""

    one: Path = command.positional("a file of pairwise judgments")
    other: Path = command.positional("another, of the same answers")
    without_ties: bool = False
    """Leave out what either called a tie."""
    json: bool = False
    """One JSON object."""


def compare(settings: Settings) -> Agreement:
    """Print how far two files agree.

    Raises:
        InputError: a file holds no pairwise judgments, or they share no question.
    """
    one, other = labels(settings.one), labels(settings.other)
    if not one.keys() & other.keys():
        raise InputError(
            f"{settings.one} and {settings.other}: judge no question in common, such as "
            f"{min(one)[:60]!r} and {min(other)[:60]!r}"
        )
    found = agreement(one, other, frozenset({"tie"} if settings.without_ties else ()))
    if settings.json:
        print(orjson.dumps(asdict(found)).decode())
    else:
        shown = {name: "" if value is None else value for name, value in asdict(found).items()}
        print("  ".join(f"{name} {value}" for name, value in shown.items()))
    return found


def labels(path: Path) -> dict[str, str | None]:
    """The verdict of a file on each question, over all orders and samples; None if unscored.

    Raises:
        InputError: the file holds no pairwise judgments.
    """
    rows = published.rows(path)
    if {"id", "verdict"} <= rows[0].keys() and "suite" not in rows[0]:
        return {str(row["id"]): _said(path, row.get("verdict")) for row in rows}
    form = published.form(path, rows[0])
    if form == "annotations":
        return {
            row.instruction: _label(row.preference) for row in published.annotations(path, rows)
        }
    if form in ("reviews", "openchat"):
        read = published.reviews if form == "reviews" else published.openchat
        means = metrics.mean_scores(read(path, rows))
        return {name: _label(_points(*pair) if pair else None) for name, pair in means.items()}
    if form == "own":
        from benchmarks import judgments, own

        found = judgments.read(path)
        if found[0]["kind"] != "grade":
            return {name: _label(point) for name, point in own.outcomes(found).items()}
    raise InputError(f"{path}: these are no comparisons with one baseline")


def _said(path: Path, verdict: object) -> str | None:
    if verdict not in ("model", "tie", "baseline", "unscored", None):
        raise InputError(f"{path}: {verdict!r} is no verdict: model, tie, baseline or unscored")
    return verdict if isinstance(verdict, str) and verdict != "unscored" else None


def _points(model: float, baseline: float) -> float:
    return 0.5 if model == baseline else float(model > baseline)


def _label(points: float | None) -> str | None:
    if points is None:
        return None
    return "tie" if points == 0.5 else "model" if points > 0.5 else "baseline"


if __name__ == "__main__":
    command.main(Settings, compare)
