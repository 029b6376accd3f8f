"""What every comparison of speed needs: peers of their own, CPU time of whole runs, one table.

Speed is CPU seconds, user and system, of a command and all its descendants, start-up included:
wall time on a shared machine says little. Peers live in virtual environments of their own. Nothing
here asserts a speed: a table shows ratios measured in one run beside what they are held against.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from tabulate import tabulate

from ultra import files
from ultra.errors import UltraError

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
LOG = "log.txt"
_METER = Path(__file__).with_name("meter.py")
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


class RunError(UltraError):
    """A command that was to be measured, or an installation, failed."""


@dataclass(frozen=True)
class Cost:
    """What processes took together; ``peak_mb`` (10^6 bytes, resident) is that of the largest."""

    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Row:
    """A line of the table. ``value`` is the result, in ``unit``, that ``target`` speaks of."""

    section: str
    name: str
    cpu_s: float | None = None
    per_s: float | None = None
    peak_mb: float | None = None
    value: float | None = None
    unit: str = ""
    target: str = ""
    note: str = ""


def measure(command: Sequence[str | Path], folder: Path) -> Cost:
    """Run a command to its end, from the repository's root.

    ``folder`` is emptied first: it is for what the command writes, and for its output (``LOG``).

    Raises:
        RunError: the command did not end with status 0.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    report, log = folder / "cost.json", folder / LOG
    metered: list[str | Path] = [sys.executable, "-I", _METER, report, *command]
    with log.open("wb") as output:
        status = subprocess.run(
            metered, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        ).returncode
    if status:
        words = " ".join(map(str, command))
        raise RunError(f"{words}: ended with status {status}; what it said is in {log}")
    return _cost(json.loads(report.read_bytes()))


def measure_apart(
    module: str, arguments: Sequence[str | Path], folder: Path
) -> tuple[Cost, Cost, Cost]:
    """Like :func:`measure`; returns what all processes took, the parent alone, its workers.

    Raises:
        RunError: the module failed, or had no workers.
    """
    report = folder / "apart.json"
    wrapper: list[str | Path] = [sys.executable, "-m", "tests.speed.own_usage", report]
    total = measure([*wrapper, module, *arguments], folder)
    found = json.loads(report.read_bytes())
    parent, children = _cost(found["own"]), _cost(found["workers"])
    if not children.peak_mb:
        raise RunError(f"{module}: did all in its own process; see {folder / LOG}")
    return total, parent, Cost(total.cpu_s - parent.cpu_s, children.peak_mb)


def _cost(used: Mapping[str, float]) -> Cost:
    return Cost(used["cpu_s"], used["peak_bytes"] / 1e6)


def last_line(folder: Path) -> str:
    """The last line that the command measured in ``folder`` printed."""
    lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else ""


def in_turn(runs: Mapping[str, Callable[[], T]], repeat: int) -> dict[str, list[T]]:
    """Run each, then each again, so that a machine that slows down slows down all of them."""
    results: dict[str, list[T]] = {name: [] for name in runs}
    for turn in range(1, repeat + 1):
        for name, run in runs.items():
            print(f"  {name} ({turn} of {repeat}) ...", flush=True)
            results[name].append(run())
    return results


def typical(costs: Sequence[Cost]) -> Cost:
    """The median of each of the figures."""
    return Cost(
        statistics.median(cost.cpu_s for cost in costs),
        statistics.median(cost.peak_mb for cost in costs),
    )


def spread(slower: Sequence[Cost], faster: Sequence[Cost]) -> str:
    """Least and greatest ratio of CPU time among runs that followed each other."""
    ratios = [one.cpu_s / other.cpu_s for one, other in zip(slower, faster, strict=True)]
    return f"{min(ratios):.1f} to {max(ratios):.1f}" if len(ratios) > 1 else ""


def peer_python(folder: Path, installs: Sequence[Sequence[str]]) -> Path:
    """The interpreter of a virtual environment, made on first use or if ``installs`` has changed.

    ``installs`` are the arguments of ``pip install``, one call after the other.

    Raises:
        RunError: pip failed.
    """
    python, done = folder / "bin" / "python", folder / "installed.json"
    wanted = json.dumps(installs)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    print(f"  installing {folder.name} into {folder} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    log = folder / LOG
    with log.open("wb") as output:
        for words in installs:
            pip: list[str | Path] = [*_PIP, "--python", python, "install", *words]
            if subprocess.run(pip, stdout=output, stderr=output, check=False).returncode:
                raise RunError(f"pip install {' '.join(words)}: failed; see {log}")
    files.write_text(done, wanted)
    return python


def versions(python: Path) -> dict[str, str]:
    """Name and version of what is installed for an interpreter."""
    pip: list[str | Path] = [*_PIP, "--python", python, "list", "--format", "json"]
    listed = subprocess.run(pip, stdout=subprocess.PIPE, check=True).stdout
    return {package["name"]: package["version"] for package in json.loads(listed)}


def machine() -> dict[str, Any]:
    """Where and when figures were measured; ``load`` is that of the last minute."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "libraries": versions(Path(sys.executable)),
    }


def _processor() -> str:
    """The model's name; ``platform.processor()`` is empty on most Linux systems."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def print_table(rows: Iterable[Row]) -> None:
    """Print all rows under one head, each section under its name."""
    cells: list[list[str]] = []
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            cells.append([section.upper()])
        result = "" if row.value is None else f"{row.value:,.1f} {row.unit}"
        figures = [_number(row.cpu_s, 2), _number(row.per_s, 0), _number(row.peak_mb, 0)]
        cells.append([f"  {row.name}", *figures, result, row.target, row.note])
    heads = ["", "CPU s", "per CPU s", "peak MB", "result", "target", ""]
    right = ["left", "right", "right", "right", "right", "left", "left"]
    print(tabulate(cells, heads, colalign=right, disable_numparse=True, preserve_whitespace=True))


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def save(path: Path, rows: Iterable[Row], facts: Mapping[str, Any]) -> None:
    """Write the rows and what else is known of the run as JSON."""
    found = {**facts, "rows": [asdict(row) for row in rows]}
    with files.atomic(path) as file:
        file.write(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
