"""Bradley-Terry ratings of models over any set of pairwise judgments, as in Chatbot Arena."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from benchmarks import judgments, metrics, own, published
from ultra import command
from ultra.errors import InputError, SettingError

Array = npt.NDArray[np.float64]

SCALE, CENTRE = 400.0, 1000.0
"""Points per factor of ten in the odds, and the mean of all ratings (FastChat ``elo_analysis``)."""


class Battle(NamedTuple):
    """Two models on one question: ``points`` is 1 if the first won, 0.5 for a tie, 0 if it lost."""

    one: str
    two: str
    points: float


@dataclass(frozen=True)
class Rating:
    """A model's rating, its 95 % bootstrap interval, and what they are made of.

    ``rank`` is 1 + how many models are better beyond doubt, with intervals above this one's.
    ``prior``: whether the fit needed imagined ties, see :func:`fit`.
    """

    model: str
    rating: float
    lower: float
    upper: float
    rank: int
    n: int
    wins: int
    ties: int
    losses: int
    prior: bool


@dataclass(frozen=True)
class Settings:
    """Rate models by all pairwise judgments in some files."""

    files: list[Path] = command.positional("one or more files of judgments")
    json: bool = False
    """One JSON object a model, and no table."""
    rounds: int = 100
    """Bootstrap rounds for the intervals."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise SettingError(f"rounds: {self.rounds} is not 1 or more")


def rating(settings: Settings) -> list[Rating]:
    """Print the rating of each model, best first.

    Raises:
        InputError: a file holds no pairwise judgments, or some models never met.
    """
    every = [pair for path in settings.files for pair in battles(path)]
    found = ratings(
        [Battle(*models, of) for models, of in every if of is not None], settings.rounds
    )
    failed = Counter(model for models, of in every if of is None for model in models)
    lines = [{**asdict(one), "unscored": failed[one.model]} for one in found]
    if settings.json:
        for line in lines:
            print(orjson.dumps(line).decode())
    else:
        from tabulate import tabulate

        print(tabulate(lines, headers="keys", tablefmt="pipe", floatfmt=".1f"))
    return found


def battles(path: Path) -> list[tuple[tuple[str, str], float | None]]:
    """The comparisons of a file, (models, points of the first); None if unscored.

    A question that was judged in both orders, or several times, is one comparison.

    Raises:
        InputError: the file holds no pairwise judgments, or a row is none.
    """
    rows = published.rows(path)
    form = published.form(path, rows[0])
    if form == "annotations":
        return [
            ((row.model, row.baseline), _sign(row.preference, 0.5))
            for row in published.annotations(path, rows)
            if row.model != row.baseline
        ]
    if form == "games":
        points = {"model_1": 1.0, "tie": 0.5, "model_2": 0.0, None: None}
        return [
            ((game.model_1, game.model_2), points[metrics.winner(game)])
            for game in published.games(path, rows)
        ]
    if form in ("reviews", "openchat"):
        read = published.reviews if form == "reviews" else published.openchat
        baseline, model = published.names(path)
        means = metrics.mean_scores(read(path, rows)).values()
        return [((model, baseline), _sign(*pair) if pair else None) for pair in means]
    rows = judgments.read(path) if form == "own" else []
    if rows and rows[0]["kind"] != "grade":
        models = str(rows[0]["model"]), str(rows[0]["baseline"])
        return [(models, won) for won in own.outcomes(rows).values()]
    raise InputError(f"{path}: its rows grade one model at a time, ratings need comparisons")


def _sign(one: float | None, other: float) -> float | None:
    return None if one is None else 1.0 if one > other else 0.5 if one == other else 0.0


def ratings(fought: Sequence[Battle], rounds: int = 100) -> list[Rating]:
    """Bradley-Terry ratings with bootstrap intervals, best first.

    Battles are drawn ``rounds`` times with replacement from seed 0, whatever order they come in;
    the interval is from the 2.5th to the 97.5th percentile, the rating that of the full data.

    Raises:
        InputError: there is no battle, or some models are not connected by any.
    """
    counts = Counter(fought)
    kinds = sorted(counts)
    models = sorted({name for battle in kinds for name in (battle.one, battle.two)})
    place = {model: at for at, model in enumerate(models)}
    frequency = np.array([counts[kind] for kind in kinds], float)
    ends = np.array([(place[kind.one], place[kind.two]) for kind in kinds], int).reshape(-1, 2)
    points = np.array([kind.points for kind in kinds])
    won = _table(ends, points, frequency, len(models))
    _check_connected(won, models)
    best, prior = fit(won)
    random = np.random.default_rng(0)
    draws = random.multinomial(len(fought), frequency / frequency.sum(), size=rounds)
    imagined = _one_tie_each(won)
    drawn = [_fit_drawn(_table(ends, points, draw, len(models)), imagined) for draw in draws]
    lower, upper = np.percentile(drawn, [2.5, 97.5], axis=0)
    record = {model: _record(fought, model) for model in models}
    return [
        Rating(
            model=models[at],
            rating=float(best[at]),
            lower=float(lower[at]),
            upper=float(upper[at]),
            rank=1 + int((lower > upper[at]).sum()),
            n=sum(record[models[at]]),
            wins=record[models[at]][0],
            ties=record[models[at]][1],
            losses=record[models[at]][2],
            prior=prior,
        )
        for at in sorted(range(len(models)), key=lambda at: (-best[at], models[at]))
    ]


def _record(fought: Iterable[Battle], model: str) -> tuple[int, int, int]:
    own = [battle.points for battle in fought if battle.one == model]
    own += [1 - battle.points for battle in fought if battle.two == model]
    return own.count(1.0), own.count(0.5), own.count(0.0)


def _table(
    ends: npt.NDArray[np.int64], points: Array, times: npt.NDArray[Any], models: int
) -> Array:
    """Points (models, models) that the row's model won against the column's."""
    won = np.zeros((models, models))
    np.add.at(won, (ends[:, 0], ends[:, 1]), times * points)
    np.add.at(won, (ends[:, 1], ends[:, 0]), times * (1 - points))
    return won


def fit(won: Array) -> tuple[Array, bool]:
    """Maximum-likelihood ratings (models,) from points won (models, models), and if by a prior.

    Maximises sum_ij won_ij log P(i beats j), P = 1 / (1 + 10^((r_j - r_i) / 400)), a tie being half
    a win and half a loss, without a penalty (Bradley and Terry 1952; "MLE Elo" of FastChat). A
    maximum exists only if everyone is linked to everyone by a chain of wins (Ford 1957): a model
    that won all would rise for ever. If there is none, every pair that met is taken to have tied
    once more, which keeps all ratings finite, and is said.
    """
    prior = not _reaches_all(won > 0)
    if prior:
        won = won + _one_tie_each(won)
    return CENTRE + SCALE / math.log(10) * _log_odds(won), prior


def _one_tie_each(won: Array) -> Array:
    """Points (models, models) of one tie of every pair that met."""
    return np.where(won + won.T > 0, 0.5, 0.0)


def _fit_drawn(won: Array, imagined: Array) -> Array:
    """Ratings from drawn battles; a drawing that has no maximum gets the imagined ties."""
    return fit(won if _reaches_all(won > 0) else won + imagined)[0]


def _log_odds(won: Array) -> Array:
    """Strengths (models,) in natural log odds, with mean 0, by damped Newton steps."""
    games = won + won.T
    found = np.zeros(len(won))

    def loss(strengths: Array) -> float:
        return float((won * np.logaddexp(0, strengths[None, :] - strengths[:, None])).sum())

    for _ in range(200):
        chance = np.exp(-np.logaddexp(0, found[None, :] - found[:, None]))
        gradient = (games * chance - won).sum(axis=1)
        curve = games * chance * (1 - chance)
        # Only differences matter: the mean is pinned by adding 1 along the flat direction.
        hessian = np.diag(curve.sum(axis=1)) - curve + 1 / len(won)
        step = np.linalg.solve(hessian, -gradient)
        length = 1.0
        while loss(found + length * step) > loss(found) + 1e-12 and length > 1e-6:
            length /= 2
        found = found + length * step
        if np.abs(step).max() < 1e-10:
            break
    return found - found.mean()  # type: ignore[no-any-return]


def _reaches_all(edges: npt.NDArray[np.bool_]) -> bool:
    """Whether every model is reached from the first along edges, and the first from every one."""
    return all(len(_reached(side)) == len(edges) for side in (edges, edges.T))


def _reached(edges: npt.NDArray[np.bool_]) -> set[int]:
    reached, edge = {0}, [0]
    while edge:
        new = set(np.flatnonzero(edges[edge.pop()]).tolist()) - reached
        reached |= new
        edge.extend(new)
    return reached


def _check_connected(won: Array, models: Sequence[str]) -> None:
    if not models:
        raise InputError("no judgment was scored, so there is nothing to rate")
    met = _reached(won + won.T > 0)
    if len(met) < len(models):
        alone = next(model for at, model in enumerate(models) if at not in met)
        raise InputError(
            f"{models[0]} and {alone} were never compared, not even by way of others; rate the "
            f"files of each group by themselves"
        )


def online_elo(fought: Iterable[Battle], k: float = 4.0) -> dict[str, float]:
    """Elo ratings updated battle by battle, from 1000 (Elo 1978; FastChat: K = 4, first 32).

    They depend on the order of the battles; Bradley-Terry ratings do not.
    """
    found: dict[str, float] = {}
    for one, two, points in fought:
        first, second = found.setdefault(one, CENTRE), found.setdefault(two, CENTRE)
        change = k * (points - 1 / (1 + 10 ** ((second - first) / SCALE)))
        found[one], found[two] = first + change, second - change
    return found


if __name__ == "__main__":
    command.main(Settings, rating)
