"""Published figures, worked out by hand, and laws that hold for any judgments."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks import metrics
from benchmarks.metrics import Preference, Totals
from benchmarks.published import Game, Grade, Review, Winner

near: Any = pytest.approx  # in the place of a number
Pair = tuple[float, float] | None


def reviews(*scores: tuple[str, Pair]) -> list[Review]:
    return [Review(id, "", pair, "", False, "first_line_scores") for id, pair in scores]


def game(one: Winner | None, two: Winner | None, names: tuple[str, str] = ("a", "b")) -> Game:
    return Game(*names, "81", 1, (one, two), ("", ""))


def test_a_win_rate_counts_doubt_and_a_discrete_one_does_not() -> None:
    found = metrics.preference_score([1.0, 0.75, 0.5, 0.0, None, 0.25])
    # Mean .5; squared deviations .25 + .0625 + 0 + .25 + .0625; sqrt(.625 / 4 / 5) = .1767767
    assert found == Preference(5, 1, 50.0, near(17.67767), 2, 2, 1, 50.0)


@pytest.mark.parametrize("points", [[], [None, None]])
def test_nothing_preferred_gives_no_number(points: list[float | None]) -> None:
    assert metrics.preference_score(points) == Preference(0, len(points), None, None, 0, 0, 0, None)


def test_totals_are_sums_over_questions() -> None:
    found = metrics.totals(reviews(("1", (8, 9)), ("2", (7, 7)), ("3", None), ("4", (0, 0))))
    assert found == Totals(3, 1, 15.0, 16.0, 93.75, wins=0, ties=2, losses=1)


def test_a_question_is_the_mean_of_its_scored_calls() -> None:
    # Formula 3.2: an order that failed is left out of the mean, and is no 0.
    found = metrics.totals(reviews(("1", (8, 6)), ("1", None), ("2", (9, 6)), ("2", (6, 8))))
    assert (found.total_model, found.total_baseline) == (8 + 7.5, 6 + 7)
    assert (found.wins, found.losses, found.unscored) == (2, 0, 0)


def test_nothing_scored_has_no_percentage() -> None:
    assert metrics.totals(reviews(("1", None))).percent is None


def test_the_chained_figure_of_the_blog() -> None:
    assert metrics.chained_percent(100 * 583 / 704, 100 * 638 / 693) == pytest.approx(
        76.24, abs=0.01
    )


def test_grades_are_averaged_over_rows() -> None:
    grades = [Grade("a", str(q), turn, s, "") for q, turn, s in [(1, 1, 8.0), (2, 1, 0.0)]]
    grades += [Grade("a", "1", 2, 10.0, ""), Grade("a", "2", 2, None, "")]
    found = metrics.grade_score(grades)
    assert found == {"n": 3, "unscored": 1, "turn_1": 4.0, "turn_2": 10.0, "average": 6.0}
    assert metrics.grade_score([])["average"] is None


@pytest.mark.parametrize(
    ("one", "two", "who"),
    [
        ("model_1", "model_1", "model_1"),
        ("model_1", "model_2", "tie"),
        ("tie", "model_2", "tie"),
        ("model_2", None, None),
    ],
)
def test_orders_that_disagree_are_a_tie(one: Winner, two: Winner | None, who: str | None) -> None:
    assert metrics.winner(game(one, two)) == who


def test_games_are_counted_from_either_side() -> None:
    games = [
        game("model_1", "model_1"),
        game("model_1", "model_1", ("b", "a")),
        game("tie", "tie"),
        game("model_2", "model_2", ("c", "a")),
        game(None, "tie"),
        game("model_1", "model_1", ("b", "c")),
    ]
    assert metrics.game_score(games, "a") == {
        "n": 4,
        "unscored": 1,
        "win": 2,
        "loss": 1,
        "tie": 1,
        "win_rate": 50.0,
        "adjusted_win_rate": 62.5,
    }


SCORE = st.none() | st.tuples(st.integers(0, 10), st.integers(0, 10))


@given(st.lists(st.tuples(st.sampled_from("abc"), SCORE), max_size=12))
@hypothesis_settings(deadline=None, database=None)
def test_unscored_calls_move_no_total(calls: list[tuple[str, Pair]]) -> None:
    found = metrics.totals(reviews(*calls))
    known = metrics.totals(reviews(*((id, pair) for id, pair in calls if pair)))
    assert found.n + found.unscored == len({id for id, _ in calls})
    assert (found.total_model, found.total_baseline) == (known.total_model, known.total_baseline)
    assert (found.wins, found.ties, found.losses) == (known.wins, known.ties, known.losses)
