"""Sets of questions, each with its protocol and the answers that others are compared with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultra import jsonl
from ultra.errors import InputError, SettingError

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Question:
    """What is asked, in one or more user turns."""

    id: str
    category: str
    turns: list[str]

    @property
    def digest(self) -> str:
        return jsonl.digest(self.turns)


@dataclass(frozen=True)
class Suite:
    """Questions in their order. ``digest`` is the xxh3-128 of their content."""

    name: str
    questions: list[Question]
    baseline: Path | None
    digest: str


def load(name: str) -> Suite:
    """A suite that ships, by name, or one's own questions from a ``.jsonl`` file.

    Lines are ``{"id", "category", "turns": [...]}``; ``category`` may be left out.

    Raises:
        SettingError: no suite has this name.
        InputError: the file holds no questions, or a row is none.
    """
    if name == "starter":
        path = HERE / "starter" / "questions.jsonl"
        baseline: Path | None = HERE / "starter" / "baseline.jsonl"
    elif ".jsonl" in name:
        path, baseline = Path(name), None
    else:
        raise SettingError(f"suite {name}: unknown; use starter, or the path of a .jsonl file")
    questions = [
        _question(row, f"{path}: question {n}") for n, row in enumerate(jsonl.read(path), 1)
    ]
    if not questions:
        raise InputError(f"{path}: holds no questions")
    if len({question.id for question in questions}) < len(questions):
        raise InputError(f"{path}: two questions have the same id")
    digest = jsonl.digest([[one.id, one.category, one.turns] for one in questions])
    if baseline is None:  # a file of one's own may change, and may be called as one of ours
        name = f"{path.name.rpartition('.jsonl')[0]}@{digest[:8]}"
    return Suite(name, questions, baseline, digest)


def _question(row: dict[str, Any], place: str) -> Question:
    id, turns = row.get("id"), row.get("turns")
    if not isinstance(id, str) or not id:
        raise InputError(f"{place}: has no 'id'")
    if not isinstance(turns, list) or not turns or not all(isinstance(one, str) for one in turns):
        raise InputError(f"{place}: 'turns' must be a list of texts")
    return Question(id, str(row.get("category", "")), turns)
