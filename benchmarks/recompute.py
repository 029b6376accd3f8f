"""The lines of a table that is made again from published judgments, one a model."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks import metrics, published
from benchmarks.published import Annotation, Game, Grade, Review
from ultra.errors import InputError

if TYPE_CHECKING:
    from benchmarks.length_control import Reference

R = TypeVar("R", Review, Grade)
Line = dict[str, Any]
Categories = Mapping[str, Mapping[str, str]]
"""For each way to divide a suite, such as "category", the part that a question's id is in."""

_RANGES = {
    "vicuna_80": (
        "generic 1-10, knowledge 11-20, roleplay 21-30, common-sense 31-40, fermi 41-50, "
        "counterfactual 51-60, coding 61-67, math 68-70, writing 71-80"
    ),
    "mt_bench": (
        "writing 81-90, roleplay 91-100, reasoning 101-110, math 111-120, coding 121-130, "
        "extraction 131-140, stem 141-150, humanities 151-160"
    ),
}
"""Ids of each category's questions, in FastChat's ``question.jsonl``."""

_QUESTIONS = {
    "evol_instruct": (
        "evol_instruct/WizardLM_testset.jsonl",
        "e216ec20538a7040b908f654f1f767305460f0a71f01b3db9f3989c8a78f8245",
    ),
    "ultra_eval": (
        "ultra_eval/ultra_eval.json",
        "6a2130a6dca31ceb501b4c497c94dc6e3a41df7fee6ae04fcfe199e631cc1906",
    ),
}
"""Where the published questions say what they are about, and the file's sha256."""


def categories(suite: str, folder: Path | None) -> dict[str, dict[str, str]]:
    """What a suite's questions are about, by id; empty if that is not known.

    Raises:
        InputError: the suite's published file is another one.
    """
    if suite in _RANGES:
        by_id = {}
        for part in _RANGES[suite].split(", "):
            name, first, last = re.fullmatch(r"(.+) (\d+)-(\d+)", part).groups()  # type: ignore[union-attr]
            by_id.update(dict.fromkeys(map(str, range(int(first), int(last) + 1)), name))
        return {"category": by_id}
    if suite not in _QUESTIONS or folder is None:
        return {}
    name, sha256 = _QUESTIONS[suite]
    path = folder / name
    if not path.is_file():
        return {}
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise InputError(f"{path}: is not the published file (its sha256 is another); get it again")
    rows = published.rows(path)
    if suite == "ultra_eval":
        return {"category": {str(n): row["class"].strip() for n, row in enumerate(rows, 1)}}
    return {
        "category": {str(row["idx"]): row["Skill"] for row in rows},
        "difficulty": {str(row["idx"]): str(row["Difficulty"]) for row in rows},
    }


def preferences(
    annotations: list[Annotation], reference: "Reference | None", c: float | None, rounds: int
) -> Iterator[Line]:
    """AlpacaEval: the win rate of each model, and with a reference the length-controlled one."""

    def pair(row: Annotation) -> tuple[str, str]:
        return row.model, row.baseline

    for (model, baseline), of in groupby(sorted(annotations, key=pair), pair):
        rows = list(of)
        yield {
            "model": model,
            "baseline": baseline,
            **asdict(metrics.preference_score(row.preference for row in rows)),
            **_length_controlled(rows, reference, c, rounds),
            "avg_length": sum(row.model_length for row in rows) // len(rows),
        }


def _length_controlled(
    rows: list[Annotation], reference: "Reference | None", c: float | None, rounds: int
) -> Line:
    line: Line = dict.fromkeys(("lc_win_rate", "lc_standard_error", "lc_C", "lc_data"))
    if reference is None:
        return line
    from benchmarks import length_control  # importing numpy takes as long as all else here

    found = length_control.control(rows, reference, c)
    if found is None:
        return line
    line.update(lc_win_rate=found.win_rate, lc_standard_error=found.standard_error, lc_C=found.c)
    line["lc_data"] = reference.source
    if rounds and found.c is not None:
        line["lc_bootstrap_se"] = length_control.bootstrap_error(rows, reference, found.c, rounds)
    return line


def reviews(found: list[Review], path: Path, reparse: bool, divided: Categories) -> Line:
    """Vicuna: totals of the model and the baseline, over all and by category."""
    pairs = ((one.text, one.published, "last_scores") for one in found)
    differently = published.read_differently(pairs)
    if reparse:
        found = [published.reread(one) for one in found]
    if any(one.category for one in found):
        divided = {**divided, "category": {one.question: one.category for one in found}}
    baseline, model = published.names(path)
    return {
        "model": model,
        "baseline": baseline,
        **asdict(metrics.totals(found)),
        "read_differently": differently,
        **_by(found, divided, lambda of: asdict(metrics.totals(of))),
    }


def grades(found: list[Grade], reparse: bool, divided: Categories) -> Iterator[Line]:
    """MT-bench's grades: the turns of each model, best first."""
    by_model: dict[str, list[Grade]] = defaultdict(list)
    for grade in found:
        by_model[grade.model].append(grade)
    lines: list[Line] = []
    for model, of in by_model.items():
        texts = ((one.text, "first_rating", "last_rating") for one in of if one.text)
        differently = published.read_differently(texts)
        of = [published.reread_grade(one) for one in of] if reparse else of
        line = {"model": model, **metrics.grade_score(of), "read_differently": differently}
        lines.append({**line, **_by(of, divided, metrics.grade_score)})
    yield from sorted(lines, key=lambda line: -(line["average"] or 0))


def games(found: list[Game], reparse: bool, baseline: str) -> Iterator[Line]:
    """MT-bench's comparisons: wins of each model over all its games, best first.

    With a ``baseline``, over those with it, which is not listed itself.
    """
    if baseline:
        found = [game for game in found if baseline in (game.model_1, game.model_2)]
    models = {name for game in found for name in (game.model_1, game.model_2)} - {baseline}
    lines: list[Line] = []
    for model in sorted(models):
        of = [game for game in found if model in (game.model_1, game.model_2)]
        texts = ((text, "first_choice", "last_line_choice") for game in of for text in game.texts)
        differently = published.read_differently(pair for pair in texts if pair[0])
        of = [published.reread_game(game) for game in of] if reparse else of
        line = {"model": model, "baseline": baseline, **metrics.game_score(of, model)}
        lines.append({**line, "read_differently": differently})
    yield from sorted(lines, key=lambda line: -(line["adjusted_win_rate"] or 0))


def _by(found: list[R], divided: Categories, score: Callable[[list[R]], Line]) -> Line:
    """The same numbers for each part of a suite, in the order of its questions."""
    line: Line = {"by_category": None}
    for name, part_of in divided.items():
        parts: dict[str, list[R]] = defaultdict(list)
        for one in found:
            parts[part_of.get(one.question, "")].append(one)
        line[f"by_{name}"] = {part: score(of) for part, of in parts.items()}
    return line
