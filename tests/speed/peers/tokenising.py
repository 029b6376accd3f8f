"""Other ways to tokenise dialogues, told when to do all of them once more.

``python -m tests.speed.peers.tokenising WAY ROWS CHECKPOINT LENGTH DIALOGUES``. The ways:

- ``raw``: ``encode_batch`` on the texts of all turns, no template and no mask: the limit;
- ``trl``: the ``map`` passes of ``SFTTrainer``, which is not told to cut;
- ``fastchat``: FastChat's own ``preprocess``. Its masks are made for Llama's tokenizer; with this
  one it finds them not to fit and blanks them, having done the same work.

``trl`` and ``fastchat`` run in the peers' virtual environment; DIALOGUES is not used.
"""

import itertools
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import datasets
from transformers import AutoTokenizer

from tests.speed.training_steps import Pace

Work = Callable[[], object]


def main(way: str, rows: str, checkpoint: str, length: str, dialogues: str) -> None:
    """Tokenise until it is not wanted any more."""
    del dialogues
    pace = Pace()
    datasets.disable_caching()
    datasets.disable_progress_bars()
    dataset = datasets.load_dataset(rows, "all", split="train").select_columns(["messages"])
    if way == "trl":
        with tempfile.TemporaryDirectory() as out:
            work = trl(dataset, checkpoint, out)
    elif way == "fastchat":
        work = fastchat(dataset, checkpoint, int(length))
    else:
        work = raw(dataset, checkpoint)
    pace.turn()
    for _ in itertools.count():
        work()
        pace.amount = len(dataset)
        pace.turn()


def raw(dataset: Any, checkpoint: str) -> Work:
    """The texts are in memory beforehand."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint).backend_tokenizer
    texts = [turn["content"] for messages in dataset["messages"] for turn in messages]
    return lambda: tokenizer.encode_batch(texts, add_special_tokens=False)


def trl(dataset: Any, checkpoint: str, out: str) -> Work:
    """As the trainer prepares a data set that it is given."""
    from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

    arguments = SFTConfig(
        output_dir=out, max_length=None, assistant_only_loss=True, use_cpu=True, bf16=False
    )
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    trainer = SFTTrainer(
        model=checkpoint,
        args=arguments,
        train_dataset=dataset.select([0]),
        processing_class=tokenizer,
    )
    return lambda: trainer._prepare_dataset(dataset, tokenizer, arguments, False, None, "train")


def fastchat(dataset: Any, checkpoint: str, length: int) -> Work:
    """All dialogues at once, as its data set does that is not lazy."""
    from fastchat.train.train import preprocess

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, model_max_length=length)
    tokenizer.legacy = True
    names = {"user": "human", "assistant": "gpt"}
    sources = [
        [{"from": names[turn["role"]], "value": turn["content"]} for turn in messages]
        for messages in dataset["messages"]
        if all(turn["role"] in names for turn in messages)
    ]
    return lambda: preprocess(sources, tokenizer)


if __name__ == "__main__":
    main(*sys.argv[1:])
