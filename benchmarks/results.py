"""Where the results of a model stand, ``OUT/<suite>/<model>/``, and how its answers are read back.

A row of ``answers.jsonl`` has ``id``, ``question`` (the digest of what was asked), ``model``,
``revision`` (the model's identity), ``turns``, ``finish_reasons`` (``length``: cut at the limit),
``sampling``, ``system``, ``usage`` and ``usd``. Of a question without an answer ``turns`` is empty
and ``error`` says why. Beside it stand the record of a checkpoint's training, the judgments, their
protocols, and of what was judged that which only a file of one's own says; pages show it.
"""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from ultra import jsonl
from ultra.errors import InputError

ANSWERS = "answers.jsonl"
TRAINING = "training.json"
"""How a checkpoint of ours was trained, as it has it: rows tell the data's name and digest."""


def folder(out: Path, suite: str, model: str) -> Path:
    """The folder of one model's results; what is no part of a file name is percent-encoded."""
    return out / _file_name(suite) / _file_name(model)


def run(results: Path, job: str, model: str) -> Path:
    """The run folder of what a model did in a job, below the results and no part of them."""
    return results / "run" / f"{job}-{_file_name(model)}"


def asked(results: Path) -> Path:
    """The questions, where they are one's own."""
    return results / "questions.jsonl"


def compared(results: Path, digest: str) -> Path:
    """Answers compared with that are one's own, by the digest that the protocol has of them."""
    return results / f"baseline-{digest}.jsonl"


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Answers by question id.

    Raises:
        InputError: the file is not there, a row is no answer, or two answer one question.
    """
    if not path.is_file():
        raise InputError(f"{path}: no answers there (make answers lets a model answer)")
    answers: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(jsonl.read(path), 1):
        turns = row.get("turns")
        if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
            raise InputError(f"{path}: row {number} is no answer: 'turns' must be a list of texts")
        if not isinstance(row.get("id"), str):
            raise InputError(f"{path}: row {number} is no answer: it has no 'id'")
        if row["id"] in answers:
            raise InputError(f"{path}: row {number} answers {row['id']!r} a second time")
        answers[row["id"]] = row
    return answers


def _file_name(name: str) -> str:
    # Dots alone would leave the folder; a name that is empty or only dots gets a mark before it.
    return quote(name, safe=" @") if name.strip(".") else f"%{name}"
