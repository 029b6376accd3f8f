"""Simulated dialogues: our session beside a bare pool, a loop that gathers, and distilabel.

``python -m tests.speed.engine`` prints one table and writes ``out/speed/engine.json``. The endpoint
is on this machine, in a process of its own (:mod:`tests.speed.engine_server`).
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.speed import harness
from tests.speed.harness import ROOT, Cost, Row
from ultra import command
from ultra.errors import SettingError

PEERS = [["distilabel[openai]==1.5.3", "requests==2.34.2"]]
"""distilabel imports requests and does not ask for it."""

_DRIVERS = Path(__file__).with_name("peers")


@dataclass(frozen=True)
class Settings:
    """Measure dialogues of four rounds, seven calls each, against an endpoint of set latency."""

    dialogues: int = 5_000
    """Dialogues where the server is the limit; 1000 for a quick look."""
    fewer: int = 1_024
    """Dialogues of the sides that would take too long, and of both where the client is the
    limit; never more than ``dialogues``."""
    flight: int = 512
    """Most calls in flight."""
    latency: float = 2.0
    """Mean seconds of an answer where the server is the limit."""
    short: float = 0.2
    """Mean seconds of an answer where the client is the limit."""
    plan: int = 1_000_000
    """Dialogues planned where memory is measured."""
    plan_calls: int = 10_000
    """Calls after which that run stops."""
    peers: bool = True
    """Also install and run distilabel."""
    out: Path = ROOT / "out" / "speed"
    """Folder for the results, the peers, and what the runs write."""

    def __post_init__(self) -> None:
        for name in ("dialogues", "fewer", "flight", "plan", "plan_calls"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}: {getattr(self, name)} is less than 1")
        if not (self.latency > 0 and self.short > 0):
            raise SettingError("latency, short: must be more than 0")

    @property
    def few(self) -> int:
        return min(self.fewer, self.dialogues)

    @property
    def work(self) -> Path:
        return self.out.absolute() / "work" / "engine"


@dataclass(frozen=True)
class Held:
    """What holding dialogues took. ``server_s`` is what all answers were made to take together,
    ``slowest_s`` those of the slowest dialogue; ``loop_s`` is CPU time without start-up."""

    cost: Cost
    seconds: float
    calls: int
    server_s: float
    slowest_s: float
    loop_s: float

    def share(self, flight: int) -> float:
        """Percent of the speed that no client could pass: as many as ``flight`` always under way,
        and no dialogue faster than its answers.
        """
        return 100 * max(self.server_s / flight, self.slowest_s) / self.seconds

    @property
    def per_s(self) -> float:
        return self.calls / self.seconds

    @property
    def ms(self) -> float:
        """CPU milliseconds of a call."""
        return 1000 * self.loop_s / self.calls


def run(settings: Settings) -> None:
    """Run all sides, print and write what they took.

    Raises:
        RunError: an installation or one of the runs failed.
    """
    rows = [*server_bound(settings), *client_bound(settings), *memory(settings)]
    harness.print_table(rows)
    cores, load = os.cpu_count(), ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(
        f"load of the {cores} cores in the last 1, 5 and 15 minutes: {load}; with others at work "
        "on them wall times are theirs too, and only CPU times hold"
    )
    settled = {name: getattr(settings, name) for name in ("dialogues", "few", "flight", "latency")}
    facts = {"machine": harness.machine(), "settings": settled}
    harness.save(settings.out / "engine.json", rows, facts)
    print(settings.out / "engine.json")


def server_bound(settings: Settings) -> list[Row]:
    """How near each side comes to what the server allows."""
    section = (
        f"the server is the limit: {settings.flight} in flight, answers of {settings.latency:g} s"
    )
    sides = {
        f"ours, {settings.dialogues:,} dialogues": ours(settings.dialogues),
        f"gather per turn, {settings.few:,}": bare(settings.few, "gather"),
    }
    if settings.peers:
        python = harness.peer_python(settings.out.absolute() / "peers-engine", PEERS)
        driver = _DRIVERS / "distilabel_pipeline.py"
        sides[f"distilabel, {settings.few:,}"] = [
            *(python, "-W", "ignore", driver),
            *("--dialogues", settings.few),
        ]
    rows = []
    for name, words in sides.items():
        held = hold(name, words, settings.latency, settings)
        mine = name.startswith("ours")
        rows.append(
            Row(
                section,
                name,
                held.cost.cpu_s,
                held.calls / held.cost.cpu_s,
                held.cost.peak_mb,
                held.share(settings.flight),
                "% of the limit",
                "at least 75 %" if mine else "",
                f"{held.seconds:,.0f} s, {held.per_s:,.0f} calls/s"
                + (", its start-up included" if name.startswith("distilabel") else ""),
            )
        )
    return rows


def client_bound(settings: Settings) -> list[Row]:
    """Calls a second of ours, its journal on, and of a bare pool of the same size."""
    section = (
        f"the client is the limit: {settings.flight} in flight, answers of {settings.short:g} s, "
        f"{settings.few:,} dialogues"
    )
    rows, found = [], {}
    for name, words in (
        ("bare chat.completions.create", bare(settings.few, "pool")),
        ("ours, journal on", ours(settings.few)),
    ):
        held = found[name] = hold(name, words, settings.short, settings)
        rate = held.calls / held.cost.cpu_s
        note = f"{held.ms:.2f} ms of CPU a call"
        rows.append(
            Row(
                section,
                name,
                held.cost.cpu_s,
                rate,
                held.cost.peak_mb,
                held.per_s,
                "calls/s",
                "",
                note,
            )
        )
    theirs, own = found.values()
    ratios = {
        "ratio": (own.per_s / theirs.per_s, "at least 3"),
        "ratio of CPU": (theirs.ms / own.ms, ""),
    }
    return rows + [
        Row(section, name, value=value, unit="x", target=target)
        for name, (value, target) in ratios.items()
    ]


def memory(settings: Settings) -> list[Row]:
    """Peak memory while a long plan is under way: of a session alone, and of the whole build."""
    section = f"a plan of {settings.plan:,} dialogues, its first {settings.plan_calls:,} calls"
    rows = []
    for name, module in (("session", "engine_ours"), ("UltraChat build", "engine_build")):
        words = ours(settings.plan, f"tests.speed.{module}")
        held = hold(name, [*words, "--calls", settings.plan_calls], settings.short, settings)
        cpu_s, peak = held.cost.cpu_s, held.cost.peak_mb
        target = "less than 200 MB"
        rows.append(Row(section, name, cpu_s, held.calls / cpu_s, peak, peak, "MB", target))
    return rows


Words = list[str | Path | int]


def ours(dialogues: int, module: str = "tests.speed.engine_ours") -> Words:
    """The words of a driver of ours, but for the endpoint and how many at a time."""
    return [sys.executable, "-m", module, "--dialogues", dialogues]


def bare(dialogues: int, way: str) -> Words:
    """Likewise of the driver without anything around the openai package."""
    driver = _DRIVERS / "bare_openai.py"
    return [sys.executable, driver, "--dialogues", dialogues, "--way", way]


def hold(name: str, words: Sequence[str | Path | int], latency: float, settings: Settings) -> Held:
    """Run one side against an endpoint of its own."""
    print(f"  {name}, answers of {latency:g} s ...", flush=True)
    with endpoint(latency) as url:
        more = [url, "--flight", settings.flight]
        if "-m" in words:  # is ours, and writes
            more += ["--folder", settings.work / "run"]
        command_line = [str(word) for word in (*words, *more)]
        cost = harness.measure(command_line, settings.work)
    found = json.loads(harness.last_line(settings.work))
    held = Held(cost, loop_s=found.pop("cpu_s", cost.cpu_s), **found)
    load = os.getloadavg()[0]
    print(f"    {held.seconds:,.0f} s, {held.per_s:,.0f} calls/s, load {load:.1f}", flush=True)
    return held


@contextmanager
def endpoint(latency: float) -> Iterator[str]:
    """An endpoint in a process of its own; gives its base URL."""
    words = [sys.executable, "-m", "tests.speed.engine_server", "--latency", str(latency)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


if __name__ == "__main__":
    command.main(Settings, run)
