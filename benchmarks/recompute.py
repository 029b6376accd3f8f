"""The lines of a table that is made again from judgments, one a model; formulae are in ``metrics``.

AlpacaEval's lines are made in ``preferences``.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks import metrics, own, preferences, published, reread, suites, upstream
from benchmarks.metrics import Line, Scored
from benchmarks.own import Row
from benchmarks.preferences import Control
from benchmarks.published import Game, Grade, Review

R = TypeVar("R")
Q = TypeVar("Q", Review, Grade, Game)
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


def categories(suite: str, folder: Path | None) -> dict[str, dict[str, str]]:
    """What a suite's questions are about, by id; empty if that is not known here.

    ``folder`` takes the place of ULTRA_BENCHMARKS_DIR. Nothing is fetched.

    Raises:
        InputError: the suite's published file is another one.
    """
    if suite in _RANGES:
        by_id = {}
        for part in _RANGES[suite].split(", "):
            name, first, last = re.fullmatch(r"(.+) (\d+)-(\d+)", part).groups()  # type: ignore[union-attr]
            by_id.update(dict.fromkeys(map(str, range(int(first), int(last) + 1)), name))
        return {"category": by_id}
    described = suites.known().get(suite, {})
    if described.get("questions") not in upstream.sources():
        return {}
    if upstream.local(described["questions"], folder) is None:
        return {}
    asked = suites.load(suite, folder).questions
    divided = {"category": {one.id: one.category for one in asked}}
    if any(one.difficulty for one in asked):
        divided["difficulty"] = {one.id: str(one.difficulty) for one in asked}
    return divided


def reviews(
    found: list[Review], names: tuple[str, str], reparse: bool, divided: Categories
) -> Scored:
    """Vicuna: totals of the model and the baseline, over all and by category.

    ``names`` are those of baseline and model.
    """
    pairs = ((one.text, one.published, "last_scores") for one in found)
    differently = reread.read_differently(pairs)
    if reparse:
        found = [reread.review(one) for one in found]
    if any(one.category for one in found):
        divided = {**divided, "category": {one.question: one.category for one in found}}
    line = {
        "model": names[1],
        "baseline": names[0],
        **metrics.totals(found)._asdict(),
        "read_differently": differently,
        **by_part(_by_question(found), divided, lambda of: metrics.totals(of)._asdict()),
    }
    return Scored(line, metrics.totals_measure(found))


def grades(found: list[Grade], reparse: bool, divided: Categories) -> Iterator[Scored]:
    """MT-bench's grades: the turns of each model, best first."""
    by_model: dict[str, list[Grade]] = defaultdict(list)
    for grade in found:
        by_model[grade.model].append(grade)
    scored: list[Scored] = []
    for model, of in sorted(by_model.items()):
        texts = ((one.text, "first_rating", "last_rating") for one in of if one.text)
        differently = reread.read_differently(texts)
        of = [reread.grade(one) for one in of] if reparse else of
        line = {"model": model, **metrics.grade_score(of), "read_differently": differently}
        line |= by_part(_by_question(of), divided, metrics.grade_score)
        scored.append(Scored(line, metrics.grade_measure(of)))
    yield from sorted(scored, key=lambda one: -(one.line["average"] or 0))


def games(found: list[Game], reparse: bool, baseline: str, divided: Categories) -> Iterator[Scored]:
    """MT-bench's comparisons: wins of each model over all its games, best first.

    With a ``baseline``, over those with it, which is not listed itself.
    """
    if baseline:
        found = [game for game in found if baseline in (game.model_1, game.model_2)]
    models = {name for game in found for name in (game.model_1, game.model_2)} - {baseline}
    scored: list[Scored] = []
    for model in sorted(models):
        of = [game for game in found if model in (game.model_1, game.model_2)]
        texts = ((text, "first_choice", "last_line_choice") for game in of for text in game.texts)
        differently = reread.read_differently(pair for pair in texts if pair[0])
        of = [reread.game(game) for game in of] if reparse else of
        line = {"model": model, "baseline": baseline, **metrics.game_score(of, model)}
        line |= {"read_differently": differently}
        of_model = partial(metrics.game_score, model=model)
        line |= by_part(_by_question(of), divided, of_model)
        scored.append(Scored(line, metrics.game_measure(of, model)))
    yield from sorted(scored, key=lambda one: -(one.line["adjusted_win_rate"] or 0))


def own_judgments(rows: list[Row], control: Control | None = None) -> Scored:
    """One model's line from judgments of one's own, of any kind, all by one judge and protocol.

    The formulae are those for published ones. ``control`` says how to control for length.
    """
    rows = own.ordered(rows)
    first = rows[0]
    divided = own.divided(rows)
    if first["kind"] == "grade":
        (scored,) = grades(own.grades(rows), False, divided)
    elif first["kind"] == "pair_scores":
        scored = reviews(own.reviews(rows), (first["baseline"], first["model"]), False, divided)
    elif first["suite"] == "mt_bench":
        (scored,) = games(own.games(rows), False, first["baseline"], divided)
    else:
        scored = _own_preferences(rows, divided, control)
    line = {"model": first["model"], "baseline": first["baseline"], **scored.line}
    parts = {name: line.pop(name) for name in list(line) if name.startswith("by_")}
    line |= {name: first[name] for name in ("judge", "judge_model", "protocol_name", "protocol")}
    replies = ((text, row) for row in rows if row["tries"] for text in own.replies(row))
    texts = ((text, *own.parsers(row)) for text, row in replies)
    line["read_differently"] = reread.read_differently(texts)
    return Scored({**line, **own.habits(rows), **parts}, scored.measure)


def _own_preferences(rows: list[Row], divided: Categories, control: Control | None) -> Scored:
    points = own.points(rows)
    instructions: dict[str, str] = {}
    if control:  # a suite whose questions have no ids calls them by their number
        listed = control.reference.index.items()
        instructions = {str(index + 1): instruction for instruction, index in listed}
    (scored,) = preferences.lines(own.annotations(rows, instructions), control)
    parts = by_part(list(points.items()), divided, _preference_line)
    return Scored({**scored.line, **parts}, metrics.preference_measure(points))


def _preference_line(points: list[float | None]) -> Line:
    return metrics.preference_score(points)._asdict()


def record(line: Line) -> tuple[int | None, ...]:
    """Wins, ties and losses, which each published tool calls otherwise; None for grades."""
    for names in (("n_wins", "n_draws", "n_wins_base"), ("wins", "ties", "losses")):
        if names[0] in line:
            return tuple(line[name] for name in names)
    return line.get("win"), line.get("tie"), line.get("loss")


def by_part(
    found: list[tuple[str, R]], divided: Categories, score: Callable[[list[R]], Line]
) -> Line:
    """The same numbers for each part of a suite, in the order of its questions.

    ``found`` is by question.
    """
    line: Line = {"by_category": None}
    for name, part_of in divided.items():
        parts: dict[str, list[R]] = defaultdict(list)
        for question, one in sorted(found, key=lambda pair: published.in_order(pair[0])):
            parts[part_of.get(question, "")].append(one)
        line[f"by_{name}"] = {part: score(of) for part, of in parts.items()}
    return line


def _by_question(found: list[Q]) -> list[tuple[str, Q]]:
    return [(one.question, one) for one in found]
