"""One's own judgments of every kind: figures checked by hand, and laws that hold for any."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from benchmarks import metrics, own, recompute
from benchmarks.metrics import Line
from benchmarks.score import Settings, score
from tests.benchmarks.fakes import judgment, write_rows
from ultra.errors import InputError, SettingError

OTHER = {"model": "baseline", "baseline": "model", "tie": "tie", "unscored": "unscored"}
ORDERS = ("model_first", "baseline_first")
Verdicts = list[tuple[str, str]]
Rows = list[dict[str, Any]]
SCORES = {"kind": "pair_scores", "suite": "vicuna_80", "protocol_name": "vicuna_ec_bpc"}
GRADE = {"kind": "grade", "suite": "mt_bench", "baseline": "", "order": ""}
UNSCORED = {"verdict": "unscored", "reason": "no_verdict"}


def chosen(*verdicts: tuple[str, ...], **more: Any) -> Rows:
    """One question for each tuple, one judgment for each order in it."""
    return [
        judgment(id=f"q{number}", order=order, verdict=verdict, reason=reason, **more)
        for number, orders in enumerate(verdicts)
        for order, verdict in zip(ORDERS, orders, strict=True)
        for reason in ["no_verdict" if verdict == "unscored" else ""]
    ]


def scored(id: str, order: str, pair: tuple[float, float] | None, sample: int = 0) -> Any:
    if pair is None:
        return judgment(**SCORES, **UNSCORED, id=id, order=order, sample=sample)
    verdict = "model" if pair[0] > pair[1] else "baseline" if pair[0] < pair[1] else "tie"
    return judgment(**SCORES, id=id, order=order, sample=sample, verdict=verdict, scores=list(pair))


def side(points: float) -> str:
    return "model" if points > 0.5 else "baseline" if points < 0.5 else "tie"


def line_of(rows: Rows) -> Line:
    return recompute.own_judgments(rows).line


def test_a_win_rate_worked_out_by_hand() -> None:
    line = line_of(
        chosen(
            ("model", "model"),  # 1
            ("model", "baseline"),  # 0.5
            ("baseline", "baseline"),  # 0
            ("tie", "model"),  # 0.75
        )
    )
    assert (line["n"], line["unscored"]) == (4, 0)
    assert (line["n_wins"], line["n_draws"], line["n_wins_base"]) == (2, 1, 1)
    assert (line["win_rate"], line["discrete_win_rate"]) == (56.25, 62.5)
    # Squared deviations .19140625 + .00390625 + .31640625 + .03515625 = .546875;
    # sqrt(.546875 / 3) = .4269563, over sqrt(4): .2134781
    assert line["standard_error"] == pytest.approx(21.34781)
    assert line["flip_rate"] == 50.0


@pytest.mark.parametrize("partner", ["model", "baseline", "tie", "unscored"])
def test_a_choice_with_an_unscored_order_is_left_out_whole(partner: str) -> None:
    rows = chosen(("model", "model"), ("unscored", partner), ("baseline", "baseline"))
    line = line_of(rows)
    assert (line["n"], line["unscored"], line["win_rate"]) == (2, 1, 50.0)
    assert (line["n_wins"], line["n_wins_base"], line["flip_rate"]) == (1, 1, 0.0)
    assert line["one_order"] == int(partner != "unscored")


@pytest.mark.parametrize("partner", ["unscored", "model"])
def test_nothing_scored_gives_no_number(partner: str) -> None:
    result = recompute.own_judgments(chosen(("unscored", partner)))
    assert (result.line["n"], result.line["unscored"]) == (0, 1)
    assert result.line["win_rate"] is None
    assert result.line["flip_rate"] is None
    assert result.measure.value is None


@given(st.lists(st.tuples(*[st.sampled_from(sorted(OTHER))] * 2), min_size=1, max_size=30))
@hypothesis_settings(deadline=None, database=None, max_examples=50)
def test_swapping_model_and_baseline_mirrors_the_win_rate(verdicts: Verdicts) -> None:
    line = line_of(chosen(*verdicts))
    mirrored = line_of(chosen(*((OTHER[one], OTHER[two]) for one, two in verdicts)))
    assert (mirrored["n"], mirrored["unscored"]) == (line["n"], line["unscored"])
    assert (mirrored["n_wins"], mirrored["n_draws"]) == (line["n_wins_base"], line["n_draws"])
    if line["win_rate"] is not None:
        assert mirrored["win_rate"] == pytest.approx(100 - line["win_rate"])


def test_a_judge_that_only_sees_positions_moves_no_win_rate() -> None:
    line = line_of(chosen(*[("model", "baseline")] * 27))
    assert (line["win_rate"], line["standard_error"], line["n_draws"]) == (50.0, 0.0, 27)
    assert line["flip_rate"] == 100.0


def test_percent_with_one_call_an_order_is_openchats() -> None:
    rows = [
        scored("1", "model_first", (9, 6)),
        scored("1", "baseline_first", (7, 8)),  # 8 to 7
        scored("2", "model_first", (5, 10)),
        scored("2", "baseline_first", None),  # 5 to 10, as n_ok is 1
        scored("3", "model_first", None),
        scored("3", "baseline_first", None),
    ]
    line = line_of(rows)
    assert (line["n"], line["unscored"], line["one_order"]) == (2, 1, 1)
    assert (line["total_model"], line["total_baseline"]) == (13, 17)
    assert line["percent"] == pytest.approx(100 * 13 / 17)
    assert (line["wins"], line["ties"], line["losses"]) == (1, 0, 1)


def test_neither_order_weighs_more_where_more_of_its_samples_were_read() -> None:
    rows = [scored("1", "model_first", (10, 4), sample) for sample in range(3)]
    rows += [
        scored("1", "baseline_first", pair, at) for at, pair in enumerate([None, (4, 10), None])
    ]
    line = line_of(rows)
    assert (line["total_model"], line["total_baseline"], line["ties"]) == (7, 7, 1)
    even = [
        scored("1", order, pair, at) for order in ORDERS for at, pair in enumerate([(8, 6), (6, 6)])
    ]
    assert (line_of(even)["total_model"], line_of(even)["total_baseline"]) == (7, 6)


def test_zero_is_a_score() -> None:
    line = line_of([scored("1", "model_first", (0, 8)), scored("2", "model_first", (8, 8))])
    assert (line["n"], line["percent"], line["losses"]) == (2, 50.0, 1)


def test_weighted_preferences_by_alpaca_evals_formulae() -> None:
    row = {"kind": "pair_weighted", "suite": "alpaca_eval_2", "protocol_name": "alpaca_eval_2"}
    rows = [
        judgment(**row, id="1", verdict="model", preference=1.9, characters=100),
        judgment(**row, id="2", verdict="baseline", preference=1.2, characters=51),
        judgment(**row, id="3", verdict="tie", preference=1.5, tries=0, text=""),
        judgment(**row, **UNSCORED, id="4"),
    ]
    line = line_of(rows)
    assert line["win_rate"] == pytest.approx(100 * (0.9 + 0.2 + 0.5) / 3)
    assert (line["n"], line["unscored"], line["discrete_win_rate"]) == (3, 1, 50.0)
    assert (line["n_wins"], line["n_draws"], line["n_wins_base"]) == (1, 1, 1)
    assert (line["avg_length"], line["lc_win_rate"]) == (42, None)


def test_length_control_of_own_preferences_is_that_of_the_instructions(
    golden: Path, tmp_path: Path
) -> None:
    from benchmarks import published

    path = golden / "alpaca_eval/weighted_alpaca_eval_gpt4_turbo/vicuna-13b.json.gz"
    upstream = published.rows(path)
    index = {row["instruction"]: number for number, row in enumerate(upstream, 1)}
    from benchmarks import length_control

    reference = length_control.load(golden.parent / "benchmarks")
    rows = [
        judgment(
            kind="pair_weighted",
            suite="alpaca_eval_2",
            id=str(reference.index[one.instruction] + 1),
            verdict=side(one.preference),
            preference=one.preference + 1,
            characters=one.model_length,
            baseline_characters=one.baseline_length,
        )
        for one in published.annotations(path, upstream)
        if one.preference is not None
    ]
    assert len(index) == len(rows) == 805
    file = write_rows(tmp_path / "judged-by-j-p.jsonl", rows[::-1])
    folder = golden.parent / "benchmarks"
    ours, theirs = score(
        Settings("alpaca_eval_2", [file, path], lc_C=2.782559402207126, benchmarks_dir=folder)
    )
    if ours["model"] != "mine":  # published ones come first
        ours, theirs = theirs, ours
    for name in ("win_rate", "standard_error", "lc_win_rate", "avg_length", "n"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-9), name


def test_mt_bench_grades_of_two_turns() -> None:
    grades = [("81", 1, 8.0), ("81", 2, 6.0), ("111", 1, 10.0), ("111", 2, None)]
    rows = [
        judgment(**GRADE, id=id, turn=turn, verdict="graded", scores=[grade])
        if grade is not None
        else judgment(**GRADE, **UNSCORED, id=id, turn=turn)
        for id, turn, grade in grades
    ]
    line = line_of(rows)
    assert (line["turn_1"], line["turn_2"], line["average"]) == (9, 6, 8)
    assert (line["n"], line["unscored"], line["flip_rate"]) == (3, 1, None)


def test_mt_bench_comparisons_tie_where_orders_disagree() -> None:
    pairs = [("model", "model"), ("model", "baseline"), ("model", "tie"), ("baseline",) * 2]
    line = line_of(chosen(*pairs, ("model", "unscored"), suite="mt_bench", turn=1))
    assert (line["win"], line["tie"], line["loss"], line["unscored"]) == (1, 2, 1, 1)
    assert (line["win_rate"], line["adjusted_win_rate"]) == (25.0, 50.0)


def test_parts_have_lines_of_their_own() -> None:
    rows = chosen(("model", "model"), ("baseline", "baseline"))
    for row, category, difficulty in zip(rows, "aabb", (3, 3, 10, 10), strict=True):
        row |= {"category": category, "difficulty": difficulty}
    line = line_of(rows)
    assert {name: part["win_rate"] for name, part in line["by_category"].items()} == {
        "a": 100.0,
        "b": 0.0,
    }
    assert {name: part["n"] for name, part in line["by_difficulty"].items()} == {"3": 1, "10": 1}


def test_any_order_of_rows_gives_the_same_line() -> None:
    rows = chosen(("model", "tie"), ("baseline", "model"), ("tie", "tie"))
    mixed = [scored(str(n), order, (n % 7, 5.5)) for n in range(12) for order in ORDERS]
    for some in (rows, mixed):
        assert line_of(some[::-1]) == line_of(some)
        assert list(line_of(some[::-1])["by_category"]) == list(line_of(some)["by_category"])


def test_habits_of_a_judge() -> None:
    rows = chosen(("model", "model"), ("baseline", "baseline"), ("tie", "tie"))
    lengths = {"q0": 30, "q1": 10, "q2": 20}
    rows = [{**row, "characters": lengths[row["id"]], "baseline_characters": 20} for row in rows]
    line = line_of(rows)
    assert line["length_correlation"] == pytest.approx(1.0)
    assert (line["characters"], line["prompt_tokens"], line["completion_tokens"]) == (20, 60, 12)
    assert line["usd"] is None
    assert line_of([{**row, "usd": 0.1} for row in rows])["usd"] == pytest.approx(0.6)


def test_replies_that_the_published_parser_reads_otherwise_are_counted() -> None:
    text = "At first I thought [[B]].\n[[A]]"  # FastChat's takes [[A]] wherever it is
    rows = chosen(("model", "baseline"))
    assert line_of([{**row, "text": text} for row in rows])["read_differently"] == 0
    rows = [{**row, "text": "Not [[A]], no.\n[[B]]"} for row in rows]
    assert line_of(rows)["read_differently"] == 2


def files_of(folder: Path, *panels: Iterable[dict[str, Any]]) -> list[Path]:
    return [write_rows(folder / f"judged-by-{at}.jsonl", rows) for at, rows in enumerate(panels)]


def test_several_judges_are_a_panel(tmp_path: Path) -> None:
    pairs = [("model", "model"), ("baseline", "baseline")]
    one, two = chosen(*pairs, judge="a"), chosen(pairs[0], pairs[0], judge="b")
    three = chosen(pairs[0], pairs[0], judge="c")
    files = files_of(tmp_path, one, two, three)
    settings = Settings("small.jsonl", files, panel=True)
    (line,) = score(settings)
    assert (line["judge"], line["win_rate"], line["n"]) == ("a + b + c", 100.0, 2)
    with pytest.raises(SettingError, match="two judges or more"):
        score(Settings("small.jsonl", files[:1], panel=True))
    copy = write_rows(tmp_path / "judged-by-again.jsonl", one)
    with pytest.raises(SettingError, match="2nd file of judge a"):
        score(Settings("small.jsonl", [*files, copy], panel=True))


def test_intervals_and_paired_differences(tmp_path: Path) -> None:
    better = chosen(*[("model", "model"), ("baseline", "model")] * 20, model="better")
    worse = chosen(*[("model", "baseline"), ("baseline", "baseline")] * 20, model="worse")
    one, two = score(Settings("s.jsonl", files_of(tmp_path, better, worse), bootstrap=200))
    assert one["interval"][0] < one["win_rate"] == 75.0 < one["interval"][1]
    found = one["differences"]["worse"]
    assert (found["n"], found["difference"], found["lower"], found["upper"]) == (40, 50, 50, 50)
    assert two["differences"]["better"]["difference"] == -50


def test_own_judgments_can_be_read_again_from_their_words(tmp_path: Path) -> None:
    rows = chosen(("model", "model"))
    rows[1] |= {"verdict": "baseline", "text": "[[A]]"}
    cut = judgment(id="q2", verdict="unscored", reason="length", text="[[A]]")
    file = write_rows(tmp_path / "judged-by-j-p.jsonl", [*rows, cut])
    rows[1]["verdict"] = "model"
    (line,) = score(Settings("s.jsonl", [file], reparse=True))
    # model_first: [[A]] is the model; baseline_first: [[A]] is the baseline. The cut one stays.
    assert (line["win_rate"], line["n"], line["unscored"]) == (50.0, 1, 1)


def test_judgments_of_another_suite_are_refused(tmp_path: Path) -> None:
    (file,) = files_of(tmp_path, [judgment(suite="starter")])
    with pytest.raises(InputError, match="judgments of suite starter, not of vicuna_80"):
        score(Settings("vicuna_80", [file]))


def test_means_need_no_statistics_module() -> None:
    assert metrics.mean([1.0, 2.0, 6.0]) == 3.0
    assert metrics.standard_deviation([1.0, 2.0, 6.0]) == pytest.approx(7**0.5)
    assert own.flip_rate([judgment()]) is None  # one order cannot flip
