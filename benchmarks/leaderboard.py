"""One table of everything that was judged, in Markdown and CSV."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from benchmarks import results, score
from ultra import command, files
from ultra.errors import InputError

SHOWN = {
    "model": "model",
    "suite": "suite",
    "judge": "judge",
    "n": "n",
    "unscored": "unscored",
    "win_rate": "win rate %",
    "standard_error": "± s.e.",
    "interval": "95 % interval",
    "flip_rate": "flips %",
    "characters": "length",
    "judge_tokens": "judge tokens",
    "protocol": "protocol",
}
"""Columns of the Markdown table, and their headings; the CSV has all columns."""


@dataclass(frozen=True)
class Settings:
    """Make one table of all judgments below some folders."""

    results: list[Path] = command.positional()
    out: Path = Path("out/results")
    """Folder for leaderboard.md and leaderboard.csv."""


def leaderboard(settings: Settings) -> pd.DataFrame:
    """Write the table, best model first within each suite and protocol, and print it.

    Raises:
        InputError: there are no judgments, or a row is none.
    """
    found = {path for folder in settings.results for path in folder.rglob("judged-by-*.jsonl")}
    rows = [row(path) for path in sorted({path.resolve() for path in found})]
    if not rows:
        places = ", ".join(map(str, settings.results))
        raise InputError(f"{places}: no judgments there; judge a model first (make judge)")
    order = ["suite", "protocol", "win_rate", "model"]
    table = pd.DataFrame(rows).sort_values(order, ascending=[True, True, False, True])
    files.write_text(
        settings.out / "leaderboard.csv", table.to_csv(index=False, lineterminator="\n")
    )
    text = markdown(table)
    files.write_text(settings.out / "leaderboard.md", text)
    print(text)
    print(settings.out / "leaderboard.md")
    print(settings.out / "leaderboard.csv")
    return table


def row(path: Path) -> dict[str, Any]:
    """One model's line of the table, from its judgments."""
    judgments = results.read_judgments(path)
    first = judgments[0]
    result = score.win_rate(judgments)
    interval = score.wilson_interval(result)
    lengths = {one["id"]: one["characters"] for one in judgments if one["characters"]}
    tokens = sum(sum(one["usage"].values()) for one in judgments)
    return {
        **{name: first[name] for name in ("model", "suite", "judge", "baseline")},
        **_rounded(asdict(result)),
        "interval": "{:.1f} to {:.1f}".format(*interval) if interval else "",
        "flip_rate": _round(score.flip_rate(judgments)),
        "characters": round(sum(lengths.values()) / len(lengths)) if lengths else 0,
        "judge_tokens": tokens,
        "protocol": first["protocol"],
        "suite_digest": first["suite_digest"],
        "model_revision": first["revision"],
    }


def markdown(table: pd.DataFrame) -> str:
    """The table for people, with a note if the demo model had a hand in it."""
    cells = [
        [_cell(value) for value in line] for line in table[list(SHOWN)].itertuples(index=False)
    ]
    numbers = [pd.api.types.is_numeric_dtype(table[name]) for name in SHOWN]
    text = tabulate(
        cells,
        headers=list(SHOWN.values()),
        tablefmt="pipe",
        disable_numparse=True,  # a model may be called 1e5
        colalign=["right" if number else "left" for number in numbers],
    )
    note = ""
    if "demo" in {*table["judge"], *table["model"], *table["baseline"]}:
        note = "\n\nRows with `demo` were answered or judged by the offline demo model: a look at "
        note += "how it works, and no measure of anything."
    return f"{text}{note}\n"


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.1f}"
    return " ".join(str(value).split()).replace("|", "\\|")


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _round(value) for name, value in values.items()}


def _round(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    command.main(Settings, leaderboard)
