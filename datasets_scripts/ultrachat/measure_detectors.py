"""Measure the detectors on turns whose faults are known: precision and recall of each.

A line of the file is ``{"part": "user", "fault", "turn", "before", "length"?, "sector"?}``, where
``before`` has the texts of the dialogue from its opening to an answer, or ``{"part": "assistant",
"fault", "turn", "finish"?}``; the fault of a good turn is ``""``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets_scripts.ultrachat import detectors
from datasets_scripts.ultrachat.openings.opening import Opening
from datasets_scripts.ultrachat.plan import plan
from ultra import command, jsonl
from ultra.chat import Completion
from ultra.errors import InputError
from ultra.schema import Message


@dataclass(frozen=True)
class Settings:
    """Print precision and recall of each detector of faulty turns."""

    file: Path = command.positional("JSONL file of turns with their faults")
    """JSONL file of turns with their faults."""
    show: bool = False
    """Also print each turn that was taken for something else."""


@dataclass
class Score:
    """How often a fault was there and found (``hits``), found only, or there only."""

    hits: int = 0
    alarms: int = 0
    misses: int = 0

    @property
    def precision(self) -> float:
        """Share of what was found that was there; 1 if nothing was found."""
        return self.hits / (self.hits + self.alarms) if self.hits + self.alarms else 1.0

    @property
    def recall(self) -> float:
        """Share of what was there that was found; 1 if nothing was there."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 1.0


def run(settings: Settings) -> None:
    """Print the table, and on request the mistakes."""
    found = list(judged(settings.file))
    print(f"{'detector':<28}{'turns':>7}{'precision':>11}{'recall':>8}")
    for name, score in scores(found).items():
        there = score.hits + score.misses
        print(f"{name:<28}{there:>7}{score.precision:>11.3f}{score.recall:>8.3f}")
    for row, told in found if settings.show else []:
        if told != row["fault"]:
            text = command.printable(row["turn"][:90])
            print(f"{row['part']}: {row['fault'] or 'good'}, told {told or 'good'}: {text}")


def scores(found: Iterable[tuple[dict[str, Any], str]]) -> dict[str, Score]:
    """The score of each detector, and of ``user any`` and ``assistant any``: of being faulty."""
    made: dict[str, Score] = {}
    for row, told in found:
        names = {(fault, f"{row['part']} {fault}") for fault in (row["fault"], told) if fault}
        for fault, name in sorted(names):
            _count(made.setdefault(name, Score()), row["fault"] == fault, told == fault)
        total = made.setdefault(f"{row['part']} any", Score())
        _count(total, bool(row["fault"]), bool(told))
    return dict(sorted(made.items()))


def _count(score: Score, there: bool, told: bool) -> None:
    score.hits += there and told
    score.alarms += told and not there
    score.misses += there and not told


def judged(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Each line of a file, and the fault that the detectors find in its turn, if any.

    Raises:
        InputError: names the line that is not such a turn.
    """
    for number, row in enumerate(jsonl.read(path), 1):
        try:
            found = _user(row) if row["part"] == "user" else _assistant(row)
            row["fault"], row["turn"]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path}: turn {number} is not like those of the docs") from error
        yield row, found or ""


def _user(row: dict[str, Any]) -> str | None:
    before: list[Message] = [
        {"role": "assistant" if number % 2 else "user", "content": text}
        for number, text in enumerate(row["before"])
    ]
    opening = Opening(row.get("sector", "world"), "", before[0]["content"], "")
    length = row.get("length", "sentences")
    drawn = replace(plan("", 0, 0, opening), length=length)
    return detectors.user_fault(row["turn"], before, drawn)


def _assistant(row: dict[str, Any]) -> str | None:
    return detectors.assistant_fault(Completion(row["turn"], row.get("finish", "stop"), ""))


if __name__ == "__main__":
    command.main(Settings, run)
