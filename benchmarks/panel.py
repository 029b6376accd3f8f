"""Several judges as one: the majority of their choices, the mean of their scores."""

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks import judgments
from ultra.errors import InputError

Row = dict[str, Any]


def combine(by_judge: Mapping[str, list[Row]]) -> list[Row]:
    """The judgments of a panel, from those of its judges on the same answers.

    Of choices the most frequent counts, and it is a tie if two are; scores, grades and weighted
    preferences are averaged. What one judge did not score is unscored (``a_judge_unscored``), since
    the others alone would be another panel. Usage and price are sums.

    Raises:
        InputError: the judges did not judge the same under the same protocol, but for their names.
    """
    if not by_judge:
        raise InputError("judges: a panel has one or more")
    tables = [{judgments.key(row): row for row in rows} for rows in by_judge.values()]
    for name, table in zip(by_judge, tables, strict=True):
        if table.keys() != tables[0].keys():
            raise InputError(f"judges: {name} did not judge the same as {next(iter(by_judge))}")
    return [_together([table[key] for table in tables]) for key in tables[0]]


_SHARED = ("suite", "suite_digest", "model", "revision", "baseline", "kind", "protocol_name")


def _together(rows: list[Row]) -> Row:
    first = rows[0]
    for name in _SHARED:
        if any(row[name] != first[name] for row in rows):
            raise InputError(f"judges: they differ in '{name}' at question {first['id']}")
    costs = [row["usd"] for row in rows]
    whole = {
        **first,
        "judge": " + ".join(row["judge"] for row in rows),
        "judge_model": " + ".join(row["judge_model"] for row in rows),
        "protocol": " + ".join(row["protocol"] for row in rows),
        "tries": sum(row["tries"] for row in rows),
        "text": "\n\n".join(f"{row['judge']}:\n{row['text']}" for row in rows),
        "logprobs": [],
        "usage": {name: sum(row["usage"][name] for row in rows) for name in first["usage"]},
        "usd": None if None in costs else sum(costs),
    }
    nothing: Row = {"scores": [], "preference": None}
    if any(row["verdict"] == "unscored" for row in rows):
        return {**whole, **nothing, "verdict": "unscored", "reason": "a_judge_unscored"}
    if first["kind"] == "pair_choice":
        return {**whole, **nothing, "verdict": _majority([row["verdict"] for row in rows])}
    if first["kind"] == "pair_weighted":
        preference = statistics.fmean(row["preference"] for row in rows)
        return {**whole, "preference": preference, "verdict": _sign(preference - 1.5)}
    scores = [statistics.fmean(of) for of in zip(*(row["scores"] for row in rows), strict=True)]
    verdict = "graded" if len(scores) == 1 else _sign(scores[0] - scores[1])
    return {**whole, "scores": scores, "verdict": verdict}


def _majority(verdicts: list[str]) -> str:
    (most, count), *others = Counter(verdicts).most_common()
    return "tie" if others and others[0][1] == count else most


def _sign(difference: float) -> str:
    return "tie" if difference == 0 else "model" if difference > 0 else "baseline"
