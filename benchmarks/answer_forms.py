"""Answers in the forms that others publish them in, read into our rows and written from them.

- ``answers``: our own, ``{"id", "model", "turns", ...}``;
- ``alpaca_eval``: ``model_outputs.json``, ``{"instruction", "output", "generator", "dataset"}``;
- ``fastchat``: ``model_answer/*.jsonl``, ``{"question_id", "answer_id", "model_id", "choices":
  [{"index", "turns"}], "tstamp"}``;
- ``vicuna``: FastChat's older answers, ``{"question_id", "text", "answer_id", "model_id"}``;
- ``ultrachat``: UltraChat's set of questions, ``{"class", "data"}``, with ``output`` and
  ``generator`` beside them (upstream published no answers, so these two are AlpacaEval's words).

A file without ids of questions is matched by their text. Questions of the same text are matched in
the order of their rows.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks import published
from benchmarks.questions import Question
from ultra import files, jsonl
from ultra.errors import InputError, SettingError

Form = Literal["answers", "alpaca_eval", "fastchat", "vicuna", "ultrachat"]
Odd = Literal["missing", "foreign"]
Row = dict[str, Any]

_NUMBER = re.compile("0|[1-9][0-9]{0,14}")
"""An id that FastChat writes without quotes."""
IMPORTED = "sha256 "
"""What the revision of a model begins with whose answers came in a file: of that the sha256."""

_KEYS: dict[Form, set[str]] = {
    "answers": {"id", "turns"},
    "fastchat": {"question_id", "choices"},
    "vicuna": {"question_id", "text"},
    "alpaca_eval": {"instruction", "output"},
    "ultrachat": {"data", "output"},
}


@dataclass(frozen=True)
class _Answer:
    """One row of a file. ``key`` is the question's id, or its first turn."""

    key: str
    model: str
    turns: list[str]
    row: Row


def form(path: Path, first: Row) -> Form:
    """Which form a file of answers has, from its first row.

    Raises:
        InputError: none that is known.
    """
    for name, keys in _KEYS.items():
        if keys <= first.keys():
            return name
    raise InputError(f"{path}: its rows are no answers in a known form: {', '.join(_KEYS)}")


def read(
    path: Path, asked: list[Question], model: str = "", allow: Collection[Odd] = ()
) -> list[Row]:
    """Answer rows (``results.read_answers``) in the order of the questions.

    ``model`` says whose answers to take from a file of several. ``allow`` lets questions without an
    answer (``missing``) and answers to other questions (``foreign``) be left out.

    Raises:
        SettingError: the file has answers of several models, or none of this one.
        InputError: the file is not there, a row is no answer, a question has two, and what
            ``allow`` does not name.
    """
    rows = published.rows(path)
    kind = form(path, rows[0])
    parse = _PARSERS[kind]
    found = [parse(row, f"{path}: row {number}") for number, row in enumerate(rows, 1)]
    found = _of_model(path, found, model)
    matched = _match(path, found, asked, by_text=kind in ("alpaca_eval", "ultrachat"))
    _refuse(path, found, matched, asked, allow)
    if kind != "answers":  # ours say how far a conversation came
        _check_turns(path, matched, asked)
    revision = f"{IMPORTED}{files.sha256(path)}"
    return [_row(path, one, matched[one.id], kind, revision) for one in asked if one.id in matched]


def read_turns(path: Path) -> dict[str, list[str]]:
    """The turns of each answer in a file that names its questions by id."""
    rows = published.rows(path)
    parse = _PARSERS[form(path, rows[0])]
    found = (parse(row, f"{path}: row {number}") for number, row in enumerate(rows, 1))
    return {answer.key: answer.turns for answer in found}


def _own(row: Row, place: str) -> _Answer:
    turns, error = row.get("turns"), row.get("error")
    if turns == [] and isinstance(error, str):
        return _Answer(_text(row, "id", place), _name(row, "model"), [], row)
    return _Answer(_text(row, "id", place), _name(row, "model"), _turns(turns, place), row)


def _alpaca(row: Row, place: str) -> _Answer:
    turns = [_text(row, "output", place)]
    return _Answer(_text(row, "instruction", place), _name(row, "generator"), turns, row)


def _ultrachat(row: Row, place: str) -> _Answer:
    turns = [_text(row, "output", place)]
    return _Answer(_text(row, "data", place), _name(row, "generator"), turns, row)


def _fastchat(row: Row, place: str) -> _Answer:
    choices = row.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    turns = first.get("turns") if isinstance(first, dict) else None
    return _Answer(_id(row, place), _name(row, "model_id"), _turns(turns, place), row)


def _vicuna(row: Row, place: str) -> _Answer:
    turns = [_text(row, "text", place)]
    return _Answer(_id(row, place), _name(row, "model_id"), turns, row)


_PARSERS: dict[Form, Callable[[Row, str], _Answer]] = {
    "answers": _own,
    "alpaca_eval": _alpaca,
    "fastchat": _fastchat,
    "vicuna": _vicuna,
    "ultrachat": _ultrachat,
}


def _name(row: Row, name: str) -> str:
    return jsonl.scrub(row[name]) if isinstance(row.get(name), str) else ""


def _text(row: Row, name: str, place: str) -> str:
    if not isinstance(row.get(name), str):
        raise InputError(f"{place} is no answer: its '{name}' is no text")
    return jsonl.scrub(row[name])


def _id(row: Row, place: str) -> str:
    id = row.get("question_id")
    if isinstance(id, bool) or not isinstance(id, int | str):
        raise InputError(f"{place} is no answer: its 'question_id' is no id")
    return jsonl.scrub(str(id))


def _turns(value: Any, place: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise InputError(f"{place} is no answer: its 'turns' are no texts")
    return [jsonl.scrub(turn) for turn in value]


def _of_model(path: Path, found: list[_Answer], model: str) -> list[_Answer]:
    models = sorted({answer.model for answer in found})
    if model and model not in models:
        raise SettingError(f"{path}: has no answers of {model}, but of {_some(models)}")
    if not model and len(models) > 1:
        raise SettingError(f"{path}: has answers of {_some(models)}; choose one with --model")
    return [answer for answer in found if not model or answer.model == model]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _match(
    path: Path, found: list[_Answer], asked: list[Question], by_text: bool
) -> dict[str, _Answer]:
    """The answer to each question, by its id."""
    places: dict[str, list[str]] = defaultdict(list)
    for one in asked:
        places[one.turns[0] if by_text else one.id].append(one.id)
    taken: dict[str, int] = defaultdict(int)
    matched = {}
    doubles = []
    for answer in found:
        ids, number = places.get(answer.key, []), taken[answer.key]
        taken[answer.key] += 1
        if number < len(ids):
            matched[ids[number]] = answer
        elif ids:
            doubles.append(answer.key)
    if doubles:
        raise InputError(
            f"{path}: {_count(len(doubles), 'answer')} to questions that already have one, the "
            f"first to {_shown(doubles[0])}; leave one in"
        )
    return matched


def _refuse(
    path: Path,
    found: list[_Answer],
    matched: dict[str, _Answer],
    asked: list[Question],
    allow: Collection[Odd],
) -> None:
    """Hold the file to the questions of the suite: all of them, and no other."""
    if len(found) > len(matched) and "foreign" not in allow:
        ours = {id(answer) for answer in matched.values()}
        foreign = next(answer for answer in found if id(answer) not in ours)
        raise InputError(
            f"{path}: {_count(len(found) - len(matched), 'answer')} to questions that this suite "
            f"has not, the first to {_shown(foreign.key)}; is it the right suite?"
        )
    if not matched:
        raise InputError(f"{path}: answers no question of this suite; is it the right one?")
    missing = [one for one in asked if one.id not in matched]
    if missing and "missing" not in allow:
        raise InputError(
            f"{path}: {_count(len(missing), 'question')} of {len(asked)} without an answer, the "
            f"first is {_shown(missing[0].id)} ({_shown(missing[0].turns[0])})"
        )


def _check_turns(path: Path, matched: dict[str, _Answer], asked: list[Question]) -> None:
    for one in asked:
        turns = len(matched[one.id].turns) if one.id in matched else len(one.turns)
        if turns != len(one.turns):
            raise InputError(
                f"{path}: the answer to {_shown(one.id)} has {_count(turns, 'turn')}, the question "
                f"{len(one.turns)}"
            )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")


def _row(path: Path, question: Question, answer: _Answer, kind: Form, revision: str) -> Row:
    if kind == "answers":  # as it is, but for what UTF-8 cannot hold
        kept: Row = json.loads(jsonl.scrub(json.dumps(answer.row, ensure_ascii=False)))
        return kept
    return {
        "id": question.id,
        "question": question.digest,
        "model": answer.model or path.name.partition(".")[0],
        "revision": revision,
        "turns": answer.turns,
        "finish_reasons": [],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0},
        "usd": None,
        "sampling": {},
    }


def written(rows: Iterable[Row], asked: list[Question], kind: Form) -> list[Row]:
    """Answer rows in another form, in the order of the questions; those that failed are left out.

    Raises:
        SettingError: the form has one turn, and a question has more.
    """
    by_id = {row["id"]: row for row in rows if row["turns"]}
    longest = max((len(one.turns) for one in asked), default=0)
    if kind in ("alpaca_eval", "vicuna", "ultrachat") and longest > 1:
        raise SettingError(f"form: {kind} has one turn an answer, and questions here have more")
    return [_written(by_id[one.id], one, kind) for one in asked if one.id in by_id]


def _written(row: Row, question: Question, kind: Form) -> Row:
    model, turns = row.get("model", ""), row["turns"]
    id = int(question.id) if _NUMBER.fullmatch(question.id) else question.id
    answer_id = jsonl.digest([model, question.id, turns])[:22]
    match kind:
        case "alpaca_eval":
            return {
                "dataset": question.category,
                "instruction": question.turns[0],
                "output": turns[0],
                "generator": model,
            }
        case "ultrachat":
            return {
                "class": question.category,
                "data": question.turns[0],
                "output": turns[0],
                "generator": model,
            }
        case "vicuna":
            return {
                "question_id": id,
                "text": turns[0],
                "answer_id": answer_id,
                "model_id": model,
                "metadata": {},
            }
        case "fastchat":  # its time is 0, so that the same answers give the same bytes
            return {
                "question_id": id,
                "answer_id": answer_id,
                "model_id": model,
                "choices": [{"index": 0, "turns": turns}],
                "tstamp": 0.0,
            }
    return row
