"""Answers from and for other tools: AlpacaEval, FastChat and UltraChat's set.

``python -m benchmarks.answer_files import`` puts published answers where ``benchmarks.judge`` finds
them; ``export`` writes ours in the form of another tool.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks import answer_forms, results, suites
from benchmarks.answer_forms import Form, Odd
from ultra import command, files, jsonl
from ultra.errors import InputError, OutputError


@dataclass(frozen=True)
class Import:
    """Take answers that another tool or a publication left in a file."""

    file: Path = command.positional("the file of answers; its form is recognised")
    suite: str = "starter"
    """Name of a suite, or a .jsonl file of questions."""
    model: str = ""
    """Whose answers to take, if the file has those of several models."""
    name: str = ""
    """What the model is called here; by default as in the file."""
    allow_missing: bool = False
    """Leave out questions that the file does not answer."""
    allow_foreign: bool = False
    """Leave out answers to questions that are none of the suite's."""
    benchmarks_dir: Path | None = None
    """Folder of the published benchmark files; by default ULTRA_BENCHMARKS_DIR."""
    out: Path = Path("out/results")
    """Folder of all results; these answers go to OUT/<suite>/<model>/."""


@dataclass(frozen=True)
class Export:
    """Write a model's answers in the form of another tool."""

    file: Path = command.positional("answers.jsonl of a model")
    suite: str = "starter"
    """Name of the suite that is answered, or a .jsonl file of questions."""
    form: Form = "alpaca_eval"
    """alpaca_eval and ultrachat write one JSON array, the others JSON Lines."""
    allow_missing: bool = False
    """Leave out questions that are not answered."""
    benchmarks_dir: Path | None = None
    """Folder of the published benchmark files; by default ULTRA_BENCHMARKS_DIR."""
    out: Path = Path("out/model_outputs.json")
    """The file to write."""


def import_answers(settings: Import) -> Path:
    """Write the answers of a file as ``answers.jsonl`` of their model.

    Raises:
        SettingError: unknown suite, or the file has answers of several models.
        InputError: the file is of no known form, or does not answer just the suite's questions.
        OutputError: other answers of the model are there already.
    """
    suite = suites.load(settings.suite, settings.benchmarks_dir)
    allow: list[Odd] = ["missing"] if settings.allow_missing else []
    allow += ["foreign"] if settings.allow_foreign else []
    rows = answer_forms.read(settings.file, suite.questions, settings.model, allow)
    if settings.name:
        rows = [{**row, "model": settings.name} for row in rows]
    path = results.folder(settings.out, suite.name, rows[0].get("model", "")) / results.ANSWERS
    data = b"".join(map(jsonl.dump, rows))
    if path.exists() and path.read_bytes() != data:
        raise OutputError(
            f"{path}: other answers of this model are there; give it another --name, or remove them"
        )
    with files.atomic(path) as file:
        file.write(data)
    print(f"{len(rows)} of {len(suite.questions)} questions answered: {path}")
    return path


def export_answers(settings: Export) -> Path:
    """Write answers in another form; a question without an answer is an error, or is left out.

    Raises:
        SettingError: unknown suite, or a form of one turn for questions of several.
        InputError: the file holds no answers, or a question has none.
    """
    suite = suites.load(settings.suite, settings.benchmarks_dir)
    rows = answer_forms.read(settings.file, suite.questions, allow=["missing"])
    written = answer_forms.written(rows, suite.questions, settings.form)
    missing = len(suite.questions) - len(written)
    if not written or (missing and not settings.allow_missing):
        raise InputError(
            f"{settings.file}: {missing} of {len(suite.questions)} questions have no answer; let "
            "the model answer again, or leave them out with --allow-missing"
        )
    with files.atomic(settings.out) as file:
        file.write(_bytes(written, settings.form))
    print(f"{len(written)} answers: {settings.out}")
    return settings.out


def _bytes(rows: list[dict[str, Any]], form: Form) -> bytes:
    if form in ("alpaca_eval", "ultrachat"):
        return orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return b"".join(map(jsonl.dump, rows))


if __name__ == "__main__":
    command.group(
        "benchmarks.answer_files",
        {"import": (Import, import_answers), "export": (Export, export_answers)},
    )
