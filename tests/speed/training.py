"""Training beside bare loops and TRL, tokenising beside ``encode_batch``, TRL and FastChat.

``python -m tests.speed.training`` prints one table and writes ``out/speed/training.json``. All
sides have the same dialogues, the same tokenizer and template, the same model, and two threads.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.speed import harness, training_inputs
from tests.speed import training_sides as sides
from tests.speed.harness import ROOT, Row
from tests.speed.training_inputs import Inputs
from tests.speed.training_sides import Words
from ultra import command
from ultra.errors import SettingError

PEERS = [
    ["torch==2.13.0"],
    [
        "trl==1.16.0",
        "transformers==5.23.0",
        "datasets==5.2.0",
        "tokenizers==0.23.3",
        "accelerate==1.15.0",
    ],
    ["--no-deps", "fschat==0.2.36"],
    ["requests"],
]
"""FastChat imports requests; most of what else it asks for, it needs only to serve."""
PACKING = {
    "bfd": "bf16 and activations computed twice, its defaults",
    "bfd_bf16": "bf16",
    "bfd_fp32": "",
    "wrapped_bf16": "bf16; cuts dialogues, and lets them see each other",
    "wrapped_fp32": "cuts dialogues, and lets them see each other",
    "padding_free": "a dialogue a row: packs nothing, pads nothing",
}
"""Ways of TRL (``WAYS`` in ``trl_training``) of which the fastest is compared, and what they do."""
OURS, OURS_BF16 = "ours", "ours in bf16"
LIMIT, DENSE, DEFAULTS = "bare loop, documents apart", "bare loop, dense rows", "TRL, its defaults"
STEP = 8
"""Dialogues of an optimiser step, or about so many."""
SECOND = "sup. tokens/s"


@dataclass(frozen=True)
class Settings:
    """Measure how fast training and tokenising are, side by side, step by step."""

    dialogues: int = 64
    """Dialogues to train on."""
    steps: int = 16
    """Optimiser steps of each side at each length; 4 for a quick look."""
    trial: int = 3
    """Steps after which the fastest packing of TRL is chosen."""
    many: int = 2_000
    """Dialogues to tokenise."""
    repeat: int = 7
    """How often each side tokenises them; the quickest counts."""
    lengths: tuple[int, ...] = (2048, 8192)
    """Lengths in tokens to which dialogues are cut; training runs at each."""
    tokenise: bool = True
    """Measure tokenising."""
    train: bool = True
    """Measure training."""
    tools: Path = ROOT.parent / "shared" / "tools"
    """Folder of the generator, make_sharegpt.py."""
    out: Path = ROOT / "out" / "speed"
    """Folder for the results, the inputs, the peers, and what the runs print."""

    def __post_init__(self) -> None:
        for name in ("steps", "trial", "many", "repeat"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}: {getattr(self, name)} is less than 1")
        if self.dialogues < STEP:
            raise SettingError(f"dialogues: {self.dialogues} is less than {STEP}, a step's")

    @property
    def work(self) -> Path:
        return self.out.absolute() / "work" / "training"


def run(settings: Settings) -> None:
    """Make inputs and peers where they are not there yet, run everything, print and write it.

    Raises:
        InputError: the generator is not there.
        RunError: an installation or one of the sides failed.
    """
    out = settings.out.absolute()
    inputs = training_inputs.make(settings.many, settings.dialogues, settings.tools, out)
    python = harness.peer_python(out / "peers-training", PEERS)
    facts: dict[str, Any] = {"machine": harness.machine(), "peers": harness.versions(python)}
    rows: list[Row] = []
    if settings.tokenise:
        rows += tokenise(inputs, python, settings)
    for length in settings.lengths if settings.train else ():
        rows += train(inputs, python, length, settings)
    harness.print_table(rows)
    names = ("dialogues", "steps", "trial", "many", "repeat", "lengths")
    facts["settings"] = {name: getattr(settings, name) for name in names}
    facts |= {"tokens": inputs.lengths, "load_after": os.getloadavg()[0]}
    harness.save(out / "training.json", rows, facts)
    print(out / "training.json")


def tokenise(inputs: Inputs, python: Path, settings: Settings) -> list[Row]:
    """Dialogues a second, and what share of the limit's."""
    last: Words = (inputs.many, inputs.checkpoint, 2048, STEP)
    raw, function, dataset = "encode_batch alone", "ours, the function", "ours, cached data set"
    others = {"TRL, its map passes": "trl", "FastChat, preprocess": "fastchat"}
    words: dict[str, Words] = {
        raw: bare("tokenising", "raw", last),
        function: ours("function", last),
        dataset: ours("dataset", last),
    }
    for name, way in others.items():
        words[name] = [python, "-m", "tests.speed.peers.tokenising", way, *last]
    with sides.started(words, settings.work / "tokenise", 1) as running:
        found = sides.in_turn(running, settings.repeat)
    section = f"tokenising and masking, {settings.many} dialogues, {sides.THREADS} threads"
    best = {name: sides.quickest(steps) for name, steps in found.items()}
    rows = [sides.side_row(section, name, steps, "dialogues/s") for name, steps in best.items()]
    targets = {function: "at least 70 %", dataset: "at least 50 %"}
    for name in list(words)[1:]:
        pair = (best[name], best[raw])
        rows.append(sides.ratio_row(section, f"{name} / limit", pair, targets.get(name, "")))
    return rows


def train(inputs: Inputs, python: Path, length: int, settings: Settings) -> list[Row]:
    """Supervised tokens a second of all sides at one length, and ours in percent of theirs."""
    last: Words = (inputs.few, inputs.checkpoint, length, STEP)
    work = settings.work / f"train-{length}"
    section = f"training, {settings.dialogues} dialogues cut to {length}"
    rows, packing = best_packing(python, last, settings)
    words: dict[str, Words] = {
        OURS: ours("train", last),
        OURS_BF16: ours("train_bf16", last),
        LIMIT: bare("bare_training", "apart", last),
        DEFAULTS: trl(python, "defaults", last),
        f"TRL, {packing}": trl(python, packing, last),
    }
    if length == 2048:
        words[DENSE] = bare("bare_training", "dense", last)
    with sides.started(words, work, 1) as running:
        found = sides.in_turn(running, settings.steps)
    rows += [sides.side_row(section, name, steps, SECOND) for name, steps in found.items()]
    targets = {
        LIMIT: "at least 80 %",
        DENSE: "at least 90 %",
        f"TRL, {packing}": "at least 130 %",
        DEFAULTS: "at least 250 %",
    }
    for name, target in targets.items():
        if name in found:
            pair = (found[OURS], found[name])
            rows.append(sides.ratio_row(section, f"ours / {name}", pair, target))
    return rows


def best_packing(python: Path, last: Words, settings: Settings) -> tuple[list[Row], str]:
    """The fastest of TRL's ways to pack, and a line for each."""
    length = last[2]
    words = {way: trl(python, way, last) for way in PACKING}
    with sides.started(words, settings.work / f"trial-{length}", 1) as running:
        found = sides.in_turn(running, settings.trial)
    section = f"TRL's ways to pack, cut to {length}: the fastest is compared"
    rows = [
        sides.side_row(section, way, steps, SECOND, PACKING[way]) for way, steps in found.items()
    ]
    return rows, max(found, key=lambda way: sides.rate(found[way]))


def ours(way: str, last: Words) -> Words:
    """The words that run a side of ours."""
    return [sys.executable, "-m", "tests.speed.training_ours", way, *last]


def bare(module: str, way: str, last: Words) -> Words:
    """The words that run a side which needs nothing that is not installed for us."""
    return [sys.executable, "-m", f"tests.speed.peers.{module}", way, *last]


def trl(python: Path, way: str, last: Words) -> Words:
    """The words that run a way of TRL."""
    return [python, "-m", "tests.speed.peers.trl_training", way, *last]


if __name__ == "__main__":
    command.main(Settings, run)
