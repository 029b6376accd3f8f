"""Judgments: one row for each question, turn, order and sample, and where their files stand.

A row says what one judge made of one request, or why there is no verdict. Judging writes it;
tables, reports and ratings read it and nothing else, so it names all that it depends on.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import orjson

from ultra import jsonl
from ultra.errors import InputError

Kind = Literal["pair_scores", "pair_choice", "pair_weighted", "grade"]
Order = Literal["model_first", "baseline_first", ""]
Verdict = Literal["model", "baseline", "tie", "graded", "unscored"]

FIELDS: dict[str, tuple[type, ...]] = {
    "id": (str,),  # of the question
    "category": (str,),
    "difficulty": (int,),  # 0 where the suite has none
    "suite": (str,),
    "suite_digest": (str,),
    "turn": (int,),  # 1-based; 0 is the whole conversation
    "model": (str,),
    "revision": (str,),  # of the model, as its answers name it
    "baseline": (str,),  # whose answers it was compared with; "" for a grade
    "judge": (str,),  # as asked
    "judge_model": (str,),  # as the server named it; "" if it said nothing
    "kind": (str,),
    "protocol": (str,),  # hash
    "protocol_name": (str,),
    "order": (str,),  # whose answer was shown first; "" for a grade
    "sample": (int,),  # from 0
    "tries": (int,),  # completions asked for until this verdict; 0 if none came or was needed
    "verdict": (str,),
    "reason": (str,),  # why it is unscored, else ""
    "scores": (list,),  # of model and baseline, or the grade, 0 to 10; else none
    "preference": (float, int, type(None)),  # for the model, 1 to 2; weighted judgments only
    "characters": (int,),  # of the model's answer, as far as it was judged
    "baseline_characters": (int,),
    "text": (str,),  # the judge's own words, or the message of a call that failed
    "logprobs": (list,),  # [token, logarithm] of the choice; weighted judgments only
    "usage": (dict,),  # tokens of all tries
    "usd": (float, int, type(None)),  # price of all tries in US dollars; None is unknown
}
"""What every row has, in this order."""

_VERDICTS: dict[str, set[str]] = {
    "pair_scores": {"model", "baseline", "tie", "unscored"},
    "pair_choice": {"model", "baseline", "tie", "unscored"},
    "pair_weighted": {"model", "baseline", "tie", "unscored"},
    "grade": {"graded", "unscored"},
}
_SCORES = {"pair_scores": 2, "pair_choice": 0, "pair_weighted": 0, "grade": 1}


def by_difference(difference: float) -> Verdict:
    """Who is the better by the model's figure less the baseline's."""
    return "tie" if difference == 0 else "model" if difference > 0 else "baseline"


def path(results: Path, judge: str, protocol: str) -> Path:
    """The judgments of one judge under one protocol, by its hash, on one model's answers."""
    return results / f"judged-by-{quote(judge, safe=' @')}-{protocol}.jsonl"


def protocol_path(judgments: Path) -> Path:
    """The protocol of a file of judgments, as data, beside it."""
    return judgments.with_name(f"protocol-{judgments.stem.rpartition('-')[2]}.json")


def protocol(judgments: Path) -> dict[str, Any]:
    """The protocol of a file of judgments, as it was written when they were made.

    Raises:
        InputError: it is not there, or no protocol.
    """
    place = protocol_path(judgments)
    if not place.is_file():
        raise InputError(f"{place}: is not there; judge again to have it")
    try:
        record = orjson.loads(place.read_bytes())
        named = {name: str(record[name]) for name in ("hash", "parser", "baseline_digest")}
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{place}: is no protocol ({error!r}); judge again to have it") from error
    return {**record, **named}


def key(row: dict[str, Any]) -> tuple[str, int, str, int]:
    """What tells a judgment from all others of its file: question, turn, order and sample."""
    return row["id"], row["turn"], row["order"], row["sample"]


def read(path: Path) -> list[dict[str, Any]]:
    """The judgments of one file.

    Raises:
        InputError: there are none, a row is none, or two are about the same.
    """
    rows = list(jsonl.read(path))
    if not rows:
        raise InputError(f"{path}: holds no judgments")
    for number, row in enumerate(rows, 1):
        wrong = faults(row)
        if wrong:
            raise InputError(f"{path}: row {number} is no judgment: see its {', '.join(wrong)}")
    if len({key(row) for row in rows}) < len(rows):
        raise InputError(f"{path}: two rows judge the same question, turn, order and sample")
    return rows


def faults(row: dict[str, Any]) -> list[str]:
    """Names of the fields of a row that are not as they should be; none for a judgment."""
    wrong = [name for name, kinds in FIELDS.items() if type(row.get(name, ...)) not in kinds]
    if wrong:
        return wrong
    kind, scored = row["kind"], row["verdict"] != "unscored"
    if kind not in _VERDICTS:
        return ["kind"]
    if row["verdict"] not in _VERDICTS[kind]:
        return ["verdict"]
    weighted = scored and kind == "pair_weighted"
    sound = {
        "order": row["order"] in ([""] if kind == "grade" else ["model_first", "baseline_first"]),
        "reason": bool(row["reason"]) != scored,
        "scores": _within(row["scores"], 0, 10) and len(row["scores"]) == _SCORES[kind] * scored,
        "preference": _within([row["preference"]], 1, 2) if weighted else not row["preference"],
        "usage": all(type(count) is int and count >= 0 for count in row["usage"].values()),
        "usd": row["usd"] is None or _within([row["usd"]], 0, math.inf),
    }
    counts = ("difficulty", "turn", "sample", "tries", "characters", "baseline_characters")
    sound |= {name: row[name] >= 0 for name in counts}
    wrong = [name for name, good in sound.items() if not good]
    return wrong or ([] if row["verdict"] == _implied(row) else ["verdict"])


def _implied(row: dict[str, Any]) -> str:
    """The verdict that scores or a preference amount to."""
    if row["verdict"] == "unscored" or row["kind"] in ("grade", "pair_choice"):
        return str(row["verdict"])
    weighted = row["kind"] == "pair_weighted"
    one, other = (row["preference"], 1.5) if weighted else row["scores"]
    return "tie" if one == other else "model" if one > other else "baseline"


def _within(numbers: Iterable[Any], least: float, most: float) -> bool:
    return all(type(one) in (int, float) and least <= one <= most for one in numbers)
