"""The cells of the table, as text for people."""

from typing import TYPE_CHECKING, Any

from benchmarks.metrics import Line

if TYPE_CHECKING:
    import pandas as pd

SHOWN = {
    "model": "model",
    "score": "score",
    "interval": "95 % interval",
    "n": "n",
    "unscored": "unscored",
    "record": "won / tied / lost",
    "behind": "behind the best",
    "lc_win_rate": "length-controlled",
    "turn_1": "turn 1",
    "turn_2": "turn 2",
    "flip_rate": "flips %",
    "length_correlation": "length r",
    "characters": "length",
    "usd": "cost $",
    "dataset": "trained on",
    "contamination": "contamination",
}
"""Columns of the Markdown table and their headings, where they hold anything."""
METRICS = {
    "win_rate": "win rate, %",
    "adjusted_win_rate": "win rate with ties as halves, %",
    "percent": "percent of the baseline's score",
    "average": "mean grade, 0 to 10",
}


def rows_of(frame: "pd.DataFrame") -> list[Line]:
    """The rows of a frame as plain values, None for what is not there."""
    import pandas as pd

    return [
        {str(column): None if value is pd.NA else value for column, value in row.items()}
        for row in frame.to_dict("records")
    ]


def shown(row: Line) -> dict[str, str]:
    """One row's cells, as text."""
    record = [row["wins"], row["ties"], row["losses"]]
    found = {column: _number(row.get(column)) for column in SHOWN}
    year = f" ({row['published']})" if row["published"] else ""
    return {
        **found,
        "model": name(row["model"]) + year,
        "score": "" if row["score"] is None else f"{row['score']:.2f}",
        "interval": _interval(row["lower"], row["upper"]),
        "record": "" if None in record else " / ".join(map(str, record)),
        "behind": _behind(row),
        "length_correlation": _number(row["length_correlation"], 2),
        "turn_1": _number(row["turn_1"], 2),
        "turn_2": _number(row["turn_2"], 2),
        "characters": _number(row["characters"], 0),
        "usd": _number(row["usd"], 2),
        "dataset": name(row["dataset"]),
        "contamination": name(row["contamination"]),
    }


def _behind(row: Line) -> str:
    if row["behind"] is None:
        return ""
    return f"{row['behind']:.1f} ({_interval(row['behind_lower'], row['behind_upper'])})"


def _interval(lower: float | None, upper: float | None) -> str:
    return "" if lower is None or upper is None else f"{lower:.1f} to {upper:.1f}"


def _number(value: Any, digits: int = 1) -> str:
    if value is None:
        return ""
    return f"{value:,.{digits}f}" if isinstance(value, float) else name(value)


def name(text: Any) -> str:
    """A name that somebody chose, as text of one line in a table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "\\<")
