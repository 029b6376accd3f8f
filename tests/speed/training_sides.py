"""The parent's end: sides that work in turn, one step at a time, and what their steps say together.

Only one side works at a time, and the same step of all sides is done one after the other, so that a
machine that slows down slows down all of them.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.speed.harness import ROOT, Row, RunError

THREADS = 2
PATIENCE = 60
"""Seconds that a side has to end."""
Words = Sequence[str | Path | int]


@dataclass(frozen=True)
class Step:
    """What a step took, and how much it got done: supervised tokens, or dialogues."""

    seconds: float
    cpu_s: float
    amount: int


Steps = Sequence[Step]


class Side:
    """A process that does a step when told to (:class:`tests.speed.training_steps.Pace`)."""

    def __init__(self, name: str, process: "subprocess.Popen[str]", log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    def report(self) -> Step:
        """Wait for the end of a step; the first report says that all is loaded.

        Raises:
            RunError: the process ended.
        """
        line = _pipe(self.process.stdout).readline()
        if not line:
            raise RunError(
                f"{self.name}: ended before its last step; what it said is in {self.log}"
            )
        return Step(**json.loads(line))

    def step(self) -> Step:
        """Let it do a step."""
        wish = _pipe(self.process.stdin)
        with suppress(BrokenPipeError):  # report() says so, and where to look
            wish.write("\n")
            wish.flush()
        return self.report()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@contextmanager
def started(words: Mapping[str, Words], folder: Path, warm_up: int) -> Iterator[list[Side]]:
    """Start all sides, one after the other, and let each do its first steps, which do not count."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        sides = []
        for name, command in words.items():
            print(f"  starting {name} ...", flush=True)
            side = stack.enter_context(_side(name, command, folder))
            for _ in range(warm_up):
                side.step()
            sides.append(side)
        yield sides


@contextmanager
def _side(name: str, command: Words, folder: Path) -> Iterator[Side]:
    log = folder / f"{name.replace(' ', '-').replace(',', '')}.log"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(THREADS),
        "OMP_WAIT_POLICY": "PASSIVE",
        "RAYON_NUM_THREADS": str(THREADS),
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(folder / "cache"),
    }
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        side = Side(name, process, log)
        try:
            side.report()
            yield side
        finally:
            with suppress(BrokenPipeError):
                _pipe(process.stdin).close()  # it ends of itself, and removes what it wrote
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def in_turn(sides: Sequence[Side], steps: int) -> dict[str, list[Step]]:
    """The same step of all sides one after the other, there and back, so many times."""
    found: dict[str, list[Step]] = {side.name: [] for side in sides}
    for number in range(1, steps + 1):
        for side in sides if number % 2 else reversed(sides):
            found[side.name].append(side.step())
        rates = ", ".join(f"{name} {rate(done[-1:]):,.0f}" for name, done in found.items())
        print(f"  step {number} of {steps}, per second: {rates}", flush=True)
    return found


def rate(steps: Steps) -> float:
    """What all steps got done together, by the seconds they took together."""
    return sum(step.amount for step in steps) / sum(step.seconds for step in steps)


def cpu_rate(steps: Steps) -> float:
    """Likewise by CPU seconds."""
    return sum(step.amount for step in steps) / sum(step.cpu_s for step in steps)


def quickest(steps: Steps) -> list[Step]:
    """Alone the step that took least; each figure is the least of any step.

    Only for steps that all do the same.
    """
    least = (min(step.seconds for step in steps), min(step.cpu_s for step in steps))
    return [Step(*least, steps[0].amount)]


def spread(ours: Steps, theirs: Steps) -> str:
    """Least and greatest ratio of speeds, in percent, among steps that were done together."""
    shares = [100 * rate([own]) / rate([other]) for own, other in zip(ours, theirs, strict=True)]
    return f"{min(shares):.0f} to {max(shares):.0f} by step" if len(shares) > 1 else ""


def side_row(section: str, name: str, steps: Steps, unit: str, note: str = "") -> Row:
    """The line of a side: its speed by the clock, beside that by CPU time."""
    cpu_s = sum(step.cpu_s for step in steps)
    return Row(section, name, cpu_s, cpu_rate(steps), None, rate(steps), unit, "", note)


def ratio_row(section: str, name: str, pair: tuple[Steps, Steps], target: str) -> Row:
    """The line of a ratio, ours to theirs, in percent of the speed by the clock."""
    ours, theirs = pair
    cpu = 100 * cpu_rate(ours) / cpu_rate(theirs)
    note = ", ".join(word for word in (f"{cpu:.1f} % by CPU time", spread(ours, theirs)) if word)
    share = 100 * rate(ours) / rate(theirs)
    return Row(section, name, value=share, unit="%", target=target, note=note)
