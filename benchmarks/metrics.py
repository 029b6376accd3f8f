"""The published evaluations' figures: pure functions from judgments, each with its source and unit.

Every one leaves out what is unscored and says how much that was. Figures of judgments of one's own
are in ``benchmarks.score``.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.published import Game, Grade, Review, Winner


@dataclass(frozen=True)
class Preference:
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
        win_rate=100 * statistics.fmean(points) if n else None,
        standard_error=100 * statistics.stdev(points) / n**0.5 if n > 1 else None,
        n_wins=wins,
        n_wins_base=n - wins - draws,
        n_draws=draws,
        discrete_win_rate=100 * (wins + draws / 2) / n if n else None,
    )


@dataclass(frozen=True)
class Totals:
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

    The mean over its calls that were scored, whatever their order and number, as in OpenChat's and
    in Wang et al.'s (arXiv 2305.17926) evaluations.
    """
    calls: dict[str, list[tuple[float, float]]] = {}
    for review in reviews:
        calls.setdefault(review.question, []).extend([review.scores] if review.scores else [])
    return {
        question: (statistics.fmean(one for one, _ in of), statistics.fmean(two for _, two in of))
        if of
        else None
        for question, of in calls.items()
    }


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
    means = {name: statistics.fmean(of) if of else None for name, of in turns.items()}
    return {"n": len(scored), "unscored": len(every) - len(scored), **means}


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
