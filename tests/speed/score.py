"""Recomputing published tables beside a bare script, and beside ``alpaca_eval`` itself.

``python -m tests.speed.score`` prints one table and writes ``out/speed/score.json``.
"""

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.speed import harness
from tests.speed.harness import ROOT, Cost, Row
from ultra import command
from ultra.errors import InputError, SettingError

PEERS = [["--only-binary=:all:", "alpaca_eval==0.6.6", "setuptools<81"]]
"""The last version; setuptools for the ``pkg_resources`` that it imports."""
_HERE = Path(__file__).with_name("peers")


@dataclass(frozen=True)
class Settings:
    """Measure what a published table costs: win rates, length control, and a hundred models."""

    repeat: int = 7
    """Runs of each side, taken in turn."""
    models: int = 100
    """Files in the last run; the golden ones, again and again."""
    golden: Path = ROOT.parent / "shared" / "golden" / "alpaca_eval"
    """Folder of published annotations and of the figures expected of them."""
    published: Path = ROOT.parent / "shared" / "benchmarks"
    """Folder of the published files for length control."""
    out: Path = ROOT / "out" / "speed"
    """Folder for the results, the peers, and what the runs print."""

    def __post_init__(self) -> None:
        for name, value in (("repeat", self.repeat), ("models", self.models)):
            if value < 1:
                raise SettingError(f"{name}: {value} is less than 1")


@dataclass(frozen=True)
class Case:
    """Published annotations of one model, its suite, and the C that its table was made with."""

    name: str
    suite: str
    path: Path
    c: str


def run(settings: Settings) -> None:
    """Install the peer where it is not there yet, run everything, print and write it.

    Raises:
        InputError: the golden annotations are not there.
        RunError: an installation or one of the runs failed.
    """
    out = settings.out.absolute()
    work = out / "work" / "score"
    known = cases(settings.golden)
    python = harness.peer_python(out / "peers-score", PEERS)
    facts: dict[str, Any] = {"machine": harness.machine(), "peers": harness.versions(python)}
    rows: list[Row] = []
    figures: dict[str, Any] = {}
    for case in known:
        rows += win_rate(case, work, settings.repeat)
    for case in known:
        more, figures[case.name] = length_control(case, python, settings, work)
        rows += more
    rows.append(many(known, settings, work))
    harness.print_table(rows)
    for name, found in figures.items():
        print(f"{name}: length-controlled {found}")
    harness.save(out / "score.json", rows, {**facts, "figures": figures})
    print(out / "score.json")


def cases(golden: Path) -> list[Case]:
    """The golden models."""
    place = golden / "expected.csv"
    if not place.is_file():
        raise InputError(f"{place}: is not there; name its folder with --golden")
    with place.open(encoding="utf-8") as file:
        return [
            Case(
                f"{row['model']} ({row['annotator']})",
                "alpaca_eval" if row["annotator"] == "alpaca_eval_gpt4" else "alpaca_eval_2",
                golden / row["annotator"] / f"{row['model']}.json.gz",
                row["lc_C"],
            )
            for row in csv.DictReader(file)
        ]


def ours(case: Case, *flags: str | Path) -> list[str | Path]:
    """Our command for one model."""
    module: list[str | Path] = [sys.executable, "-m", "benchmarks.score", case.suite]
    return [*module, case.path, "--json", *flags]


def win_rate(case: Case, work: Path, repeat: int) -> list[Row]:
    """Win rate, error and counts beside a script that does nothing else."""
    bare: list[str | Path] = [sys.executable, _HERE / "bare_mean.py", case.path]
    sides = {
        "bare script": lambda: harness.measure(bare, work / "bare"),
        "ours": lambda: harness.measure(ours(case, "--lc-data", "none"), work / "ours"),
    }
    found = harness.in_turn(sides, repeat)
    typical = {name: harness.typical(costs) for name, costs in found.items()}
    section = f"win rate, {case.name}"
    ratio = typical["ours"].cpu_s / typical["bare script"].cpu_s
    return [
        _row(section, "bare script", typical["bare script"]),
        _row(section, "ours", typical["ours"], ratio, "times the bare", "at most 1.5"),
    ]


def length_control(
    case: Case, python: Path, settings: Settings, work: Path
) -> tuple[list[Row], dict[str, float]]:
    """The length-controlled win rate at the published C, beside upstream's own function."""
    folder = settings.published / "alpaca_eval"
    peer: list[str | Path] = [python, _HERE / "alpaca_eval_way.py", case.path, folder, case.c]
    flags: list[str | Path] = ["--lc-C", case.c, "--benchmarks-dir", settings.published]
    sides = {
        "alpaca_eval": lambda: harness.measure(peer, work / "peer"),
        "ours": lambda: harness.measure(ours(case, *flags), work / "controlled"),
    }
    found = harness.in_turn(sides, max(1, settings.repeat // 2))
    theirs, our = (harness.typical(found[name]) for name in ("alpaca_eval", "ours"))
    section = f"length control at its C, {case.name}"
    rows = [
        _row(section, "alpaca_eval", theirs),
        _row(section, "ours", our, theirs.cpu_s / our.cpu_s, "times less CPU", "at least 2"),
        Row(section, "", value=our.peak_mb, unit="MB at most", target="under 250"),
    ]
    figures = {
        "alpaca_eval": json.loads(harness.last_line(work / "peer"))["length_controlled_winrate"],
        "ours": json.loads(harness.last_line(work / "controlled"))["lc_win_rate"],
    }
    return rows, figures


def many(known: list[Case], settings: Settings, work: Path) -> Row:
    """Many models in one run, each fitted at a pinned C."""
    weighted = [case for case in known if case.suite == "alpaca_eval_2"]
    paths = [weighted[at % len(weighted)].path for at in range(settings.models)]
    words: list[str | Path] = [sys.executable, "-m", "benchmarks.score", "alpaca_eval_2", *paths]
    flags: list[str | Path] = ["--json", "--lc-C", "1", "--benchmarks-dir", settings.published]
    cost = harness.measure([*words, *flags], work / "many")
    return _row(f"{settings.models} models", "ours", cost, cost.cpu_s, "CPU s", "under 30")


def _row(
    section: str,
    name: str,
    cost: Cost,
    value: float | None = None,
    unit: str = "",
    target: str = "",
) -> Row:
    return Row(section, name, cost.cpu_s, None, cost.peak_mb, value, unit, target)


if __name__ == "__main__":
    command.main(Settings, run)
