"""The sides of the ShareGPT comparisons: our build and its peers, and how each decided."""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.speed import harness
from tests.speed.harness import Cost
from ultra import card, release

BUILD = "datasets_scripts.sharegpt.build"
PEERS = [
    ["--no-deps", "fschat==0.2.36"],
    ["markdownify==0.11.6", "beautifulsoup4==4.15.0", "tqdm==4.70.1"],
]
"""FastChat's own dependencies would bring its server; these are what its cleaning imports."""

_DRIVER = Path(__file__).with_name("peers") / "openchat_way.py"
_COUNT = re.compile(r"(?:cnt_)?(\w+): (\d+)")


@dataclass(frozen=True)
class Decisions:
    """How many conversations went in, how many stayed, and why the others did not."""

    total: int
    kept: int
    dropped: dict[str, int]


@dataclass(frozen=True)
class Side:
    """A command, the folder it is measured in, and how to read from that what it decided."""

    name: str
    command: list[str | Path]
    folder: Path
    decided: Callable[[Path], Decisions]
    raw: Path

    def run(self) -> Cost:
        """What a run takes with its input in the memory of the system, which forgets it.

        A slow peer reads the last pages minutes after the first; whoever comes next would pay for
        the disk, which is no part of either side.
        """
        read_once(self.raw)
        return harness.measure(self.command, self.folder)

    def decisions(self) -> Decisions:
        """What the latest run decided."""
        return self.decided(self.folder)


def read_once(raw: Path) -> None:
    """Read a file, or all files of a folder."""
    for path in sorted(raw.iterdir()) if raw.is_dir() else [raw]:
        with path.open("rb") as file:
            while file.read(2**20):
                pass


def ours(name: str, raw: Path, folder: Path, flags: Mapping[str, str]) -> Side:
    """Our build of ``raw``."""
    command: list[str | Path] = [sys.executable, "-m", BUILD, *build_flags(raw, folder, flags)]
    return Side(name, command, folder, our_decisions, raw)


def build_flags(raw: Path, folder: Path, flags: Mapping[str, str]) -> list[str | Path]:
    """The words after our build's name."""
    return ["--raw", raw, "--out", folder, *(word for flag in flags.items() for word in flag)]


def fastchat(python: Path, raw: Path, folder: Path) -> Side:
    """FastChat's cleaning of a dump, by its own command line."""
    words: list[str | Path] = [
        "-m",
        "fastchat.data.clean_sharegpt",
        "--in",
        raw,
        "--out",
        folder / "clean.json",
    ]
    return Side("FastChat", [python, *words], folder, fastchat_decisions, raw)


def openchat(python: Path, raw: Path, folder: Path) -> Side:
    """OpenChat's cleaning of pages, by our driver."""
    command: list[str | Path] = [python, _DRIVER, raw, folder / "clean.jsonl"]
    return Side("OpenChat's way", command, folder, openchat_decisions, raw)


def our_decisions(folder: Path) -> Decisions:
    """Read from the manifest of the one release in ``folder``."""
    (path,) = (file.parent for file in folder.glob(f"*/{release.MANIFEST}"))
    manifest = release.read_manifest(path)
    kept = sum(
        split["rows"] for split in manifest["splits"][card.default_config(manifest)].values()
    )
    dropped: Counter[str] = Counter()
    for step in manifest["steps"]:
        dropped.update(step["dropped"])
    return Decisions(manifest["steps"][0]["in"], kept, dict(dropped))


def fastchat_decisions(folder: Path) -> Decisions:
    """Read from the last line it printed, ``total: 9, skip: 2, new: 7, cnt_...: 2, ...``."""
    counts = {name: int(count) for name, count in _COUNT.findall(harness.last_line(folder))}
    total, kept, _ = (counts.pop(name) for name in ("total", "new", "skip"))
    return Decisions(total, kept, {name: count for name, count in counts.items() if count})


def openchat_decisions(folder: Path) -> Decisions:
    """Read from the last line it printed, JSON."""
    return Decisions(**json.loads(harness.last_line(folder)))
