"""Where answers and judgments stand: ``OUT/<suite>/<model>/``, and how they are read back."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from ultra import jsonl
from ultra.errors import InputError

ANSWERS = "answers.jsonl"


def folder(out: Path, suite: str, model: str) -> Path:
    """The folder of one model's results; a name with slashes or the like is percent-encoded."""
    return (
        out / quote(suite, safe="") / (quote(model, safe=" ") if model.strip(".") else f"%{model}")
    )


def judgments_file(results: Path, judge: str) -> Path:
    """The judgments of one judge on one model's answers."""
    return results / f"judged-by-{quote(judge, safe=' ')}.jsonl"


def journal(results: Path, job: str) -> Path:
    """The journal of a job on one model, beside its results and no part of them."""
    return results.with_name(f"{results.name}.run") / f"{job}.jsonl"


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Answers by question id.

    Raises:
        InputError: the file is not there, or a row is no answer.
    """
    if not path.is_file():
        raise InputError(f"{path}: no answers there; let the model answer first (make answers)")
    answers: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(jsonl.read(path), 1):
        if not isinstance(row.get("id"), str) or not isinstance(row.get("turns"), list):
            raise InputError(f"{path}: row {number} is no answer with 'id' and 'turns'")
        answers[row["id"]] = row
    return answers
