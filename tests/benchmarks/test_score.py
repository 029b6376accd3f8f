"""Numbers checked by hand, and laws that hold for any judgments."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks.score import Score, flip_rate, wilson_interval, win_rate

OTHER = {"model": "baseline", "baseline": "model", "tie": "tie", "unscored": "unscored"}
Verdicts = list[tuple[str, str]]


def judgments(*verdicts: tuple[str, ...]) -> list[dict[str, str]]:
    """One question for each tuple, one judgment for each order in it."""
    return [
        {"id": f"q{number}", "verdict": verdict}
        for number, orders in enumerate(verdicts)
        for verdict in orders
    ]


def test_a_win_rate_worked_out_by_hand() -> None:
    rows = judgments(
        ("model", "model"),  # 1
        ("model", "baseline"),  # 0.5
        ("baseline", "baseline"),  # 0
        ("tie", "model"),  # 0.75
    )
    score = win_rate(rows)
    assert (score.n, score.unscored) == (4, 0)
    assert (score.wins, score.ties, score.losses) == (2, 1, 1)
    assert score.win_rate == 56.25
    # Squared deviations .19140625 + .00390625 + .31640625 + .03515625 = .546875;
    # sqrt(.546875 / 3) = .4269563, over sqrt(4): .2134781
    assert score.standard_error == pytest.approx(21.34781)
    assert flip_rate(rows) == 50.0


@pytest.mark.parametrize("partner", ["model", "baseline", "tie", "unscored"])
def test_a_question_with_an_unscored_order_is_left_out_whole(partner: str) -> None:
    rows = judgments(("model", "model"), ("unscored", partner), ("baseline", "baseline"))
    score, alone = win_rate(rows), win_rate(rows[:2] + rows[4:])
    assert score == replace(alone, unscored=1)
    assert (score.n, score.win_rate, score.wins, score.losses) == (2, 50.0, 1, 1)
    assert flip_rate(rows) == 0.0


@pytest.mark.parametrize("rows", [[], judgments(("unscored", "unscored"), ("model", "unscored"))])
def test_nothing_scored_gives_no_number(rows: list[dict[str, str]]) -> None:
    assert win_rate(rows) == Score(0, len(rows) // 2, None, None, 0, 0, 0)
    assert flip_rate(rows) is None


def test_one_question_gives_no_standard_error() -> None:
    assert win_rate(judgments(("tie", "model"))) == Score(1, 0, 75.0, None, 1, 0, 0)


@pytest.mark.parametrize(
    ("verdicts", "interval"),
    [  # 20 of 40, 10 of 10, 0 of 10, and half of one
        ([("model", "model"), ("baseline", "baseline")] * 20, (35.2, 64.8)),
        ([("model", "model")] * 10, (72.2, 100.0)),
        ([("baseline", "baseline")] * 10, (0.0, 27.8)),
        ([("tie", "tie")], (5.5, 94.5)),
    ],
)
def test_the_interval_is_that_of_wilson(verdicts: Verdicts, interval: tuple[float, float]) -> None:
    assert wilson_interval(win_rate(judgments(*verdicts))) == pytest.approx(interval, abs=0.05)


def test_nothing_scored_gives_no_interval() -> None:
    assert wilson_interval(win_rate([])) is None


def test_judgments_may_come_in_any_order() -> None:
    rows = judgments(("model", "model"), ("tie", "baseline"), ("unscored", "model"))
    assert win_rate(rows[::-1]) == win_rate(rows)
    assert flip_rate(rows[::-1]) == flip_rate(rows) == 50.0


VERDICT = st.sampled_from(sorted(OTHER))


@given(st.lists(st.tuples(VERDICT, VERDICT), max_size=30))
@hypothesis_settings(deadline=None, database=None)
def test_swapping_model_and_baseline_mirrors_the_win_rate(verdicts: Verdicts) -> None:
    score = win_rate(judgments(*verdicts))
    mirrored = win_rate(judgments(*((OTHER[one], OTHER[two]) for one, two in verdicts)))
    assert (mirrored.n, mirrored.unscored) == (score.n, score.unscored)
    assert (mirrored.wins, mirrored.ties, mirrored.losses) == (
        score.losses,
        score.ties,
        score.wins,
    )
    assert (mirrored.win_rate is None) == (score.win_rate is None) == (score.n == 0)
    if score.win_rate is not None:
        assert mirrored.win_rate == pytest.approx(100 - score.win_rate)
    if score.standard_error is not None:
        assert mirrored.standard_error == pytest.approx(score.standard_error)


@pytest.mark.parametrize("n", [2, 27])
def test_a_judge_that_only_sees_positions_moves_no_win_rate(n: int) -> None:
    rows = judgments(*[("model", "baseline")] * n)
    assert win_rate(rows) == Score(n, 0, 50.0, 0.0, wins=0, ties=n, losses=0)
    assert flip_rate(rows) == 100.0
