"""Where answers and judgments stand: ``OUT/<suite>/<model>/``, and how they are read back."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks import score
from ultra import jsonl
from ultra.errors import InputError

ANSWERS = "answers.jsonl"


def folder(out: Path, suite: str, model: str) -> Path:
    """The folder of one model's results; what is no part of a file name is percent-encoded."""
    return out / _file_name(suite) / _file_name(model)


def judgments_file(results: Path, judge: str, protocol: str) -> Path:
    """The judgments of one judge under one protocol on one model's answers."""
    return results / f"judged-by-{_file_name(judge)}-{protocol}.jsonl"


def journal(results: Path, job: str, model: str) -> Path:
    """The journal of what a model did in a job, below the results and no part of them."""
    return results / "run" / f"{job}-{_file_name(model)}" / "journal.jsonl"


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Answers by question id.

    Raises:
        InputError: the file is not there, or a row is no answer.
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
        answers[row["id"]] = row
    return answers


_JUDGMENT = {
    "id": str,
    "suite": str,
    "suite_digest": str,
    "model": str,
    "revision": str,
    "baseline": str,
    "judge": str,
    "protocol": str,
    "verdict": str,
    "characters": int,
    "usage": dict,
}


def read_judgments(path: Path) -> list[dict[str, Any]]:
    """The judgments of one file.

    Raises:
        InputError: there are none, or a row is none.
    """
    rows = list(jsonl.read(path))
    for number, row in enumerate(rows, 1):
        wrong = [name for name, kind in _JUDGMENT.items() if type(row.get(name)) is not kind]
        if wrong:
            raise InputError(f"{path}: row {number} is no judgment: see its {', '.join(wrong)}")
        if row["verdict"] not in {*score.POINTS, "unscored"}:
            raise InputError(f"{path}: row {number} is no judgment: see its verdict")
        if not all(type(tokens) is int for tokens in row["usage"].values()):
            raise InputError(f"{path}: row {number} is no judgment: see its usage")
    if not rows:
        raise InputError(f"{path}: holds no judgments")
    return rows


def _file_name(name: str) -> str:
    # Dots alone would leave the folder; a name that is empty or only dots gets a mark before it.
    return quote(name, safe=" @") if name.strip(".") else f"%{name}"
