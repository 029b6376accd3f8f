"""The published evaluations' figures: pure functions from judgments, each with its source and unit.

Every one leaves out what is unscored and says how much that was. Judgments of one's own come here,
too, by way of ``benchmarks.own``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.published import Game, Grade, Review, Winner

Line = dict[str, Any]


def mean(values: Sequence[float]) -> float:
    """The mean, from an exact sum. Importing ``statistics`` takes longer than a table here."""
    return math.fsum(values) / len(values)


def standard_deviation(values: Sequence[float]) -> float:
    """The sample standard deviation (ddof 1) of two values or more."""
    middle = mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))


class Measure(NamedTuple):
    """The one figure that a model is ranked by: ``unit`` times a ratio of sums over questions.

    ``parts`` has what each scored question adds above and below the line, so that questions can be
    drawn again for an interval, or be held against those of another model.
    """

    name: str
    unit: float
    parts: dict[str, tuple[float, float]]

    @property
    def value(self) -> float | None:
        above, below = (math.fsum(part[side] for part in self.parts.values()) for side in (0, 1))
        return self.unit * above / below if below else None


class Scored(NamedTuple):
    """One model's line of a table, and the measure behind its main figure."""

    line: Line
    measure: Measure


class Preference(NamedTuple):
    """AlpacaEval's metrics of one model: rates and the standard error in percent."""

    n: int
    unscored: int
    win_rate: float | None
    standard_error: float | None
    n_wins: int
    n_wins_base: int
    n_draws: int
    discrete_win_rate: float | None


def preference_score(preferences: Iterable[float | None]) -> Preference:
    """What ``metrics/winrate.py`` of AlpacaEval computes, from preferences of 0 to 1.

    The win rate is their mean, so that a judge's doubt counts; the discrete one takes 1 for more
    than half, 0.5 for exactly half. None is unscored and counts nowhere.
    """
    every = list(preferences)
    points = [point for point in every if point is not None]
    n = len(points)
    wins, draws = sum(point > 0.5 for point in points), points.count(0.5)
    return Preference(
        n=n,
        unscored=len(every) - n,
        win_rate=100 * mean(points) if n else None,
        standard_error=100 * standard_deviation(points) / n**0.5 if n > 1 else None,
        n_wins=wins,
        n_wins_base=n - wins - draws,
        n_draws=draws,
        discrete_win_rate=100 * (wins + draws / 2) / n if n else None,
    )


def preference_measure(points: Mapping[str, float | None]) -> Measure:
    """The win rate in percent, from the points of each question."""
    parts = {name: (point, 1.0) for name, point in points.items() if point is not None}
    return Measure("win_rate", 100.0, parts)


class Totals(NamedTuple):
    """Scores of 1 to 10 added up over questions; ``percent`` is the model's of the baseline's."""

    n: int
    unscored: int
    total_model: float
    total_baseline: float
    percent: float | None
    wins: int
    ties: int
    losses: int


def mean_scores(reviews: Iterable[Review]) -> dict[str, tuple[float, float] | None]:
    """Scores (model's, baseline's) of each question, None if it is unscored.

    The mean over the calls of an order that were scored, then over the orders: with one call each
    OpenChat's formula, and with k that of Wang et al. (arXiv 2305.17926, "EC + BPC"), but that
    neither position weighs more where more of its calls were scored.
    """
    calls: dict[str, dict[bool, list[tuple[float, float]]]] = {}
    for review in reviews:
        orders = calls.setdefault(review.question, {})
        if review.scores:
            orders.setdefault(review.model_first, []).append(review.scores)
    return {
        question: _mean_pair([_mean_pair(of) for of in orders.values()]) if orders else None
        for question, orders in calls.items()
    }


def _mean_pair(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return mean([one for one, _ in pairs]), mean([two for _, two in pairs])


def totals(reviews: Iterable[Review]) -> Totals:
    """Vicuna's percentage, 100 sum(model) / sum(baseline) over questions (LMSYS blog, March 2023).

    A win is a higher score; the means of :func:`mean_scores` are compared.
    """
    by_question = mean_scores(reviews)
    means = [pair for pair in by_question.values() if pair]
    model, baseline = (math.fsum(pair[side] for pair in means) for side in (0, 1))
    return Totals(
        n=len(means),
        unscored=len(by_question) - len(means),
        total_model=model,
        total_baseline=baseline,
        percent=100 * model / baseline if baseline else None,
        wins=sum(one > two for one, two in means),
        ties=sum(one == two for one, two in means),
        losses=sum(one < two for one, two in means),
    )


def totals_measure(reviews: Iterable[Review]) -> Measure:
    """Vicuna's percentage, from the scores of each question."""
    parts = {question: pair for question, pair in mean_scores(reviews).items() if pair}
    return Measure("percent", 100.0, parts)


def chained_percent(of_pivot: float, pivot: float) -> float:
    """A percentage of a baseline by way of a pivot that was compared with both (Vicuna blog).

    Alpaca-13B has 82.8 % of Vicuna-13B's, which has 92.1 % of ChatGPT's: 76.2 %.
    """
    return of_pivot * pivot / 100


def grade_score(grades: Iterable[Grade]) -> dict[str, int | float | None]:
    """MT-bench's ``turn_1``, ``turn_2`` and ``average``, from 0 to 10 (``show_result.py``).

    The average is over the rows of both turns, so it is no mean of the two if one has more.
    """
    every = list(grades)
    scored = [(grade.turn, grade.score) for grade in every if grade.score is not None]
    turns: dict[str, list[float]] = {
        "turn_1": [score for turn, score in scored if turn == 1],
        "turn_2": [score for turn, score in scored if turn == 2],
        "average": [score for _, score in scored],
    }
    means = {name: mean(of) if of else None for name, of in turns.items()}
    return {"n": len(scored), "unscored": len(every) - len(scored), **means}


def grade_measure(grades: Iterable[Grade]) -> Measure:
    """MT-bench's average, from 0 to 10; both turns of a question are drawn together."""
    parts: dict[str, tuple[float, float]] = {}
    for grade in grades:
        if grade.score is not None:
            above, below = parts.get(grade.question, (0.0, 0.0))
            parts[grade.question] = above + grade.score, below + 1
    return Measure("average", 1.0, parts)


def winner(game: Game) -> Winner | None:
    """Who won in both orders; a tie if they disagree, None if one was unscored (MT-bench)."""
    one, two = game.winners
    if one is None or two is None:
        return None
    return one if one == two else "tie"


def game_score(games: Iterable[Game], model: str) -> dict[str, int | float | None]:
    """MT-bench's ``win``, ``loss``, ``tie``, and in percent its rates (``show_result.py``).

    ``win_rate`` is wins of all games, ``adjusted_win_rate`` takes a tie for half a win.
    """
    played = [game for game in games if model in (game.model_1, game.model_2)]
    results = [(game, winner(game)) for game in played]
    won = [getattr(game, side) for game, side in results if side in ("model_1", "model_2")]
    win, tie = won.count(model), sum(side == "tie" for _, side in results)
    n = len(won) + tie
    return {
        "n": n,
        "unscored": len(played) - n,
        "win": win,
        "loss": n - win - tie,
        "tie": tie,
        "win_rate": 100 * win / n if n else None,
        "adjusted_win_rate": 100 * (win + tie / 2) / n if n else None,
    }


def game_measure(games: Iterable[Game], model: str) -> Measure:
    """MT-bench's adjusted win rate in percent; all games on a question are drawn together."""
    parts: dict[str, tuple[float, float]] = {}
    for game in games:
        side = winner(game)
        if side is not None and model in (game.model_1, game.model_2):
            won = 0.5 if side == "tie" else float(getattr(game, side) == model)
            above, below = parts.get(game.question, (0.0, 0.0))
            parts[game.question] = above + won, below + 1
    return Measure("adjusted_win_rate", 100.0, parts)
