"""The ShareGPT build beside FastChat, OpenChat's way, the limits of its stages, its own options.

``python -m tests.speed.sharegpt`` prints one table and writes ``out/speed/sharegpt.json``.
"""

import json
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from tests.speed import harness, sharegpt_inputs
from tests.speed import sharegpt_sides as sides
from tests.speed.harness import ROOT, Cost, Row
from tests.speed.sharegpt_sides import Decisions, Side
from ultra import command
from ultra.errors import SettingError

SAME_STEPS = {
    "--workers": "1",
    "--config-name": "all",
    "--banners": "keep",
    "--languages": "false",
    "--personal-data": "off",
    "--numbering": "keep",
    "--encoding": "keep",
    "--near-duplicates": "0",
    "--statistics": "false",
}
"""Flags that leave our build the steps that the peers have."""
AS_FASTCHAT = {**SAME_STEPS, "--refusals": "vicuna"}
AS_OPENCHAT = {**SAME_STEPS, "--refusals": "openchat"}
OPTIONS = {
    "language": {"--languages": "true"},
    "personal data": {"--personal-data": "redact"},
    "near duplicates": {"--near-duplicates": "0.8"},
    "statistics": {"--statistics": "true"},
}
"""Optional steps, switched on one at a time."""
WITH_WORKERS = {"--workers": "2"}
"""All other settings are left as a person finds them."""
MEMORY_PAGES = (1_000, 20_000)


@dataclass(frozen=True)
class Settings:
    """Measure the ShareGPT build: against peers, by stage, by optional step and with workers."""

    pages: int = 10_000
    """Pages to make and to build from; 2000 for a quick look."""
    repeat: int | None = None
    """Runs of each side, taken in turn; by default 1 from 10,000 pages on, below that 3."""
    memory: bool = True
    """Also build from 1,000 and from 20,000 pages, to see how memory grows."""
    tools: Path = ROOT.parent / "shared" / "tools"
    """Folder of the generator, make_sharegpt.py."""
    out: Path = ROOT / "out" / "speed"
    """Folder for the results, the pages made, the peers, and what the runs write."""

    def __post_init__(self) -> None:
        for name, value in (("pages", self.pages), ("repeat", self.repeat)):
            if value is not None and value < 1:
                raise SettingError(f"{name}: {value} is less than 1")

    @property
    def turns(self) -> int:
        return self.repeat or (1 if self.pages >= 10_000 else 3)

    @property
    def work(self) -> Path:
        return self.out.absolute() / "work" / "sharegpt"


def run(settings: Settings) -> None:
    """Make pages and peers where they are not there yet, run everything, print and write it.

    Raises:
        InputError: the generator is not there.
        RunError: an installation or one of the runs failed.
    """
    out, work = settings.out.absolute(), settings.work
    raw = sharegpt_inputs.make(settings.pages, settings.tools, out)
    python = harness.peer_python(out / "peers-sharegpt", sides.PEERS)
    facts: dict[str, Any] = {"machine": harness.machine(), "peers": harness.versions(python)}
    dump = (
        sides.fastchat(python, raw.json, work / "fastchat"),
        sides.ours("ours", raw.json, work / "ours-json", AS_FASTCHAT),
    )
    pages = (
        sides.openchat(python, raw.pages, work / "openchat"),
        sides.ours("ours", raw.pages, work / "ours-pages", AS_OPENCHAT),
    )
    rows, _ = compare("dump (JSON)", *dump, "at least 6, good 7", settings.turns)
    more, whole = compare("pages (HTML)", *pages, "at least 18, good 20", settings.turns)
    rows += more
    rows += stages(raw.pages, whole, settings)
    rows += optional_steps(raw.pages, settings)
    rows += with_workers(raw.pages, settings)
    if settings.memory:
        rows += memory(settings)
    decisions = {side.folder.name: side.decisions() for side in (*dump, *pages)}
    harness.print_table(rows)
    print_decisions(decisions)
    found = {name: asdict(decided) for name, decided in decisions.items()}
    facts |= {"pages": settings.pages, "repeat": settings.turns, "decisions": found}
    harness.save(out / "sharegpt.json", rows, facts)
    print(out / "sharegpt.json")


def compare(
    section: str, peer: Side, our: Side, target: str, repeat: int
) -> tuple[list[Row], Cost]:
    """Run both in turn; returns their rows, with how many times faster ours is, and our cost."""
    runs = harness.in_turn({peer.name: peer.run, our.name: our.run}, repeat)
    theirs, own = harness.typical(runs[peer.name]), harness.typical(runs[our.name])
    rows = [
        Row(section, side.name, cost.cpu_s, side.decisions().total / cost.cpu_s, cost.peak_mb)
        for side, cost in ((peer, theirs), (our, own))
    ]
    ratio, note = theirs.cpu_s / own.cpu_s, harness.spread(runs[peer.name], runs[our.name])
    return [*rows, Row(section, "ratio", value=ratio, unit="x", target=target, note=note)], own


def stages(pages: Path, whole: Cost, settings: Settings) -> list[Row]:
    """What reading, parsing and converting take of our whole build; start-up is apart."""
    section = "stages of the build from pages, each with those above it"
    folder, module = settings.work / "stages", "tests.speed.sharegpt_stages"

    def take() -> dict[str, float]:
        harness.measure([sys.executable, "-m", module, pages], folder)
        found: dict[str, float] = json.loads(harness.last_line(folder))
        start = harness.measure([sys.executable, "-m", sides.BUILD, "--help"], folder)
        return {**found, "our whole build": whole.cpu_s, "of it start-up": start.cpu_s}

    runs = harness.in_turn({"stages": take}, settings.turns)["stages"]
    rows = []
    for name in runs[0]:
        cpu_s = statistics.median(run[name] for run in runs)
        share, per_s = 100 * cpu_s / whole.cpu_s, settings.pages / cpu_s
        rows.append(Row(section, name, cpu_s, per_s, value=share, unit="%"))
    return rows


def optional_steps(pages: Path, settings: Settings) -> list[Row]:
    """What each optional step adds to the build without any, and their sum."""
    section, folder = "optional steps, switched on one at a time", settings.work / "options"
    flags = {"without": {}, **OPTIONS}
    builds = {
        name: sides.ours(name, pages, folder, {**AS_OPENCHAT, **flags[name]}).run for name in flags
    }
    runs = harness.in_turn(builds, settings.turns)
    costs = {name: harness.typical(found) for name, found in runs.items()}
    base = costs.pop("without")
    rows = [Row(section, "without", base.cpu_s, settings.pages / base.cpu_s, base.peak_mb)]
    added = 0.0
    for name, cost in costs.items():
        more = cost.cpu_s - base.cpu_s
        share, per_s = 100 * more / base.cpu_s, settings.pages / cost.cpu_s
        rows.append(
            Row(section, f"+ {name}", cost.cpu_s, per_s, cost.peak_mb, share, "%", note="added")
        )
        added += more
    share = 100 * added / base.cpu_s
    return [*rows, Row(section, "sum added", added, None, None, share, "%", "at most 300 %")]


def build_with_workers(pages: Path, settings: Settings) -> tuple[Cost, Cost, Cost]:
    """Returns what all processes took, then of it the parent's part and the workers'."""
    folder = settings.work / "workers"
    return harness.measure_apart(
        sides.BUILD, sides.build_flags(pages, folder, WITH_WORKERS), folder
    )


def with_workers(pages: Path, settings: Settings) -> list[Row]:
    """The parent's share of the CPU time, which bounds how far more workers help."""
    section = "2 workers"
    print(f"  {section} ...", flush=True)
    cost, parent, _ = build_with_workers(pages, settings)
    share, per_s = 100 * parent.cpu_s / cost.cpu_s, settings.pages / cost.cpu_s
    return [
        Row(section, "all processes", cost.cpu_s, per_s),
        Row(section, "parent", parent.cpu_s, None, None, share, "%", "at most 10 %"),
    ]


def memory(settings: Settings) -> list[Row]:
    """Peak memory of the parent and of the largest worker, and by how much it grows."""
    section = "memory with 2 workers, and CPU of each side"
    rows = []
    peaks: dict[str, list[float]] = {"parent": [], "largest worker": []}
    for count in MEMORY_PAGES:
        print(f"  memory, {count:,} pages ...", flush=True)
        raw = sharegpt_inputs.make(count, settings.tools, settings.out.absolute())
        _, *used = build_with_workers(raw.pages, settings)
        for name, cost in zip(peaks, used, strict=True):
            peaks[name].append(cost.peak_mb)
            title, target = f"{name}, {count:,} pages", "at most 150 MB"
            rows.append(
                Row(section, title, cost.cpu_s, value=cost.peak_mb, unit="MB", target=target)
            )
    for name, (few, many) in peaks.items():
        more = 100 * (many / few - 1)
        rows.append(Row(section, f"{name}, growth", value=more, unit="%", target="at most 20 %"))
    return rows


def print_decisions(decisions: dict[str, Decisions]) -> None:
    """Print what each side kept and why it dropped the rest, one line a side."""
    lines = []
    for name, found in decisions.items():
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(found.dropped.items()))
        dropped = found.total - found.kept
        lines.append([name, f"{found.total:,}", f"{found.kept:,}", f"{dropped:,}", why])
    heads = ["decisions", "in", "kept", "dropped", "why"]
    right = ["left", "right", "right", "right", "left"]
    print()
    print(tabulate(lines, heads, colalign=right, disable_numparse=True))


if __name__ == "__main__":
    command.main(Settings, run)
