"""The table as a page: a section for each protocol, to be sorted, and what rows are made from."""

from collections.abc import Mapping

from benchmarks import cells, charts, page, table
from benchmarks.metrics import Line
from benchmarks.table import Table

_LOW_IS_FIRST = {"model", "dataset", "contamination", "record"}
"""Columns that a first press sorts from the lowest; figures come best first."""


def render(made: Table, reports: Mapping[str, str]) -> str:
    """The page, as HTML; ``reports`` has the address of the page of each row that has one."""
    sections = []
    for head, rows in made.sections():
        others = made.published(head["suite"], head["protocol_name"])
        sections.append(_section(head, cells.rows_of(rows), cells.rows_of(others), reports))
    named = {*made.frame["judge"], *made.frame["model"], *made.frame["baseline"]}
    note = '<p class="note">Rows with demo were answered or judged by the offline demo model: a '
    note += "look at how it works, and no measure of anything.</p>"
    slots = {
        "note": note if "demo" in named else "",
        "sections": "".join(sections),
        "count": str(sum(made.frame["published"] == "")),
    }
    return page.fill("leaderboard", slots)


def _section(head: Line, own: list[Line], others: list[Line], reports: Mapping[str, str]) -> str:
    shown = [(row, cells.shown(row)) for row in own + others]
    names = [name for name in cells.SHOWN if any(line[name] for _, line in shown)]
    span = _span(own + others)
    first = own[0]
    against = f", compared with {page.text(first['baseline'])}" if first["baseline"] else ""
    heads = "".join(_head(name) for name in names if name != "interval")
    body = "".join(_row(row, line, names, span, reports) for row, line in shown)
    note = _sources(others)
    return (
        f"<section><h2>{page.text(head['suite'])}: {page.text(head['protocol_name'])}</h2>"
        f'<p class="soft">The score is the {cells.METRICS[first["metric"]]}{against}. Judged by '
        f"{page.text(head['judge'])} under protocol <code>{page.text(head['protocol'])}</code>.</p>"
        f'<div class="scroll card" tabindex="0" role="region" aria-label="Table">'
        f'<table class="board"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f"{note}{_details(own)}</section>"
    )


def _span(rows: list[Line]) -> tuple[float, float]:
    """Least and greatest figure or end of an interval, for the drawings of a section."""
    every = [row[name] for row in rows for name in ("lower", "upper", "score")]
    ends = [end for end in every if end is not None]
    margin = 0.04 * (max(ends) - min(ends)) if ends else 0.0  # or a dot would be cut off
    return (min(ends) - margin, max(ends) + margin) if ends else (0.0, 0.0)


def _head(name: str) -> str:
    first = "ascending" if name in _LOW_IS_FIRST else "descending"
    told = table.COLUMNS.get(name, "")
    plot = "<th></th>" if name == "score" else ""
    return (
        f'<th scope="col" title="{page.text(told)}"><button type="button" data-first="{first}">'
        f"{page.text(cells.SHOWN[name])}</button></th>{plot}"
    )


def _row(
    row: Line,
    line: Mapping[str, str],
    names: list[str],
    span: tuple[float, float],
    reports: Mapping[str, str],
) -> str:
    parts = []
    for name in names:
        if name == "interval":
            continue
        value = _sorting(row, name)
        what = page.text(line[name].replace("\\|", "|").replace("\\<", "<"))
        if name == "model":
            what = _model(row, reports)
        if name == "score" and line["interval"]:
            what += f' <span class="soft small">{line["interval"]}</span>'
        parts.append(f'<td class="{name}" data-value="{page.text(value)}">{what}</td>')
        if name == "score":
            bound = (row["lower"], row["upper"]) if row["lower"] is not None else None
            parts.append(f"<td>{charts.dot(row['score'], bound, span)}</td>")
    published = ' class="published"' if row["published"] else ""
    return f"<tr{published}>{''.join(parts)}</tr>"


def _model(row: Line, reports: Mapping[str, str]) -> str:
    named = page.text(row["model"])
    if row["published"]:
        return f'{named} <span class="badge">{page.text(row["published"])}</span>'
    report = reports.get(row["judgments"])
    return f'<a href="{page.text(report)}">{named}</a>' if report else named


def _sorting(row: Line, name: str) -> object:
    """What a column is sorted by; empty comes last."""
    if name == "record":
        name = "wins"
    value = row[name]
    return "" if value is None else value


def _sources(others: list[Line]) -> str:
    if not others:
        return ""
    sources = "; ".join(sorted({page.text(row["source"]) for row in others}))
    return (
        '<p class="soft small">Rows with a year are figures that others published, by another '
        f"version of the judge, and there to look at: {sources}.</p>"
    )


def _details(rows: list[Line]) -> str:
    """What each row was made from."""
    names = [
        "judge_model",
        "suite_digest",
        "model_revision",
        "dataset",
        "dataset_revision",
        "judgments",
        "sha256",
        "prompt_tokens",
        "completion_tokens",
    ]
    parts = []
    for row in rows:
        facts = "".join(
            f"<tr><th>{name.replace('_', ' ')}</th><td>{page.text(row[name])}</td></tr>"
            for name in names
            if row[name]
        )
        parts.append(f'<h3>{page.text(row["model"])}</h3><table class="facts">{facts}</table>')
    return f"<details><summary>What these rows are made from</summary>{''.join(parts)}</details>"
