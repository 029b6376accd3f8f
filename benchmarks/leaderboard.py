"""One table of everything that was judged: for people, for programs, and for a browser.

``leaderboard.md``, ``.csv``, ``.json`` and ``.html`` say the same. With ``--verify`` nothing is
written: the table is made again from the judgments and held to what stands there.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from tabulate import tabulate

from benchmarks import cells, judgments, leaderboard_page, report, reread, table, verdict
from benchmarks.metrics import Line
from benchmarks.preferences import Control
from benchmarks.table import COLUMNS, KEY, Inputs, Table
from ultra import command, files
from ultra.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Settings:
    """Make one table of all judgments below some folders."""

    results: list[Path] = command.positional()
    out: Path = Path("out/results")
    """Folder for leaderboard.md, .csv, .json and .html."""
    verify: bool = False
    """Write nothing; make the table again from the judgments and hold it to the one there."""
    reports: bool = False
    """Also write a page beside each file of judgments, with every question; the table links it."""
    releases: Path | None = None
    """Folder of releases, to tell how much of a suite stands in what a model was trained on."""
    benchmarks_dir: Path | None = None
    """Folder of published files for length control; by default ULTRA_BENCHMARKS_DIR."""


def leaderboard(settings: Settings) -> "pd.DataFrame":
    """Write the table, best model first within each suite and protocol, and print it.

    Raises:
        InputError: there are no judgments, a row is none, or with ``verify`` something differs.
    """
    inputs = Inputs(
        table.find(settings.results), control(settings.benchmarks_dir), settings.releases
    )
    made = table.build(inputs)
    if settings.reports and not settings.verify:
        report.report(report.Settings(list(inputs.judged.values())))
    written = render(made, _reports(settings.out, inputs.judged))
    if settings.verify:
        verify(settings.out, inputs, made, written)
        rows = sum(made.frame["published"] == "")
        print(f"{settings.out}: all {rows} rows follow from their judgments")
        return made.frame
    for name, text in written.items():
        files.write_text(settings.out / name, text)
    print(written["leaderboard.md"])
    for name in written:
        print(settings.out / name)
    return made.frame


def control(folder: Path | None) -> Control | None:
    """What length control needs, if the published files are at hand."""
    from benchmarks import length_control

    if length_control.source(folder) is None:
        return None
    return Control(length_control.load(folder), rounds=200)


def _reports(out: Path, judged: dict[str, Path]) -> dict[str, str]:
    """Addresses, as seen from the table, of the pages that stand beside judgments."""
    places = {name: report.place(path) for name, path in judged.items()}
    return {
        name: quote(os.path.relpath(place, out.resolve()))
        for name, place in places.items()
        if place.is_file()
    }


def render(made: Table, reports: dict[str, str]) -> dict[str, str]:
    """Every form of the table, by file name."""
    return {
        "leaderboard.md": markdown(made),
        "leaderboard.csv": made.frame.to_csv(index=False, lineterminator="\n"),
        "leaderboard.json": _json(made),
        "leaderboard.html": leaderboard_page.render(made, reports),
    }


def _json(made: Table) -> str:
    data = {"columns": COLUMNS, "rows": cells.rows_of(made.frame), "differences": made.differences}
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() + "\n"


def verify(out: Path, inputs: Inputs, made: Table, written: dict[str, str]) -> None:
    """Hold the table in ``out`` to its judgments, and those to the judge's own words.

    Raises:
        InputError: names the row and column, or the file, that does not follow.
    """
    path = out / "leaderboard.json"
    try:
        there = orjson.loads(path.read_bytes())["rows"]
        stated = {tuple(row[name] for name in KEY): row for row in there}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no table to verify ({error}); make it first") from error
    found = {tuple(row[name] for name in KEY): row for row in cells.rows_of(made.frame)}
    for key in stated.keys() - found.keys():
        raise InputError(f"{path}: row {_named(key)}: no judgments are there that it follows from")
    for key in found.keys() - stated.keys():
        raise InputError(f"{path}: row {_named(key)}: is missing, and its judgments are there")
    for columns in (["sha256"], COLUMNS):  # a file that was changed is named before what it changed
        for key, row in found.items():
            _check_row(f"{path}: row {_named(key)}", row, stated[key], columns)
    for name, file in inputs.judged.items():
        _check_words(name, file)
    for name, text in written.items():
        if not (out / name).is_file() or (out / name).read_text(encoding="utf-8") != text:
            raise InputError(f"{out / name}: differs from what the judgments give; make it again")


def _check_row(place: str, row: Line, stated: Line, columns: Iterable[str]) -> None:
    for column in columns:
        if stated.get(column) != row[column]:
            raise InputError(
                f"{place}, column {column}: says {stated.get(column)!r}, but the judgments give "
                f"{row[column]!r}"
            )


def _named(key: Any) -> str:
    return " / ".join(str(part) for part in key if part)


def _check_words(name: str, path: Path) -> None:
    """Read every judge's reply again, with the parser that the protocol names."""
    parser = verdict.PARSERS[_parser(path)]
    for number, row in enumerate(judgments.read(path), 1):
        read = reread.own(row, parser)
        for column in ("verdict", "reason", "scores", "preference"):
            if read[column] != row[column]:
                raise InputError(
                    f"{name}: row {number}, column {column}: says {row[column]!r}, but the judge's "
                    f"words give {read[column]!r}"
                )


def _parser(path: Path) -> str:
    from benchmarks import protocol

    record = judgments.protocol(path)
    if not protocol.verify(record) or path.stem.rpartition("-")[2] != record["hash"]:
        place = judgments.protocol_path(path)
        raise InputError(f"{place}: was changed: its hash is not that of what it says")
    return str(record["parser"])


def markdown(made: Table) -> str:
    """The table for people, a section for each protocol, with a note if demo had a hand in it."""
    parts = []
    for head, rows in made.sections():
        metric = str(rows["metric"].iloc[0])
        others = made.published(head["suite"], head["protocol_name"])
        parts.append(_section(head, metric, cells.rows_of(rows) + cells.rows_of(others)))
    named = made.frame[["judge", "model", "baseline"]]
    if named.isin(["demo"]).any(axis=None):
        parts.append(
            "Rows with `demo` were answered or judged by the offline demo model: a look at how it "
            "works, and no measure of anything.\n"
        )
    return "\n".join(parts)


def _section(head: Line, metric: str, rows: list[Line]) -> str:
    baseline = f", compared with {_code(rows[0]['baseline'])}" if rows[0]["baseline"] else ""
    title = f"## {cells.name(head['suite'])}: {cells.name(head['protocol_name'])}, judged by "
    told = (
        f"The score is the {cells.METRICS[metric]}{baseline}. Protocol {_code(head['protocol'])}."
    )
    lines = [cells.shown(row) for row in rows]
    names = [name for name in cells.SHOWN if any(line[name] for line in lines)]
    text = tabulate(
        [[line[name] for name in names] for line in lines],
        headers=[cells.SHOWN[name] for name in names],
        tablefmt="pipe",
        disable_numparse=True,  # a model may be called 1e5
        colalign=["left" if name in ("model", "dataset") else "right" for name in names],
    )
    sources = {str(row["source"]) for row in rows if row["published"]}
    parts = [f"{title}{cells.name(head['judge'])}", "", told, "", text, ""]
    if sources:
        parts += [
            "Rows with a year are figures that others published, by another version of the judge: "
            f"{'; '.join(sorted(sources))}.",
            "",
        ]
    return "\n".join(parts)


def _code(text: Any) -> str:
    return f"`{cells.name(text).replace('`', '')}`"


if __name__ == "__main__":
    command.main(Settings, leaderboard)
