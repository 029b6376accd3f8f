"""Bradley-Terry ratings: the maximum, where there is one, and finite where there is none."""

import json
from itertools import combinations, pairwise
from math import log10
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks import rating, recompute
from benchmarks.rating import Battle, battles, online_elo, ratings
from tests.benchmarks.fakes import judgment, write_rows
from ultra.errors import InputError, SettingError

WIN, TIE, LOSS = 1.0, 0.5, 0.0


def rated(fought: list[Battle]) -> dict[str, float]:
    return {one.model: one.rating for one in ratings(fought, 2)}


def test_two_models() -> None:
    found = ratings([Battle("a", "b", WIN)] * 3 + [Battle("b", "a", WIN)])
    assert [(one.model, one.n, one.wins, one.ties, one.losses) for one in found] == [
        ("a", 4, 3, 0, 1),
        ("b", 4, 1, 0, 3),
    ]
    assert found[0].rating - found[1].rating == pytest.approx(400 * log10(3))
    assert (found[0].rating + found[1].rating) / 2 == pytest.approx(1000)
    assert not found[0].prior


def test_a_tie_is_half_a_win() -> None:
    ties = rated([Battle("a", "b", WIN), Battle("a", "b", TIE)])
    wins = rated([Battle("a", "b", WIN)] * 3 + [Battle("a", "b", LOSS)])
    assert ties == pytest.approx(wins)


def test_a_model_that_won_all_stays_finite_and_it_is_said() -> None:
    found = ratings([Battle("a", "b", WIN)] * 5)
    assert all(one.prior for one in found)
    # Five wins and an imagined tie: 5.5 to 0.5.
    assert found[0].rating - found[1].rating == pytest.approx(400 * log10(11))
    assert found[0].lower <= found[0].rating <= found[0].upper


def test_drawings_without_a_maximum_stay_finite() -> None:
    fought = [Battle("a", "b", WIN)] * 5 + [Battle("b", "a", WIN), Battle("b", "c", TIE)]
    for one in ratings(fought, 200):
        assert -2000 < one.lower <= one.upper < 4000


def test_ranks_are_beyond_doubt() -> None:
    fought = [Battle("a", "c", WIN), Battle("b", "c", WIN)] * 200
    fought += [Battle("c", "a", WIN), Battle("c", "b", WIN)] * 20
    fought += [Battle("a", "b", WIN), Battle("b", "a", WIN)] * 20
    assert [(one.model, one.rank) for one in ratings(fought)] == [("a", 1), ("b", 1), ("c", 3)]


@pytest.mark.parametrize(
    ("fought", "message"),
    [
        ([], "nothing to rate"),
        ([Battle("a", "b", WIN), Battle("c", "d", WIN)], "a and c were never compared"),
    ],
)
def test_what_cannot_be_rated_is_one_clear_error(fought: list[Battle], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ratings(fought)


POINTS = st.sampled_from([WIN, TIE, LOSS])


@given(st.lists(st.tuples(st.sampled_from(list(combinations("abcd", 2))), POINTS), max_size=30))
@hypothesis_settings(deadline=None, database=None, max_examples=50)
def test_expected_points_are_the_points_won(rest: list[tuple[tuple[str, str], float]]) -> None:
    fought = [Battle(*pair, TIE) for pair in combinations("abcd", 2)]
    fought += [Battle(*pair, points) for pair, points in rest]
    found = rated(fought)
    for model in "abcd":  # at the maximum of the likelihood the score equations hold
        won = expected = 0.0
        for one, two, points in fought:
            chance = 1 / (1 + 10 ** ((found[two] - found[one]) / 400))
            if model in (one, two):
                won += points if model == one else 1 - points
                expected += chance if model == one else 1 - chance
        assert expected == pytest.approx(won, abs=1e-6)
    assert ratings(fought[::-1], 5) == ratings(fought, 5)


def test_online_elo_depends_on_the_order() -> None:
    assert online_elo([Battle("a", "b", WIN)]) == {"a": 1002.0, "b": 998.0}
    assert online_elo([Battle("a", "b", TIE)], k=32) == {"a": 1000.0, "b": 1000.0}
    fought = [Battle("a", "b", WIN), Battle("b", "c", WIN)]
    assert online_elo(fought) != online_elo(fought[::-1])


ROW: dict[str, Any] = {"question_id": 1, "text": "", "generator_1": "base", "generator_2": "new"}
ROW |= {"instruction": "a", "output_1": "", "output_2": "", "model_1": "new", "model_2": "base"}


@pytest.mark.parametrize(
    ("name", "rows", "points"),
    [
        ("a.json", [{"preference": 1.7}, {"preference": 1.5, "instruction": "b"}], [WIN, TIE]),
        ("a.json", [{"preference": 1.2}, {"preference": -1, "instruction": "b"}], [LOSS, None]),
        ("a.json", [{"preference": 1.5, "generator_2": "base"}], []),
        ("review_base_new.jsonl", [{"score": [7, 8]}, {"score": [7, 7]}], [WIN]),
        ("review_base_new.jsonl", [{"score": [-1, -1]}], [None]),
        ("g.jsonl", [{"g1_winner": "model_1", "g2_winner": "model_1"}], [WIN]),
        ("g.jsonl", [{"g1_winner": "model_1", "g2_winner": "model_2"}], [TIE]),
        ("g.jsonl", [{"g1_winner": "model_2", "g2_winner": "error"}], [None]),
    ],
)
def test_comparisons_of_every_form(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], points: list[float | None]
) -> None:
    keep = {"a.json": (), "g.jsonl": ("instruction",)}.get(name, ("instruction", "model_1"))
    base = {key: value for key, value in ROW.items() if key not in keep}
    path = write_rows(tmp_path / name, [{**base, **row} for row in rows])
    assert battles(path) == [(("new", "base"), point) for point in points]


def test_own_judgments_are_one_comparison_a_question(tmp_path: Path) -> None:
    verdicts = {"1": ["model", "tie"], "2": ["model", "baseline"], "3": ["model", "unscored"]}
    rows = [
        judgment(id=id, order=order, verdict=one, reason="empty" if one == "unscored" else "")
        for id, of in verdicts.items()
        for order, one in zip(("model_first", "baseline_first"), of, strict=True)
    ]
    path = write_rows(tmp_path / "judged-by-j-p.jsonl", rows)
    assert battles(path) == [(("mine", "base"), points) for points in (WIN, TIE, None)]


def test_grades_are_no_comparisons(tmp_path: Path) -> None:
    row = {"question_id": 81, "model": "new", "turn": 1, "score": 7}
    with pytest.raises(InputError, match="grade one model at a time"):
        battles(write_rows(tmp_path / "gpt-4_single.jsonl", [row]))
    ours = judgment(kind="grade", baseline="", order="", verdict="graded", scores=[7])
    with pytest.raises(InputError, match="grade one model at a time"):
        battles(write_rows(tmp_path / "judged-by-j-p.jsonl", [ours]))


def test_the_command_prints_a_line_or_a_row_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    games = [{**ROW, "g1_winner": side, "g2_winner": side} for side in ("model_1", "model_2", "x")]
    for game in games:
        del game["instruction"]
    path = write_rows(tmp_path / "g.jsonl", games)
    rating.rating(rating.Settings([path], json=True, rounds=5))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["model"], line["rating"], line["n"], line["unscored"]) for line in lines] == [
        ("base", 1000, 2, 1),
        ("new", 1000, 2, 1),
    ]
    rating.rating(rating.Settings([path], rounds=5))
    shown = capsys.readouterr().out
    assert shown.count("\n| base    |") == shown.count("\n| new     |") == 1


def test_rounds_are_1_or_more() -> None:
    with pytest.raises(SettingError, match="rounds: 0"):
        rating.Settings([], rounds=0)


def test_golden_judgments(golden: Path) -> None:
    reviews = sorted((golden / "vicuna/review").glob("*.jsonl"))
    fought = [
        Battle(*models, points)
        for path in reviews
        for models, points in battles(path)
        if points is not None
    ]
    found = ratings(fought)
    assert [one.model for one in found] == ["gpt35", "vicuna-13b", "alpaca-13b"]
    # A chain has a closed form: vicuna 14 + 22 / 2 of 80 against gpt35, 76 + 1 / 2 against alpaca.
    gaps = [one.rating - two.rating for one, two in pairwise(found)]
    assert gaps == pytest.approx([400 * log10(55 / 25), 400 * log10(76.5 / 3.5)])


@pytest.mark.parametrize("name", ["vicuna_ec_bpc", "mt_bench_pair"])
def test_wins_ties_and_losses_are_those_of_the_table(tmp_path: Path, name: str) -> None:
    if name == "mt_bench_pair":  # a win and a tie are a tie
        about: dict[str, Any] = {"suite": "mt_bench", "turn": 1}
        calls: list[tuple[str, str, list[float]]] = []
        calls += [("model_first", "model", []), ("baseline_first", "tie", [])]
    else:  # 9 to 1 and twice 5 to 6: one call won, two lost, and the mean is a win
        about = {"kind": "pair_scores", "protocol_name": name}
        calls = [("model_first", "model", [9.0, 1.0]), ("model_first", "baseline", [5.0, 6.0])]
        calls.append(("baseline_first", "baseline", [5.0, 6.0]))
    rows = [
        judgment(**about, order=order, verdict=verdict, scores=scores, sample=sample)
        for sample, (order, verdict, scores) in enumerate(calls)
    ]
    path = write_rows(tmp_path / "judged.jsonl", rows)
    line = recompute.own_judgments(rows).line
    (pair,) = battles(path)
    assert pair == (("mine", "base"), 0.5 if name == "mt_bench_pair" else 1.0)
    assert recompute.record(line) == ((0, 1, 0) if name == "mt_bench_pair" else (1, 0, 0))
