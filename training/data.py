"""Look at what a model would be trained on: token by token, in numbers, or as OpenChat's files."""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import orjson

from training import export, packing, sources, template, tokenised, vocabulary
from training.overflow import Overflow
from training.sources import Part
from training.tokenised import Shape
from training.trainer import lengths
from training.vocabulary import Tokens
from ultra import command
from ultra.errors import SettingError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Settings:
    """Tokenise conversations as training does, and show them, count them or export them."""

    tokenizer: str
    """Folder or Hub id of a tokenizer."""
    dataset: str = ""
    """A release directory, a Hub dataset as org/name or org/name@revision, or a file."""
    dataset_config: str = ""
    """Configuration of the dataset; by default its default one."""
    split: str = "train"
    """Split."""
    mix: list[Part] = field(default_factory=list)
    """Further datasets, each with a weight: how often an epoch goes through it."""
    template: str = ""
    """Chat template, from training/templates or a file; by default the tokenizer's own."""
    tokens: Tokens = field(default_factory=Tokens)
    """Control tokens that are added to the tokenizer."""
    max_length: int = 2048
    """Longest example in tokens."""
    overflow: Overflow = "split"
    """What becomes of longer conversations."""
    carry: int = 0
    """With 'split': rounds that the next example repeats before its own, without loss."""
    loss: Literal["token", "sequence"] = "token"
    """What counts the same in the mean over a step: each supervised token, or each example."""
    seed: int = 0
    """Of the order of dialogues, and of the share of a dataset whose weight is below 1."""
    step: int = 128
    """Dialogues in an optimiser step, for the account of batches."""
    micro_batches: int = 16
    """Micro-batches that these are spread over, on all devices."""
    show: int = 0
    """Examples to print token by token, each with its weight in the loss."""
    export_tokenised: Path | None = None
    """Folder for OpenChat's files."""
    json: bool = False
    """Print the report as JSON, and all else to stderr."""

    def __post_init__(self) -> None:
        if not self.dataset and not self.mix:
            raise SettingError("dataset: name a release directory, a Hub dataset or a file")
        if not self.step >= self.micro_batches >= 1:
            raise SettingError(f"micro_batches: {self.micro_batches} is not from 1 to step")
        _ = self.shape

    @property
    def shape(self) -> Shape:
        """How conversations become examples."""
        return Shape(self.max_length, self.overflow, self.carry, self.loss)


def run(settings: Settings) -> None:
    """Tokenise, then print and write what was asked for.

    Raises:
        InputError: data or tokenizer cannot be read, or nothing is left to train on.
        SettingError: a template without marks, or whose tokens the tokenizer lacks.
        OutputError: an exported file is there already.
    """
    tokenizer = vocabulary.tokenizer_with(settings.tokenizer, settings.tokens)
    if settings.template:
        tokenizer.chat_template = template.read(settings.template)
    named = (settings.dataset, settings.dataset_config, settings.split)
    parts = sources.parts(*named, settings.mix)
    located = [(part, sources.locate(part.dataset)) for part in parts]
    examples, report = tokenised.tokenise(located, tokenizer, settings.shape, settings.seed)
    batches = _batches(lengths(examples), settings)
    beside = sys.stderr if settings.json else sys.stdout
    if settings.json:
        print(json.dumps(asdict(report) | {"batches": batches}))
    else:
        print(report.line())
        print(
            f"in steps of {settings.step} dialogues and {settings.micro_batches} micro-batches: "
            f"packed, {1 - batches['packed']:.1%} lost to uneven ones; "
            f"grouped, {1 - batches['grouped']:.1%} lost to padding"
        )
    for at in range(min(settings.show, len(examples))):
        _show(examples, at, tokenizer, beside)
    if settings.export_tokenised:
        name = Path(settings.template or "own").stem
        for path in export.write(examples, tokenizer, settings.export_tokenised, name):
            print(path, file=beside)


def _batches(sizes: list[int], settings: Settings) -> dict[str, float]:
    """Share of an epoch's work that is done for tokens of dialogues, by way of batching."""
    shape = (settings.step, settings.micro_batches)
    ways: tuple[packing.Batching, ...] = ("packed", "grouped")
    return {way: packing.efficiency(sizes, *shape, way, settings.seed) for way in ways}


def _show(examples: "Dataset", at: int, tokenizer: "PreTrainedTokenizerBase", file: TextIO) -> None:
    """Print one example: position, id, weight and text of each token."""
    row = examples[at]
    print(f"\nexample {at}: {len(row['input_ids'])} tokens", file=file)
    print("position      id  weight  token", file=file)
    tokens = zip(row["input_ids"], row["weights"], strict=True)
    for position, (number, weight) in enumerate(tokens):
        text = orjson.dumps(tokenizer.decode([number])).decode()
        print(f"{position:8}{number:8}{weight:8.4g}  {command.printable(text)}", file=file)


if __name__ == "__main__":
    command.main(Settings, run)
