"""Length-controlled win rates (Dubois et al., arXiv 2404.04475; AlpacaEval ``glm_winrate.py``).

A logistic model explains the preferences for one model by the difference in length, the difficulty
of the instruction and the model itself; with the length term left out it predicts what the win rate
would be if both answers were equally long. It is fitted with an L1 penalty, and with two models
that are the baseline told to be verbose or concise, at a small weight. Three coefficients have one
optimum, which is found here exactly; upstream stops liblinear nearby.

Everything is keyed by instruction, so neither the order of rows nor a missing one changes what
another means.
"""

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import orjson

from benchmarks import published, upstream
from benchmarks.published import Annotation
from ultra.errors import InputError, SettingError

Array = npt.NDArray[np.float64]
Accepted = Literal["published", "any"]
Source = Literal["published", "equivalent"]

GAMED_WEIGHT = 0.1
"""Weight of a gamed row: upstream's lambda of 0.2, over two gamed models."""

CHOICES_OF_C = tuple(float(c) for c in np.logspace(-4, 4, 10))
FOLDS = 5
"""An instruction's fold is its index modulo this, whatever else is judged. For all 805 that is what
scikit-learn's GroupKFold gives since its sort is stable; before, folds hung on the processor."""

_INSTRUCTIONS = "alpaca_eval/alpaca_eval_gpt4_baseline.json"
_INSTRUCTIONS_SHA256 = "d02007bfbcc8fcf624c641e8b70d53e82f7d0c061d12cf1b5695357e0d0090ce"
"""Of the instructions alone, as a JSON array in their order, which is their index."""
_FILES: dict[Source, dict[str, str]] = {
    "published": {
        "alpaca_eval/instruction_difficulty.csv": (
            "e28d875bb334f75e17acd1e4ed659b261860e3db379cf5de29060301bed0a18b"
        ),
        "alpaca_eval/df_gamed.csv": (
            "97aeec3f1c7de6dee6fd31fe66f1702623f4614c3efe1c6fc5f4927cd5fd674d"
        ),
    },
    "equivalent": {
        "alpaca_eval/instruction_difficulty_recovered.csv": (
            "78bf1aedbaa078e300bcddc506ff98d8cc885d13699432d3e609d8f55fc39b62"
        ),
        "alpaca_eval/df_gamed_surrogate.csv": (
            "f5a9ac1d48a08df156361e44650679237a053b82c64e43cdab0b1812a4248c6c"
        ),
    },
}
"""Files and their sha256: those of the Hub data set tatsu-lab/alpaca_eval, revision 2edc6fad; and
difficulties recovered from published predictions (to 5e-8) with rows of the same sufficient
statistics as the gamed ones, which reproduce published win rates at a given C to 3e-6 points."""


@dataclass(frozen=True)
class Reference:
    """What the fit needs besides a model's annotations.

    ``index`` of each instruction in AlpacaEval, and ``difficulty`` by that index. The gamed rows:
    features (n, 3) with 0 for "is the model", preferences (n,) from 0 to 1, and folds (n,).
    """

    index: dict[str, int]
    difficulty: Array
    features: Array
    preferences: Array
    folds: npt.NDArray[np.int64]
    source: Source


@dataclass(frozen=True)
class Controlled:
    """A length-controlled win rate, in percent.

    ``standard_error`` is the published kind: the spread of the predictions over instructions, which
    is 2 to 6 times too small for an error of the estimate; :func:`bootstrap` has one.
    """

    win_rate: float
    standard_error: float | None
    c: float | None


@dataclass(frozen=True)
class _Rows:
    """One model's rows: NaN where a preference is unscored."""

    delta: Array
    difficulty: Array
    preferences: Array
    folds: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.int64]) -> "_Rows":
        return _Rows(
            self.delta[rows], self.difficulty[rows], self.preferences[rows], self.folds[rows]
        )


def source(folder: Path | None, accept: Accepted = "any") -> Source | None:
    """Which files are at hand, in ``folder`` or the cache: the published ones, or else others.

    ``accept`` says whether the equivalents may stand in where the published files are not there.
    """
    for name, files in _FILES.items():
        here = all(upstream.local(file, folder) for file in (_INSTRUCTIONS, *files))
        if here and accept in ("any", name):
            return name
    return None


def load(folder: Path | None, accept: Accepted = "any") -> Reference:
    """The instructions, difficulties and gamed rows, as :func:`source` finds them.

    Raises:
        SettingError: they are not at hand.
        InputError: a file has another digest.
    """
    found = source(folder, accept)
    if found is None:
        beside = "" if accept == "any" else "; their equivalents need --lc-data any"
        names = " and ".join(_FILES["published"])
        raise SettingError(
            f"length control needs {_INSTRUCTIONS}, {names}, which are not all there{beside} (get "
            "them: python -m benchmarks.suites --fetch alpaca_eval_2; or set ULTRA_BENCHMARKS_DIR)"
        )
    listed = _instructions(folder)
    (_, *difficulties), gamed_rows = (
        list(csv.reader(_checked(name, folder, digest).decode("utf-8").splitlines()))
        for name, digest in _FILES[found].items()
    )
    gamed = [dict(zip(gamed_rows[0], row, strict=True)) for row in gamed_rows[1:]]
    by_index = {int(row[0]): float(row[1]) for row in difficulties}
    difficulty = np.array([by_index[index] for index in range(len(listed))])
    indices = np.array([int(row["index"]) for row in gamed])
    lengths = np.tanh([float(row["std_delta_len"]) for row in gamed])
    return Reference(
        index={instruction: index for index, instruction in enumerate(listed)},
        difficulty=difficulty,
        features=np.column_stack([lengths, difficulty[indices], np.zeros(len(gamed))]),
        preferences=np.array([float(row["preference"]) for row in gamed]),
        folds=indices % FOLDS,
        source=found,
    )


def _instructions(folder: Path | None) -> list[str]:
    path = upstream.path(_INSTRUCTIONS, folder)
    listed = [row["instruction"] for row in published.rows(path)]
    if hashlib.sha256(orjson.dumps(listed)).hexdigest() != _INSTRUCTIONS_SHA256:
        raise InputError(f"{path}: has its rows in another order than published; get it again")
    return listed


def _checked(name: str, folder: Path | None, sha256: str) -> bytes:
    path = upstream.local(name, folder)
    assert path is not None  # noqa: S101 (it was found before)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise InputError(f"{path}: is not the published file (its sha256 is another); get it again")
    return data


def control(
    annotations: Sequence[Annotation], reference: Reference, c: float | None = None
) -> Controlled | None:
    """The length-controlled win rate of one model, at ``c`` or at the C that cross-validates best.

    None where nothing can be fitted: no scored row, or all answers differ by the same length.

    Raises:
        InputError: an instruction is not among the reference's.
    """
    if annotations and annotations[0].model == annotations[0].baseline:
        return Controlled(50.0, 0.0, None)  # by construction
    rows = _rows(annotations, reference)
    if not _can_be_fitted(rows):
        return None
    c = _cross_validated(rows, reference) if c is None else c
    predicted = 100 * _predict(_fit_rows(rows, reference, c), rows)
    error = float(predicted.std(ddof=1)) / math.sqrt(len(predicted))
    return Controlled(float(predicted.mean()), error, c)


def bootstrap(
    annotations: Sequence[Annotation], reference: Reference, c: float, rounds: int
) -> tuple[float, tuple[float, float]] | None:
    """Standard error and 95 % interval of a length-controlled win rate, in percent, C held fixed.

    The standard deviation and the percentiles over ``rounds`` fits to instructions drawn with
    replacement (Efron 1979); drawn from seed 0 in the order of the instructions, so shuffled rows
    give the same. None if fewer than two drawings can be fitted.
    """
    if annotations and annotations[0].model == annotations[0].baseline:
        return 0.0, (50.0, 50.0)
    rows = _rows(annotations, reference)
    random = np.random.default_rng(0)
    found = []
    for _ in range(rounds):
        drawn = rows.take(random.integers(len(rows.delta), size=len(rows.delta)))
        if _can_be_fitted(drawn):
            found.append(100 * _predict(_fit_rows(drawn, reference, c), drawn).mean())
    if len(found) < 2:
        return None
    lower, upper = np.percentile(found, [2.5, 97.5])
    return float(np.std(found, ddof=1)), (float(lower), float(upper))


def _rows(annotations: Sequence[Annotation], reference: Reference) -> _Rows:
    unknown = [row for row in annotations if row.instruction not in reference.index]
    if unknown:
        raise InputError(
            f"{len(unknown)} instructions of {unknown[0].model} are none of AlpacaEval's, such as "
            f"{unknown[0].instruction[:60]!r}; --lc-data none leaves length control out"
        )
    annotations = sorted(annotations, key=lambda row: reference.index[row.instruction])
    indices = np.array([reference.index[row.instruction] for row in annotations], int)
    preferences = [math.nan if row.preference is None else row.preference for row in annotations]
    return _Rows(
        delta=np.array([row.baseline_length - row.model_length for row in annotations], float),
        difficulty=reference.difficulty[indices],
        preferences=np.array(preferences),
        folds=indices % FOLDS,
    )


def _can_be_fitted(rows: _Rows) -> bool:
    lengths = len({*rows.delta.tolist()})
    return lengths > 1 and not bool(np.isnan(rows.preferences).all())


def _design(rows: _Rows, reference: Reference) -> tuple[Array, Array, Array]:
    """Features (n, 3), preferences (n,) and weights (n,) of the model's rows and the gamed ones.

    Rows without a preference are left out here, but count in the spread of lengths and in the
    mean prediction, as upstream.
    """
    lengths = np.tanh(rows.delta / rows.delta.std(ddof=1))
    own = np.column_stack([lengths, rows.difficulty, np.ones_like(lengths)])
    features = np.concatenate([own, reference.features])
    preferences = np.concatenate([rows.preferences, reference.preferences])
    weights = np.full(len(features), GAMED_WEIGHT)
    weights[: len(own)] = ~np.isnan(rows.preferences)
    return features, np.nan_to_num(preferences), weights


def _fit_rows(rows: _Rows, reference: Reference, c: float) -> Array:
    return fit(*_design(rows, reference), c)


def _predict(coefficients: Array, rows: _Rows) -> Array:
    """Probability (n,) that the model is preferred at equal length."""
    _, difficulty, model = coefficients
    return _sigmoid(difficulty * rows.difficulty + model)


def _cross_validated(rows: _Rows, reference: Reference) -> float:
    """The C of ``CHOICES_OF_C`` with the least log loss on held-out instructions."""
    features, preferences, weights = _design(rows, reference)
    folds = np.concatenate([rows.folds, reference.folds])
    losses = np.zeros(len(CHOICES_OF_C))
    for fold in range(FOLDS):
        held = folds == fold
        for number, c in enumerate(CHOICES_OF_C):
            fitted = fit(features[~held], preferences[~held], weights[~held], c)
            score = features[held] @ fitted
            loss = np.logaddexp(0, score) - preferences[held] * score
            losses[number] += weights[held] @ loss / held.sum()
    return CHOICES_OF_C[int(np.argmin(losses))]


def fit(features: Array, targets: Array, weights: Array, c: float) -> Array:
    """L1-penalised logistic regression on probabilities: coefficients (k,).

    The minimum of sum |b| + C sum_i w_i (log(1 + exp(x_i b)) - y_i x_i b) over features (n, k),
    targets (n,) from 0 to 1 and weights (n,), which is the objective of liblinear's solver 6 (Fan
    et al. 2008). By proximal Newton steps: a quadratic model, its minimum by coordinate descent,
    and a line search (Lee, Sun and Saunders 2014).
    """
    scaled = c * weights
    found = np.zeros(features.shape[1])
    value = _objective(found, features, targets, scaled)
    for _ in range(100):
        chance = _sigmoid(features @ found)
        gradient = features.T @ (scaled * (chance - targets))
        hessian = (features * (scaled * chance * (1 - chance))[:, None]).T @ features
        step = _quadratic_minimum(found, gradient, hessian) - found
        length = 1.0
        while (new := _objective(found + length * step, features, targets, scaled)) > value:
            length /= 2
            if length < 1e-10:
                return found
        found, gain, value = found + length * step, value - new, new
        if np.abs(step).max() < 1e-10 or gain <= 1e-15 * abs(value):
            return found
    return found


def _quadratic_minimum(start: Array, gradient: Array, hessian: Array) -> Array:
    """The minimum of sum |b| + gradient (b - start) + (b - start) hessian (b - start) / 2."""
    found, slope, curves = start.tolist(), gradient.tolist(), hessian.tolist()  # k is 3: no arrays
    for _ in range(1000):
        change = 0.0
        for k, curve in enumerate(curves):
            if curve[k] <= 1e-12:  # nothing here depends on it
                continue
            wanted = found[k] - slope[k] / curve[k]
            new = math.copysign(max(abs(wanted) - 1 / curve[k], 0.0), wanted)
            move = new - found[k]
            slope = [one + move * bend for one, bend in zip(slope, curve, strict=True)]
            found[k] = new
            change = max(change, abs(move))
        if change < 1e-12:
            break
    return np.array(found)


def _objective(found: Array, features: Array, targets: Array, scaled: Array) -> float:
    score = features @ found
    return float(np.abs(found).sum() + scaled @ (np.logaddexp(0, score) - targets * score))


def _sigmoid(score: Array) -> Array:
    return np.exp(-np.logaddexp(0, -score))
