"""Questions as suites and files write them down, in one form."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import published
from ultra import jsonl
from ultra.errors import InputError

OWN = {
    "id": "id",
    "category": "category",
    "difficulty": "difficulty",
    "turns": "turns",
    "reference": "reference",
}
"""Where a row of a file of one's own has what."""


@dataclass(frozen=True)
class Question:
    """What is asked, in one or more user turns.

    ``difficulty`` is 0 where it is not known; ``reference`` answers the turns, where there is one.
    """

    id: str
    category: str
    turns: list[str]
    difficulty: int = 0
    reference: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The xxh3-128 of the turns, which an answer names so that it is known what it answers."""
        return jsonl.digest(self.turns)


def read(path: Path, columns: Mapping[str, str] = OWN) -> list[Question]:
    """The questions of a JSON array or of JSON Lines, in their order.

    ``columns`` says under which names a row has ``turns`` (a list of texts, or one text), ``id``,
    ``category``, ``difficulty`` and ``reference``; what it leaves out is not read, and for an id
    the row's number stands, from 1.

    Raises:
        InputError: the file is not there, a row is no question, or two have the same id.
    """
    rows = published.rows(path)
    found = [
        _question(row, columns, number, f"{path}: question {number}")
        for number, row in enumerate(rows, 1)
    ]
    ids: set[str] = set()
    for question in found:
        if question.id in ids:
            raise InputError(f"{path}: two questions have the same id, {question.id!r}")
        ids.add(question.id)
    return found


def write(path: Path, asked: Iterable[Question]) -> None:
    """Write questions down as :func:`read` takes them."""
    kept = ({name: value for name, value in asdict(one).items() if value} for one in asked)
    jsonl.write(path, kept)


def _question(row: dict[str, Any], columns: Mapping[str, str], number: int, place: str) -> Question:
    got = {ours: row[theirs] for ours, theirs in columns.items() if row.get(theirs) is not None}
    id = got.get("id") if "id" in columns else number
    if type(id) is int:
        id = str(id)
    if not isinstance(id, str) or not id:
        raise InputError(f"{place}: has no '{columns['id']}'")
    difficulty = got.get("difficulty", 0)
    if type(difficulty) is not int or not 0 <= difficulty < 2**63:
        raise InputError(f"{place}: '{columns['difficulty']}' must be a whole number, 0 or more")
    return Question(
        jsonl.scrub(id),
        jsonl.scrub(str(got.get("category", "")).strip()),
        _texts(got.get("turns"), f"{place}: '{columns['turns']}'"),
        difficulty,
        _texts(got["reference"], f"{place}: '{columns['reference']}'")
        if "reference" in got
        else [],
    )


def _texts(value: Any, place: str) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise InputError(f"{place} must be a text or a list of texts")
    return [jsonl.scrub(text) for text in texts]
