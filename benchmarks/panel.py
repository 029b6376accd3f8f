"""Several judges as one: the majority of their choices, the mean of their scores."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import judgments
from ultra import files, jsonl
from ultra.errors import InputError

Row = dict[str, Any]


@dataclass(frozen=True)
class Source:
    """What a row is made from: ``name`` and ``sha256`` are those of the file, or of several."""

    name: str
    sha256: str
    folder: Path
    rows: list[Row]


def sources(judged: dict[str, Path]) -> Iterator[Source]:
    """Each file of judgments; then, of several judges on the same, what they say as a panel.

    Raises:
        InputError: a row of a file is no judgment, or a panel's protocol is not there.
    """
    read = {path: judgments.read(path) for path in judged.values()}
    files_of = {
        path: Source(name, files.sha256(path), path.parent, read[path])
        for name, path in judged.items()
    }
    yield from files_of.values()
    for paths in _groups(read):
        members = [files_of[path] for path in paths]
        yield Source(
            " + ".join(one.name for one in members),
            " + ".join(one.sha256 for one in members),
            members[0].folder,
            combine({one.rows[0]["judge"]: one.rows for one in members}),
        )


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


_SHARED = (
    "suite",
    "suite_digest",
    "model",
    "revision",
    "baseline",
    "kind",
    "protocol_name",
    "characters",
    "baseline_characters",
)


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
        "texts": [row["text"] for row in rows],
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
        return {
            **whole,
            "preference": preference,
            "verdict": judgments.by_difference(preference - 1.5),
        }
    scores = [statistics.fmean(of) for of in zip(*(row["scores"] for row in rows), strict=True)]
    verdict = "graded" if len(scores) == 1 else judgments.by_difference(scores[0] - scores[1])
    return {**whole, "scores": scores, "verdict": verdict}


def _majority(verdicts: list[str]) -> str:
    (most, count), *others = Counter(verdicts).most_common()
    return "tie" if others and others[0][1] == count else most


def _groups(judged: Mapping[Path, list[Row]]) -> list[list[Path]]:
    """The files of several judges on the same answers under protocols that differ in nothing else.

    Raises:
        InputError: the protocol of one of them is not there.
    """
    alike: dict[Any, list[Path]] = defaultdict(list)
    for path, rows in judged.items():
        about = [[*judgments.key(row), *(row[name] for name in _SHARED)] for row in rows]
        alike[path.parent, jsonl.digest(sorted(about))].append(path)
    same: dict[Any, list[Path]] = defaultdict(list)
    for key, paths in alike.items():
        if len({judged[path][0]["judge"] for path in paths}) > 1:
            for path in paths:
                record = judgments.protocol(path)
                others = {k: v for k, v in record.items() if k not in ("hash", "judge")}
                same[*key, jsonl.digest(others)].append(path)
    return [paths for paths in same.values() if len(paths) > 1]
