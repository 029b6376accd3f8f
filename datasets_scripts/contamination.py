"""What conversations have in common with benchmark questions: a step, an account, a command.

``questions.py`` says what counts as an overlap. The command reads releases, or any ``.jsonl`` whose
rows have messages, and prints a table.
"""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from datasets_scripts.pipeline import Drop
from datasets_scripts.questions import LONG, SHORT, Length, Overlap, Questions
from ultra import card, command, files, jsonl, release
from ultra.errors import InputError
from ultra.schema import ROLES, Message

NOT_CHECKED = "not checked"
"""What a card says of a release that was made without a questions file."""

_KEYS = {SHORT: ("8",), LONG: ("8", "13")}
"""The counts that an overlap goes into, as JSON names them."""
_SHOWN = 20


@dataclass(frozen=True)
class Settings:
    """Count what releases have in common with benchmark questions, and print a table."""

    questions: Path
    """JSONL of {id, suite, turns}."""
    paths: list[Path] = command.positional()
    out: Path | None = None
    """File for the whole account, as JSON, as a manifest holds it."""


def drop_of(overlaps: Iterable[Overlap], drop_at: Length) -> Drop | None:
    """Why a conversation with these overlaps leaves the build, if it does."""
    for one in overlaps:
        if one.n >= drop_at:
            return Drop("benchmark_overlap", f"{one.question}: '{one.span}'"[:100])
    return None


def account(questions: Questions, conversations: Iterable[Iterable[Overlap]]) -> dict[str, Any]:
    """What a manifest says under ``contamination``, from the overlaps of each conversation.

    Counts at 8 include those at 13. ``by_question`` has the questions that were found, and in how
    many conversations each role says them.
    """
    suite_of = {question.name: question.suite for question in questions.questions}
    by_question: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    total: Counter[str] = Counter()
    by_suite: Counter[tuple[str, str]] = Counter()
    for overlaps in conversations:
        seen = set()
        for one in overlaps:
            for n in _KEYS[one.n]:
                by_question[one.question][one.role][n] += 1
                seen.add((suite_of[one.question], n))
        by_suite.update(seen)
        total.update({n for _, n in seen})
    found = Counter(
        (suite_of[name], n)
        for name, roles in by_question.items()
        for n in {n for counts in roles.values() for n in counts}
    )
    return {
        "questions": {
            "file": questions.name,
            "sha256": questions.digest,
            "count": len(suite_of),
        },
        "conversations": {n: total[n] for n in _KEYS[LONG]},
        "by_suite": {
            suite: {
                "questions": size,
                "found": {n: found[suite, n] for n in _KEYS[LONG]},
                "conversations": {n: by_suite[suite, n] for n in _KEYS[LONG]},
            }
            for suite, size in sorted(Counter(suite_of.values()).items())
        },
        "by_question": {
            name: {role: dict(sorted(counts.items())) for role, counts in sorted(roles.items())}
            for name, roles in sorted(by_question.items())
        },
    }


def mark_overlaps(db: sqlite3.Connection, drop_at: Literal[0, 8, 13]) -> None:
    """Mark the rows of a spool's table ``kept`` that have an overlap to drop; 0 marks none."""
    marked: list[tuple[str, str, int]] = []
    for number, overlaps in _overlaps(db):
        drop = drop_of(overlaps, drop_at) if drop_at else None
        if drop is not None:
            marked.append((drop.reason, drop.detail, number))
    db.executemany("UPDATE kept SET reason = ?, detail = ? WHERE number = ?", marked)


def account_for(db: sqlite3.Connection, questions: Questions) -> dict[str, Any]:
    """The account of the rows that stay, for a manifest, with a sentence for its card."""
    contamination = account(questions, (overlaps for _, overlaps in _overlaps(db)))
    return {**contamination, "summary": sentence(contamination)}


def _overlaps(db: sqlite3.Connection) -> Iterator[tuple[int, list[Overlap]]]:
    """Number and overlaps of the rows that have some and no ``reason`` to go."""
    query = "SELECT number, overlaps FROM kept WHERE reason IS NULL AND overlaps IS NOT NULL"
    for number, written in db.execute(query):
        yield number, [Overlap(**one) for one in orjson.loads(written)]


def sentence(contamination: Mapping[str, Any]) -> str:
    """What a card says of it."""
    found = [suite["found"] for suite in contamination["by_suite"].values()]
    met, asked = contamination["conversations"], contamination["questions"]
    counts = ", ".join(
        f"{sum(one[n] for one in found):,} in {met[n]:,} conversations at {n} words"
        for n in _KEYS[LONG]
    )
    checked = f"checked against {asked['count']:,} questions ({asked['file']})"
    return f"{checked}; what stays has {counts}"


def check(settings: Settings) -> dict[str, Any]:
    """Read the releases, print the table and the worst questions; returns the account.

    Raises:
        InputError: there is nothing to read, or a row has no messages.
    """
    from tqdm import tqdm

    questions = Questions.load(settings.questions)
    rows = (row for path in settings.paths for row in _conversations(path))
    shown = tqdm(rows, desc="contamination", unit=" conversations", disable=None)
    contamination = account(questions, map(questions.overlaps, shown))
    print(_table(*_suites_table(contamination)))
    if contamination["by_question"]:
        print("", _table(*_worst_table(questions, contamination)), sep="\n")
    if settings.out is not None:
        with files.atomic(settings.out) as file:
            file.write(orjson.dumps(contamination, option=orjson.OPT_INDENT_2))
        print(settings.out)
    return contamination


def _conversations(path: Path) -> Iterator[list[Message]]:
    """The messages of a release, of the configuration that holds them all, or of a file."""
    sources = [path]
    if path.is_dir():
        manifest = release.read_manifest(path)
        start = f"data/{card.default_config(manifest)}/"
        listed = (str(entry["path"]) for entry in manifest["files"])
        sources = [path / name for name in listed if name.startswith(start)]
    for source in sources:
        for number, row in enumerate(jsonl.read(source), 1):
            messages = row.get("messages")
            if not isinstance(messages, list) or not all(map(_is_message, messages)):
                raise InputError(f"{source}: row {number} has no 'messages' of role and content")
            yield messages


def _is_message(turn: Any) -> bool:
    return (
        isinstance(turn, dict)
        and turn.get("role") in ROLES
        and isinstance(turn.get("content"), str)
    )


Table = tuple[list[list[Any]], list[str], list[str]]
"""Rows, headers, and how each column is aligned."""


def _table(rows: list[list[Any]], headers: list[str], align: list[str]) -> str:
    from tabulate import tabulate  # takes 25 ms that a build need not pay

    return str(tabulate(rows, headers, disable_numparse=True, colalign=align))


def _suites_table(contamination: Mapping[str, Any]) -> Table:
    suites = contamination["by_suite"].items()
    rows = [
        [name, of["questions"], *of["found"].values(), *of["conversations"].values()]
        for name, of in suites
    ]
    asked, met = contamination["questions"]["count"], contamination["conversations"]
    found = [sum(of["found"][n] for _, of in suites) for n in _KEYS[LONG]]
    rows.append(["all", asked, *found, *met.values()])
    headers = ["suite", "questions", *(f"found at {n}" for n in _KEYS[LONG])]
    headers += [f"conversations at {n}" for n in _KEYS[LONG]]
    return rows, headers, ["left"] + ["right"] * 5


def _worst_table(questions: Questions, contamination: Mapping[str, Any]) -> Table:
    """The questions that most conversations have, those at 13 words first."""
    texts = {one.name: " ".join(" ".join(one.turns).split())[:60] for one in questions.questions}
    rows = []
    for name, roles in contamination["by_question"].items():
        at = {n: sum(counts.get(n, 0) for counts in roles.values()) for n in _KEYS[LONG]}
        rows.append([name, at["8"], at["13"], ", ".join(roles), texts[name]])
    rows.sort(key=lambda row: (-row[2], -row[1], row[0]))
    headers = ["question", "at 8", "at 13", "said by", "it begins"]
    return rows[:_SHOWN], headers, ["left", "right", "right", "left", "left"]


if __name__ == "__main__":
    command.main(Settings, check)
