"""AlpacaEval's lines of a table: win rates of preferences, as they are and at equal length.

Importing this takes little, for one model's table takes a few hundredths of a second altogether.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import metrics
from benchmarks.metrics import Line, Scored
from benchmarks.published import Annotation

if TYPE_CHECKING:
    from benchmarks.length_control import Reference


class Control(NamedTuple):
    """How to control win rates for length: ``c`` is the penalty, None for the one that fits best.

    With ``rounds`` there is a bootstrap error, too.
    """

    reference: "Reference"
    c: float | None = None
    rounds: int = 0


def lines(annotations: list[Annotation], control: Control | None) -> Iterator[Scored]:
    """The win rate of each model, and with ``control`` the length-controlled one."""

    def pair(row: Annotation) -> tuple[str, str]:
        return row.model, row.baseline

    for (model, baseline), of in groupby(sorted(annotations, key=pair), pair):
        rows = list(of)
        line = {
            "model": model,
            "baseline": baseline,
            **metrics.preference_score(row.preference for row in rows)._asdict(),
            **_length_controlled(rows, control),
            "avg_length": sum(row.model_length for row in rows) // len(rows),
        }
        points = {row.instruction: row.preference for row in rows}
        yield Scored(line, metrics.preference_measure(points))


def _length_controlled(rows: list[Annotation], control: Control | None) -> Line:
    line: Line = dict.fromkeys(("lc_win_rate", "lc_standard_error", "lc_C", "lc_data"))
    if control is None:
        return line
    from benchmarks import length_control  # importing numpy takes as long as all else here

    found = length_control.control(rows, control.reference, control.c)
    if found is None:
        return line
    line.update(lc_win_rate=found.win_rate, lc_standard_error=found.standard_error, lc_C=found.c)
    line["lc_data"] = control.reference.source
    if control.rounds and found.c is not None:
        drawn = length_control.bootstrap(rows, control.reference, found.c, control.rounds)
        line["lc_bootstrap_se"], line["lc_interval"] = drawn or (None, None)
    return line
