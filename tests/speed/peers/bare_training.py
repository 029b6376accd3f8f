"""Loops that train and do nothing else, told when to do a step (``tests.speed.training_steps``).

``python -m tests.speed.peers.bare_training WAY ROWS CHECKPOINT LENGTH DIALOGUES``. The ways:

- ``apart``: a forward pass written out, attention within each document, logits where supervised;
- ``dense``: that of transformers on rows filled to the last token, plain causal attention over
  them, all logits; documents see those before them.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.speed.peers import bare_llama
from tests.speed.training_steps import Pace

Example = tuple[list[int], list[int]]
"""Token ids and labels of a dialogue, not shifted; its first token has none."""
Batch = tuple[Any, Any, list[int]]
"""Ids and the labels of the next tokens, both (tokens), and the lengths of the documents."""
SEED = 42
"""Trainer's own."""
TOGETHER = 2
"""Dialogues in a row of those that keep documents apart: short rows are faster on a CPU."""


def main(way: str, rows: str, checkpoint: str, length: str, dialogues: str) -> None:
    """Train until no further step is wanted."""
    pace = Pace()
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)
    order = endless(encoded(rows, checkpoint, int(length)))
    if way == "dense":
        steps = dense(order, int(length), int(dialogues))
    else:
        steps = documents(order, int(dialogues))
    summed = every_logit if way == "dense" else apart
    pace.turn()
    for batches in steps:
        step(model, optimiser, batches, summed)
        pace.amount = sum(int((labels != -100).sum()) for _, labels, _ in batches)
        pace.turn()


def encoded(rows: str, checkpoint: str, length: int) -> list[Example]:
    """All dialogues, cut to ``length`` tokens."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    examples = []
    for messages in load_dataset(rows, "all", split="train")["messages"]:
        found = tokenizer.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True
        )
        both = zip(found["input_ids"], found["assistant_masks"], strict=True)
        labels = [token if said else -100 for token, said in both]
        examples.append((found["input_ids"][:length], labels[:length]))
    return examples


def endless(examples: list[Example]) -> Iterator[Example]:
    """The examples again and again, in another order each time: that in which ours takes them."""
    for epoch in itertools.count():
        order = np.random.default_rng(SEED + epoch).permutation(len(examples))
        yield from (examples[number] for number in order)


def documents(order: Iterator[Example], dialogues: int) -> Iterator[list[Batch]]:
    """So many dialogues a step, a few of them in a row."""
    while True:
        taken = [next(order) for _ in range(dialogues)]
        yield [row(taken[at : at + TOGETHER]) for at in range(0, dialogues, TOGETHER)]


def dense(order: Iterator[Example], length: int, dialogues: int) -> Iterator[list[Batch]]:
    """Steps of full rows: as many as hold about so many dialogues."""
    stream = ((i, label) for one in order for i, label in zip(*shifted(one), strict=True))
    rows = max(1, dialogues // 2)
    while True:
        taken = [zip(*itertools.islice(stream, length), strict=True) for _ in range(rows)]
        yield [(torch.tensor(ids), torch.tensor(labels), [length]) for ids, labels in taken]


def shifted(example: Example) -> Example:
    """Ids, and for each the label of the token after it."""
    ids, labels = example
    return ids, [*labels[1:], -100]


def row(examples: list[Example]) -> Batch:
    """A row of whole documents."""
    both = [shifted(example) for example in examples]
    ids, labels = (torch.tensor(list(itertools.chain(*side))) for side in zip(*both, strict=True))
    return ids, labels, [len(ids) for ids, _ in both]


def step(model: Any, optimiser: Any, batches: list[Batch], summed: Callable[..., Any]) -> None:
    """One optimiser step on the mean loss of all supervised tokens."""
    total = sum(int((labels != -100).sum()) for _, labels, _ in batches)
    for batch in batches:
        (summed(model, *batch) / total).backward()
    optimiser.step()
    optimiser.zero_grad()


def apart(model: Any, ids: Any, labels: Any, lengths: list[int]) -> Any:
    """Sum of the loss, from the logits of the positions that have a label."""
    (kept,) = (labels != -100).nonzero(as_tuple=True)
    state = bare_llama.hidden(model, ids, lengths)[kept]
    return F.cross_entropy(model.lm_head(state), labels[kept], reduction="sum")


def every_logit(model: Any, ids: Any, labels: Any, lengths: list[int]) -> Any:
    """Sum of the loss, from the logits of all positions of one row."""
    del lengths
    logits = model(ids[None], use_cache=False).logits[0]
    return F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")


if __name__ == "__main__":
    main(*sys.argv[1:])
