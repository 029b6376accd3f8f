"""Small drawings for the pages: a bar for each part of a suite, a dot with its interval in a table.

Figures are drawn in percent of the width, so they fit any screen; numbers stand beside as text.
"""

from collections.abc import Mapping

from benchmarks import page
from benchmarks.metrics import Measure

_SCALES = {"average": (10.0, 5.0), "percent": (120.0, 100.0)}
"""Greatest value of the scale and its middle; win rates have 100 and 50."""


def bars(measures: Mapping[str, Measure]) -> str:
    """A bar with its interval for each part; to press one shows the questions of that part."""
    from benchmarks import intervals  # whose numpy --help does without

    bounds = {name: intervals.interval(measure) for name, measure in measures.items()}
    most = max((bound[1] for bound in bounds.values() if bound), default=0.0)
    lines = "".join(_bar(name, measures[name], bounds[name], most) for name in measures)
    return f'<div class="chart card">{lines}</div>'


def _bar(name: str, measure: Measure, bound: tuple[float, float] | None, most: float) -> str:
    top, middle = _SCALES.get(measure.name, (100.0, 50.0))
    top = max(top, most)
    told, marks = "no score", ""
    if measure.value is not None:
        told = f"{measure.value:.1f}"
        marks = _rect("fill", 100 * measure.value / top)
    if bound:
        told += f", 95 % interval {bound[0]:.1f} to {bound[1]:.1f}"
        marks += _line("whisker", 100 * bound[0] / top, 100 * bound[1] / top)
    told += f", n {len(measure.parts)}"
    label = page.text(name)
    value = "" if measure.value is None else f"{measure.value:.1f}"
    return (
        f'<button type="button" data-part="{label}" aria-pressed="false" title="{label}: {told}">'
        f'<span class="name">{label}</span>'
        f'<svg class="bar" aria-hidden="true">{_rect("track", 100)}{marks}'
        f'<line class="middle" x1="{_place(100 * middle / top)}" x2="{_place(100 * middle / top)}" '
        f'y1="0" y2="100%"/></svg><span class="value">{value}</span></button>'
    )


def dot(value: float | None, bound: tuple[float, float] | None, span: tuple[float, float]) -> str:
    """A value with its interval, on a scale that runs over ``span``."""
    least, most = span
    if value is None or most <= least:
        return ""
    marks = '<line class="track" x1="0" x2="100%" y1="50%" y2="50%"/>'
    if bound:
        start, end = (100 * (one - least) / (most - least) for one in bound)
        marks += _line("span", start, end)
    at = _place(100 * (value - least) / (most - least))
    marks += f'<circle class="dot" cx="{at}" cy="50%" r="4"/>'
    return f'<svg class="plot" aria-hidden="true">{marks}</svg>'


def _rect(kind: str, width: float) -> str:
    return f'<rect class="{kind}" width="{_place(width)}" height="100%" rx="3"/>'


def _line(kind: str, start: float, end: float) -> str:
    return f'<line class="{kind}" x1="{_place(start)}" x2="{_place(end)}" y1="50%" y2="50%"/>'


def _place(percent: float) -> str:
    return f"{min(max(percent, 0.0), 100.0):.2f}%"
