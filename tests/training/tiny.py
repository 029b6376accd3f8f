"""Material for the tests of training: small chats, releases and recipes."""

import re
from pathlib import Path

from training.sft import RECIPES, Settings
from ultra import command, release
from ultra.prompts import Prompt
from ultra.schema import Conversation, Message

CARD = Prompt("card.md", "---\nlicense: other\n---\n# Tiny, version {version}\n")

RECIPE = """\
new: {vocab_size: 300, hidden_size: 32, layers: 1, heads: 2, max_positions: 256}
template: chatml
max_length: 128
trainer:
  max_steps: 12
  save_steps: 4
  logging_steps: 4
  per_device_train_batch_size: 2
  learning_rate: 1.0e-2
  seed: 0
  use_cpu: true
"""


def chat(*contents: str) -> list[Message]:
    """A conversation in which user and assistant take turns."""
    return [
        {"role": "assistant" if number % 2 else "user", "content": content}
        for number, content in enumerate(contents)
    ]


def spelled(text: str, weight: float) -> list[tuple[str, float]]:
    """A text as a tokenizer of bytes splits it: control tokens whole, the rest by character."""
    tokens = re.findall(r"<\|\w+\|>|</?s>|.", text, re.DOTALL)
    return [(token, weight) for token in tokens]


CHATS = [
    chat(f"How long shall tea number {n} steep?", f"Give it {n} minutes.", "And then?", "Drink it.")
    for n in range(12)
]


def write_release(path: Path, chats: list[list[Message]], *, demo: bool = False) -> Path:
    """A release of the corpus ``sharegpt``, all rows in ``all/train``."""
    with release.Writer(path, "sharegpt") as writer:
        for number, messages in enumerate(chats):
            provenance: dict[str, str | int | float]
            provenance = {"source": "page", "model": "", "title": "", "views": 0}
            provenance |= {"language": "", "language_confidence": 0.0}
            writer.add("all", "train", Conversation(f"c{number}", messages, provenance).row())
        writer.finish({"version": "1.0.0", "demo": demo, "steps": []}, CARD)
    return path


def recipe_file(folder: Path) -> Path:
    """The tiny recipe as a file."""
    path = folder / "tiny.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def settings(folder: Path, dataset: Path, out: Path, *flags: str) -> Settings:
    """Settings of the tiny recipe, read the way the command reads them."""
    config = ["--config", str(recipe_file(folder)), "--dataset", str(dataset), "--out", str(out)]
    return command.parse(Settings, [*config, *flags], RECIPES)
