"""Our sides of the comparison of training, told when to do a step.

``python -m tests.speed.training_ours WAY ROWS CHECKPOINT LENGTH DIALOGUES``; ways are ``train`` and
``train_bf16``, ``function`` and ``dataset``; the last two tokenise all rows at every step.
"""

import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.speed.training_steps import Pace, pace_trainers
from training import sft, sources, tokenised
from training.encoding import Encoder
from training.sources import Part
from training.tokenised import Shape

SHAPE = Shape(overflow="truncate")
Work = Callable[[int], object]

TOGETHER = 2
"""Dialogues of a micro-batch, as in the bare loops."""


def main(way: str, rows: str, checkpoint: str, length: str, dialogues: str) -> None:
    """Work until no further step is wanted."""
    pace = Pace()
    with tempfile.TemporaryDirectory() as folder:
        if way.startswith("train"):
            pace_trainers(pace)
            size = {"max_length": int(length), "dialogues": int(dialogues)}
            our_trainer(rows, checkpoint, Path(folder) / "out", bf16=way == "train_bf16", **size)
        else:
            tokenise(pace, way, rows, checkpoint)


def our_trainer(
    rows: str, checkpoint: str, out: Path, max_length: int, dialogues: int, bf16: bool
) -> None:
    """Train as a user does; every Trainer of this process is paced."""
    trainer: dict[str, Any] = {
        "per_device_train_batch_size": TOGETHER,
        "gradient_accumulation_steps": dialogues // TOGETHER,
        "max_steps": 100_000,
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": bf16,
    }
    settings = sft.Settings(
        dataset=rows,
        out=out,
        model=checkpoint,
        template="chatml",
        max_length=max_length,
        overflow="truncate",
        trainer=trainer,
    )
    sft.train(settings)


def tokenise(pace: Pace, way: str, rows: str, checkpoint: str) -> None:
    """Tokenise and mask all rows at every step."""
    from datasets import load_dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    dialogues = load_dataset(rows, "all", split="train").to_list()
    work = our_function(dialogues, tokenizer) if way == "function" else our_dataset(rows, tokenizer)
    pace.turn()
    for number in itertools.count():
        work(number)
        pace.amount = len(dialogues)
        pace.turn()


def our_function(dialogues: list[dict[str, Any]], tokenizer: Any) -> Work:
    """Ids and weights of all dialogues, in memory."""
    encoder = Encoder(tokenizer)
    return lambda _: tokenised.fitted(dialogues, encoder, SHAPE)


def our_dataset(rows: str, tokenizer: Any) -> Work:
    """A release to the tokenised data set on disk; another seed is another place in the cache."""
    part = Part(rows, 1.0, "all", "train")
    return lambda number: tokenised.tokenise(
        [(part, sources.locate(rows))], tokenizer, SHAPE, seed=number
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
