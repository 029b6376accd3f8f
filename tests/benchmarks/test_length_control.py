"""Length control: the optimum, the published figures, and rows that may come in any order."""

import csv
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import length_control, published
from benchmarks.length_control import FOLDS, Controlled, Reference, control, fit
from benchmarks.published import Annotation
from ultra.errors import InputError, SettingError

Fitting = tuple[length_control.Array, length_control.Array, length_control.Array]


def some_rows(seed: int) -> Fitting:
    draw = np.random.default_rng(seed)
    features = np.column_stack(
        [np.tanh(draw.normal(size=300)), draw.normal(size=300), np.ones(300)]
    )
    return features, draw.random(300), draw.choice([0.0, 0.1, 1.0], size=300)


@pytest.fixture
def reference() -> Reference:
    """Sixty instructions, and two gamed models on each."""
    draw = np.random.default_rng(1)
    index = {f"question {n}": n for n in range(60)}
    places = np.array([*range(60), *range(60)])
    difficulty = draw.normal(size=60)
    lengths = np.tanh(draw.normal(size=120))
    features = np.column_stack([lengths, difficulty[places], np.zeros(120)])
    chances = 1 / (1 + np.exp(2 * lengths))
    return Reference(index, difficulty, features, chances, places % FOLDS, "published")


@pytest.fixture
def judged(reference: Reference) -> list[Annotation]:
    """A model that writes more, and wins where it does."""
    draw = random.Random(2)
    rows = []
    for text in reference.index:
        length = draw.randrange(50, 400)
        preference = min(1.0, max(0.0, length / 500 + draw.random() / 4))
        rows.append(Annotation(text, "new", "base", preference, length, 150))
    return rows


@pytest.mark.parametrize("c", [1e-4, 0.01, 0.36, 21.5, 1e4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fit_is_the_optimum(seed: int, c: float) -> None:
    features, targets, weights = some_rows(seed)
    found = fit(features, targets, weights, c)
    chance = 1 / (1 + np.exp(-features @ found))
    slope = c * features.T @ (weights * (chance - targets))
    for coefficient, at in zip(found, slope, strict=True):
        if coefficient:  # the penalty's slope, of 1 either way, holds the loss's
            assert at == pytest.approx(-np.sign(coefficient), abs=1e-6)
        else:
            assert abs(at) <= 1 + 1e-6


def test_the_fit_is_that_of_liblinear() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, targets, weights = some_rows(3)
    for c in (0.05, 1.0, 50.0):
        model = linear_model.LogisticRegression(
            C=c, l1_ratio=1, solver="liblinear", fit_intercept=False, tol=1e-10, max_iter=10_000
        )
        twice = np.concatenate([features, features])
        shares = np.concatenate([weights * targets, weights * (1 - targets)])
        model.fit(twice, np.repeat([1, 0], len(features)), sample_weight=shares)
        assert fit(features, targets, weights, c) == pytest.approx(model.coef_[0], abs=1e-5)


def test_a_feature_that_is_always_zero_gets_no_weight() -> None:
    features, targets, weights = some_rows(4)
    features[:, 1] = 0
    assert fit(features, targets, weights, 1.0)[1] == 0


def test_rows_may_come_in_any_order(reference: Reference, judged: list[Annotation]) -> None:
    shuffled = random.Random(0).sample(judged, len(judged))
    assert control(shuffled, reference) == control(judged, reference)
    one, two = (length_control.bootstrap(rows, reference, 1.0, 20) for rows in (judged, shuffled))
    assert one == two
    assert one is not None
    assert one[0] > 0


def test_a_missing_row_does_not_move_the_others(
    reference: Reference, judged: list[Annotation]
) -> None:
    rows = length_control._rows(judged[1:], reference)
    every = length_control._rows(judged, reference)
    assert (rows.difficulty == every.difficulty[1:]).all()
    assert (rows.folds == every.folds[1:]).all()
    found = control(judged[::2], reference, 1.0)
    assert found is not None
    assert 0 < found.win_rate < 100


def test_what_length_won_is_taken_off(reference: Reference, judged: list[Annotation]) -> None:
    found = control(judged, reference, 100.0)
    assert found is not None
    raw = 100 * sum(row.preference or 0 for row in judged) / len(judged)
    assert found.win_rate < raw - 2


def test_unscored_rows_leave_the_fit_and_stay_in_the_mean(
    reference: Reference, judged: list[Annotation]
) -> None:
    holed = [judged[0]._replace(preference=None), *judged[1:]]
    rows = length_control._rows(holed, reference)
    _, preferences, weights = length_control._design(rows, reference)
    assert (weights[0], preferences[0], weights[1]) == (0, 0, 1)
    assert control(holed, reference, 1.0) != control(judged, reference, 1.0)
    assert len(length_control._predict(np.zeros(3), rows)) == len(judged)


def test_the_baseline_against_itself_has_half(
    reference: Reference, judged: list[Annotation]
) -> None:
    same = [row._replace(model="base") for row in judged]
    assert control(same, reference) == Controlled(50.0, 0.0, None)
    assert length_control.bootstrap(same, reference, 1.0, 2) == (0, (50, 50))


def test_what_cannot_be_fitted_is_no_number(reference: Reference, judged: list[Annotation]) -> None:
    alike = [row._replace(model_length=9) for row in judged]
    unscored = [row._replace(preference=None) for row in judged]
    for rows in ([], judged[:1], alike, unscored):
        assert control(rows, reference) is None


def test_an_unknown_instruction_is_one_clear_error(
    reference: Reference, judged: list[Annotation]
) -> None:
    with pytest.raises(InputError, match="1 instructions of new are none of AlpacaEval's"):
        control([*judged, judged[0]._replace(instruction="mine")], reference)


def expected(golden: Path) -> list[tuple[dict[str, str], Path]]:
    folder = golden / "alpaca_eval"
    with (folder / "expected.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [(row, folder / row["annotator"] / f"{row['model']}.json.gz") for row in rows]


def test_published_figures_and_the_published_choice_of_c(golden: Path) -> None:
    reference = length_control.load(golden.parent / "benchmarks")
    assert reference.source == "equivalent"
    cases = expected(golden)
    assert len(cases) == 3
    for row, path in cases:
        rows = published.annotations(path, published.rows(path))
        found = control(rows, reference, float(row["lc_C"]))
        assert found is not None
        assert found.win_rate == pytest.approx(float(row["lc_winrate"]), abs=0.003)
        own = control(random.Random(0).sample(rows, len(rows)), reference)
        assert own is not None
        assert own.c == pytest.approx(float(row["lc_C"]))
        assert own.win_rate == pytest.approx(found.win_rate, abs=1e-9)


def test_the_published_error_is_several_times_too_small(golden: Path) -> None:
    reference = length_control.load(golden.parent / "benchmarks")
    row, path = next(one for one in expected(golden) if one[0]["model"] == "NullModel")
    rows = published.annotations(path, published.rows(path))
    found = control(rows, reference, float(row["lc_C"]))
    assert found is not None
    assert found.standard_error == pytest.approx(0.14, abs=0.005)  # notes/judging.md, 2.4
    drawn = length_control.bootstrap(rows, reference, float(row["lc_C"]), 100)
    assert drawn is not None
    error, (lower, upper) = drawn
    assert error == pytest.approx(0.81, abs=0.12)
    assert upper - lower == pytest.approx(4 * error, rel=0.2)


def test_equivalents_can_be_refused_and_are_held_to_their_digest(
    golden: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="equivalents need --lc-data any"):
        length_control.load(golden.parent / "benchmarks", "published")
    shutil.copytree(golden.parent / "benchmarks/alpaca_eval", tmp_path / "alpaca_eval")
    gamed = tmp_path / "alpaca_eval/df_gamed_surrogate.csv"
    gamed.chmod(0o644)
    gamed.write_bytes(gamed.read_bytes() + b"\n")
    with pytest.raises(InputError, match=r"df_gamed_surrogate\.csv: is not the published file"):
        length_control.load(tmp_path)
    (tmp_path / "alpaca_eval/instruction_difficulty.csv").write_text("index\n")
    (tmp_path / "alpaca_eval/df_gamed.csv").write_text("index\n")
    with pytest.raises(InputError, match=r"instruction_difficulty\.csv: is not the published file"):
        length_control.load(tmp_path)


def test_a_folder_without_the_files_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="length control needs alpaca_eval/alpaca_eval"):
        length_control.load(tmp_path)
