"""A page for one model's judgments: where it does well, and every question with all that was said.

One file, to be opened from the disk; see ``page`` for what keeps hostile words in it harmless.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import (
    answer_forms,
    cells,
    charts,
    judgments,
    own,
    page,
    recompute,
    results,
    suites,
)
from benchmarks.metrics import Line, Measure, Scored
from benchmarks.questions import Question
from benchmarks.suites import Suite
from ultra import command, files
from ultra.errors import InputError

Row = dict[str, Any]
Answers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Settings:
    """Write a page that shows every judged question with both answers and the judge's words."""

    judgments: list[Path] = command.positional("files of judgments, a page for each")
    suite: str = ""
    """Name or .jsonl file of the questions; by default those that were judged."""
    baseline: Path | None = None
    """Answers compared with, in any published form; by default those that were."""
    benchmarks_dir: Path | None = None
    """Folder of the published benchmark files; by default ULTRA_BENCHMARKS_DIR."""
    out: Path | None = None
    """Folder for the pages; by default each stands beside its judgments."""


@dataclass(frozen=True)
class Case:
    """One file of judgments, with what was asked and answered."""

    rows: list[Row]
    scored: Scored
    questions: list[Question]
    answers: Answers
    others: Answers
    sha256: str


def report(settings: Settings) -> list[Path]:
    """Write a page for each file of judgments.

    Raises:
        SettingError: the suite is one's own and its file is not named.
        InputError: judgments or answers are not there, or are none.
    """
    written = []
    for path in settings.judgments:
        text = render(read(path, settings))
        target = place(path)
        if settings.out:  # where the pages of several models may come together
            target = settings.out / f"{path.parent.name}-{target.name}"
        files.write_text(target, text)
        print(target)
        written.append(target)
    return written


def place(path: Path) -> Path:
    """Where the page of a file of judgments stands."""
    return path.with_name(f"report-{path.stem.removeprefix('judged-by-')}.html")


def read(path: Path, settings: Settings) -> Case:
    """The judgments of a file, with their questions and both sides' answers."""
    rows = own.ordered(judgments.read(path))
    kept = results.asked(path.parent)
    named = settings.suite or (str(kept) if kept.is_file() else rows[0]["suite"])
    suite = suites.load(named, settings.benchmarks_dir)
    if suite.digest != rows[0]["suite_digest"]:
        raise InputError(f"{path}: was judged on other questions than those of {suite.name} here")
    answers = results.read_answers(path.parent / results.ANSWERS)
    others = _others(path, suite, settings) if rows[0]["baseline"] else {}
    scored = recompute.own_judgments(rows)
    return Case(rows, scored, suite.questions, answers, others, files.sha256(path))


def _others(path: Path, suite: Suite, settings: Settings) -> Answers:
    """The answers compared with: named, kept when they were judged, or the suite's own."""
    kept = results.compared(path.parent, judgments.protocol(path)["baseline_digest"])
    if not settings.baseline and not kept.is_file():
        return suites.baseline_answers(suite, settings.benchmarks_dir)
    place = settings.baseline or kept
    found = answer_forms.read(place, suite.questions, allow=("missing", "foreign"))
    return {row["id"]: row for row in found}


def render(case: Case) -> str:
    """The page, as HTML."""
    first, line, measure = case.rows[0], case.scored.line, case.scored.measure
    against = f" and {first['baseline']}" if first["baseline"] else ""
    questions = _questions(case)
    data = {
        "model": first["model"],
        "baseline": first["baseline"],
        "judge": first["judge"],
        "parts": [*_parts(line)],
        "verdicts": sorted({question["verdict"] for question in questions}),
        "questions": questions,
    }
    told = f"{first['suite']}, {first['protocol_name']}, judged by {first['judge']}"
    slots = {
        "title": page.text(f"{first['model']} on {first['suite']}"),
        "heading": page.text(f"{first['model']}{against}"),
        "told": page.text(told),
        "note": _note(first),
        "figures": _figures(line, measure),
        "facts": _facts(case),
        "charts": _charts(measure, case.rows),
        "data": page.data(data),
    }
    return page.fill("report", slots)


def _note(first: Row) -> str:
    if "demo" not in (first["model"], first["judge"], first["baseline"]):
        return ""
    told = "The offline demo model had a hand in this: a look at how it works, no measure."
    return f'<p class="note">{told}</p>'


def _figures(line: Line, measure: Measure) -> str:
    """The main figure and what stands beside it."""
    from benchmarks import intervals

    bounds = intervals.interval(measure)
    value = "\N{EN DASH}" if measure.value is None else f"{measure.value:.1f}"
    told = cells.METRICS[measure.name]
    wins, ties, losses = recompute.record(line)
    shown = [
        ("95 % interval", f"{bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else None),
        ("won / tied / lost", None if wins is None else f"{wins} / {ties} / {losses}"),
        ("scored", line["n"]),
        ("unscored", line["unscored"]),
        ("turn 1", _number(line.get("turn_1"))),
        ("turn 2", _number(line.get("turn_2"))),
        ("changed with the order", _number(line["flip_rate"], "%")),
        ("correlation with length", _number(line["length_correlation"], digits=2)),
        ("cost of judging", None if line["usd"] is None else f"${line['usd']:.2f}"),
    ]
    parts = [f'<div class="figure main"><b>{value}</b><span>{page.text(told)}</span></div>']
    parts += [
        f'<div class="figure"><b>{page.text(what)}</b><span>{name}</span></div>'
        for name, what in shown
        if what is not None
    ]
    return "".join(parts)


def _number(value: float | None, unit: str = "", digits: int = 1) -> str | None:
    return None if value is None else f"{value:.{digits}f}{unit}"


def _facts(case: Case) -> str:
    first = case.rows[0]
    shown = {
        "protocol": f"{first['protocol_name']} {first['protocol']}",
        "judge": f"{first['judge']} (answered as {first['judge_model'] or 'nothing'})",
        "model": f"{first['model']} ({first['revision']})",
        "questions": f"{first['suite']}, xxh3-128 {first['suite_digest']}",
        "judgments": f"{len(case.rows)} calls, sha256 of their file {case.sha256}",
        "tokens": "{prompt_tokens:,} read and {completion_tokens:,} written by the judge".format(
            **case.scored.line
        ),
        "read differently": f"{case.scored.line['read_differently']} replies, which the published "
        "parser reads otherwise",
    }
    lines = (f"<tr><th>{name}</th><td>{page.text(what)}</td></tr>" for name, what in shown.items())
    return f'<table class="facts">{"".join(lines)}</table>'


def _parts(line: Line) -> Iterable[str]:
    """Categories and difficulties, as the filter names them."""
    yield from (name for name in line["by_category"] or {} if name)
    yield from (f"difficulty {name}" for name in line.get("by_difficulty", {}))


def _charts(measure: Measure, rows: list[Row]) -> str:
    """A bar for each category and difficulty, if there are several."""
    made = []
    for column, title in (("category", ""), ("difficulty", "difficulty ")):
        parts: dict[str, dict[str, tuple[float, float]]] = {}
        for name, value in own.divided(rows).get(column, {}).items():
            if value:
                parts.setdefault(f"{title}{value}", {})
            if value and name in measure.parts:
                parts[f"{title}{value}"][name] = measure.parts[name]
        shown = {name: Measure(measure.name, measure.unit, of) for name, of in parts.items()}
        if len(shown) > 1:
            made.append(charts.bars(shown))
    return "".join(made)


def _questions(case: Case) -> list[Row]:
    """What the page shows of each question, in the order of the suite."""
    by_question: dict[str, list[Row]] = {}
    for row in case.rows:
        by_question.setdefault(row["id"], []).append(row)
    known = {question.id: question for question in case.questions}
    return [_question(known[id], rows, case) for id, rows in by_question.items() if id in known]


def _question(question: Question, rows: list[Row], case: Case) -> Row:
    first = rows[0]
    answered = [side.get(question.id, {}).get("turns", []) for side in (case.answers, case.others)]
    verdict, result = _result(rows, case.scored.measure)
    flipped = bool(own.flip_rate(rows)) if first["kind"] != "grade" else False
    return {
        "id": question.id,
        "category": question.category,
        "difficulty": question.difficulty,
        "asked": [page.shortened(turn) for turn in question.turns],
        "model": [page.markdown(turn) for turn in answered[0]],
        "baseline": [page.markdown(turn) for turn in answered[1]],
        "characters": [sum(map(len, turns)) for turns in answered],
        "verdict": verdict,
        "result": result,
        "flipped": flipped,
        "judgments": [_judgment(row, rows) for row in rows],
    }


def _result(rows: list[Row], measure: Measure) -> tuple[str, str]:
    """The verdict on a question as the figure counts it, and how the list shows it."""
    names = {name for row in rows for name in (row["id"], own.item(row))}
    parts = [measure.parts[name] for name in sorted(names & measure.parts.keys())]
    above, below = (sum(part[side] for part in parts) for side in (0, 1))
    if not parts:
        return "unscored", "unscored"
    if rows[0]["kind"] == "grade":
        return "graded", f"{above / below:.1f}"
    middle = below if measure.name == "percent" else below / 2
    if above == middle:
        return "tie", "tie"
    return ("model", "won") if above > middle else ("baseline", "lost")


def _judgment(row: Row, rows: list[Row]) -> Row:
    label = [f"turn {row['turn']}"] if row["turn"] else []
    if row["order"]:
        label.append(f"{row['model' if row['order'] == 'model_first' else 'baseline']} shown first")
    if any(other["sample"] for other in rows):
        label.append(f"sample {row['sample'] + 1}")
    return {
        "order": row["order"],
        "label": ", ".join(label),
        "verdict": row["verdict"],
        "reading": _reading(row),
        "words": page.markdown(row["text"]) if row["text"].strip() else "",
    }


def _reading(row: Row) -> str:
    if row["verdict"] == "unscored":
        return f"unscored: {row['reason'].replace('_', ' ')}"
    if row["verdict"] == "graded":
        return f"{row['scores'][0]:g} of 10"
    named = {"model": f"{row['model']} won", "baseline": f"{row['baseline']} won", "tie": "tie"}
    told = named[row["verdict"]]
    if row["scores"]:
        told += f", {row['scores'][0]:g} to {row['scores'][1]:g}"
    if row["preference"] is not None:
        told += f", preference {row['preference'] - 1:.2f}"
    return told


if __name__ == "__main__":
    command.main(Settings, report)
