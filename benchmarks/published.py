"""Judgments that others published, read into rows that ``score`` and ``rating`` take.

Four forms: AlpacaEval's ``annotations.json``, FastChat's Vicuna reviews, OpenChat's evaluations in
both orders, and MT-bench's single and pairwise judgments. How upstream wrote a failure down (-1,
"error", NaN, 0 and 0 in OpenChat) is None here, and never a score.
"""

import json
import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from ultra import jsonl
from ultra.errors import InputError

Winner = Literal["model_1", "model_2", "tie"]
Form = Literal["annotations", "reviews", "openchat", "grades", "games", "own"]


class Annotation(NamedTuple):
    """One AlpacaEval preference: 0 for the baseline to 1 for the model, None if unscored.

    Lengths are in code points.
    """

    instruction: str
    model: str
    baseline: str
    preference: float | None
    model_length: int
    baseline_length: int


class Review(NamedTuple):
    """One judge call that gave both answers scores, as (model's, baseline's); None if it did not.

    ``published`` names the parser upstream read ``text`` with.
    """

    question: str
    category: str
    scores: tuple[float, float] | None
    text: str
    model_first: bool
    published: str


class Grade(NamedTuple):
    """MT-bench's grade of one answer, None if there is none."""

    model: str
    question: str
    turn: int
    score: float | None
    text: str


class Game(NamedTuple):
    """MT-bench's comparison of two models in both orders: who won each, None if unscored."""

    model_1: str
    model_2: str
    question: str
    turn: int
    winners: tuple[Winner | None, Winner | None]
    texts: tuple[str, str]


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON array or of JSON Lines, plain or compressed.

    Raises:
        InputError: the file is not there, is damaged, is not of objects, or is empty.
    """
    try:
        with jsonl.open_binary(path) as file:
            data = file.read()
    except jsonl.BROKEN as error:
        raise InputError(f"{path}: damaged or breaks off ({error}); get it again") from error
    if data.lstrip()[:1] == b"[":
        found = _json(data, str(path))
    else:
        lines = enumerate(data.split(b"\n"), 1)
        found = [_json(line, f"{path}:{number}") for number, line in lines if line.strip()]
    wrong = next((at for at, row in enumerate(found, 1) if not isinstance(row, dict)), None)
    if wrong is not None or not found:
        raise InputError(f"{path}: {f'row {wrong} is no object' if wrong else 'holds no rows'}")
    return found  # type: ignore[no-any-return]


def _json(data: bytes, place: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:  # Python's own reads NaN, which pandas writes, and halves of surrogate pairs
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({error})") from error


_FORMS: dict[Form, set[str]] = {
    "annotations": {"instruction", "preference", "output_1", "output_2"},
    "games": {"question_id", "model_1", "model_2", "g1_winner", "g2_winner"},
    "grades": {"question_id", "model", "turn", "score"},
    "reviews": {"question_id", "text", "score"},
    "own": {"suite", "verdict", "order"},
}


def form(path: Path, first: dict[str, Any]) -> Form:
    """Which form a file has, from its first row.

    Raises:
        InputError: none that is known.
    """
    if isinstance(first.get("score"), dict) and "raw_a" in first["score"]:
        return "openchat"
    for name, keys in _FORMS.items():
        if keys <= first.keys():
            return name
    raise InputError(
        f"{path}: its rows are no judgments that are known: AlpacaEval annotations, FastChat "
        f"reviews, OpenChat evaluations, MT-bench judgments, or judged-by-*.jsonl of one's own"
    )


def annotations(path: Path, found: list[dict[str, Any]]) -> list[Annotation]:
    """AlpacaEval's preferences, of one model or more.

    Raises:
        InputError: a row is none, or a model has two for one instruction.
    """
    read = []
    seen: set[tuple[str, str]] = set()
    for number, row in enumerate(found, 1):
        instruction, model = row.get("instruction"), str(row.get("generator_2", ""))
        one, two = row.get("output_1"), row.get("output_2")
        if not (isinstance(instruction, str) and isinstance(one, str) and isinstance(two, str)):
            raise InputError(f"{path}: row {number} is no annotation: see its instruction, outputs")
        if (model, instruction) in seen:
            raise InputError(f"{path}: row {number} judges {model or 'a model'} on this a 2nd time")
        seen.add((model, instruction))
        preference = _preference(row.get("preference"))
        baseline = str(row.get("generator_1", ""))
        read.append(Annotation(instruction, model, baseline, preference, len(two), len(one)))
    return read


def _preference(value: Any) -> float | None:
    """1 to 2 upstream, 0 for a draw; -1, NaN, null and words are failures."""
    number = _number(value)
    if number == 0:
        return 0.5
    return number - 1 if number is not None and 1 <= number <= 2 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def reviews(path: Path, found: list[dict[str, Any]]) -> list[Review]:
    """FastChat's reviews: the baseline's answer came first, the model's second.

    Raises:
        InputError: a row is none.
    """
    read = []
    for number, row in enumerate(found, 1):
        scores, text = row.get("score"), row.get("text")
        if not (isinstance(text, str) and isinstance(scores, list) and len(scores) == 2):
            raise InputError(f"{path}: row {number} is no review: see its text, score")
        question, category = str(row.get("question_id")), str(row.get("category", ""))
        pair = _pair(scores[1], scores[0])
        read.append(Review(question, category, pair, text, False, "first_line_scores"))
    return read


def names(path: Path) -> tuple[str, str]:
    """Baseline and model of a file of reviews, which only its name says.

    ``review_<baseline>_<model>.jsonl`` (FastChat) or ``<model>_VS_<baseline>.jsonl`` (OpenChat).
    """
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
    model, versus, baseline = stem.partition("_VS_")
    if not versus:
        baseline, _, model = stem.removeprefix("review_").rpartition("_")
    return baseline, model


def openchat(path: Path, found: list[dict[str, Any]]) -> list[Review]:
    """OpenChat's evaluations: two reviews a row, the second with the baseline's answer first.

    Raises:
        InputError: a row is none.
    """
    read = []
    for number, row in enumerate(found, 1):
        question, category = str(row.get("question_id", number)), str(row.get("category", ""))
        for name in ("raw_a", "raw_b"):
            try:
                (model, baseline), text = row["score"][name]
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}: row {number} is no evaluation: see its score") from error
            pair = _pair(model, baseline) if (model, baseline) != (0, 0) else None
            first = name == "raw_a"
            read.append(Review(question, category, pair, str(text), first, "openchat_scores"))
    return read


def _pair(model: Any, baseline: Any) -> tuple[float, float] | None:
    one, two = _number(model), _number(baseline)
    return (one, two) if one is not None and two is not None and min(one, two) >= 0 else None


def grades(path: Path, found: list[dict[str, Any]]) -> list[Grade]:
    """MT-bench's single grades.

    Raises:
        InputError: a row is none.
    """
    read = []
    for number, row in enumerate(found, 1):
        if row.get("turn") not in (1, 2) or not isinstance(row.get("model"), str):
            raise InputError(f"{path}: row {number} is no grade: see its model, turn")
        score = _number(row.get("score"))
        score = score if score is not None and score >= 0 else None
        text = str(row.get("judgment", ""))
        read.append(Grade(row["model"], str(row.get("question_id")), row["turn"], score, text))
    return read


def games(path: Path, found: list[dict[str, Any]]) -> list[Game]:
    """MT-bench's pairwise judgments.

    Raises:
        InputError: a row is none.
    """
    read = []
    for number, row in enumerate(found, 1):
        names = row.get("model_1"), row.get("model_2")
        if not all(isinstance(name, str) for name in names) or names[0] == names[1]:
            raise InputError(f"{path}: row {number} is no comparison: see its model_1, model_2")
        one, two = (_winner(row.get(key)) for key in ("g1_winner", "g2_winner"))
        texts = str(row.get("g1_judgment", "")), str(row.get("g2_judgment", ""))
        question, turn = str(row.get("question_id")), row.get("turn", 1)
        read.append(Game(str(names[0]), str(names[1]), question, turn, (one, two), texts))
    return read


def _winner(value: Any) -> Winner | None:
    known: dict[str, Winner] = {"model_1": "model_1", "model_2": "model_2", "tie": "tie"}
    return known.get(value) if isinstance(value, str) else None


def in_order(id: str) -> tuple[int, int, str]:
    """What sorts questions as people number them: 2 before 10, and both before names."""
    if id.isdecimal() and len(id) < 19:
        return 0, int(id), id
    return 1, 0, id


def is_switched(instruction: str, seed: int = 0) -> bool:
    """Whether AlpacaEval shows the model's answer first, which it draws for each instruction.

    Every second answer's place comes from a generator seeded with the text (``utils.random_seed``).
    """
    import random  # which takes as long to import as all that this module is for

    draw = random.Random(f"is_switched_outputs{instruction}{seed}")
    return draw.choices([False, True], k=1)[0]
