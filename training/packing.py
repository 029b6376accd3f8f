"""From examples to micro-batches: the dialogues of an optimiser step stay exactly those.

A step takes so many dialogues in the order of the seed. They are spread over the micro-batches of
all ranks, packed (longest first into the emptiest, one row without padding, positions that restart
at each dialogue) or grouped (neighbours in length, padded). What the collators return makes
``transformers.Trainer`` and its models keep dialogues apart and compute logits where they are
needed only; notably no ``attention_mask``, beside which positions are not looked at.
"""

import heapq
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers.trainer_pt_utils import BatchRebalanceSampler

Batching = Literal["packed", "grouped"]
IGNORED = -100
"""Label of a token without loss, torch's own default."""


def packed(lengths: Sequence[int], bins: int) -> list[list[int]]:
    """Spread numbered examples over bins: longest first, each into the emptiest bin.

    The result depends on the lengths alone. Known as LPT (Graham, "Bounds on multiprocessing timing
    anomalies", 1969): no bin holds more than 4/3 of what the best way would put there.
    """
    found: list[list[int]] = [[] for _ in range(bins)]
    heap = [(0, at) for at in range(bins)]
    for one in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        filled, at = heapq.heappop(heap)
        found[at].append(one)
        heapq.heappush(heap, (filled + lengths[one], at))
    return found


def grouped(lengths: Sequence[int], bins: int) -> list[list[int]]:
    """Spread numbered examples over bins of the same size, give or take one, by length."""
    longest_first = sorted(range(len(lengths)), key=lambda at: (-lengths[at], at))
    return [part.tolist() for part in np.array_split(np.array(longest_first, dtype=int), bins)]


def steps(
    lengths: Sequence[int], dialogues: int, bins: int, batching: Batching, seed: int | None
) -> Iterator[list[list[int]]]:
    """The micro-batches of each optimiser step of an epoch, as numbers of examples.

    Args:
        lengths: Tokens of each example.
        dialogues: Examples in a step; the last step has what is left.
        bins: Micro-batches in a step, of all ranks; those of the last step may be empty.
        batching: ``packed`` or ``grouped``.
        seed: Of the order; None keeps that of the examples.
    """
    order = np.arange(len(lengths))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(lengths))
    spread = packed if batching == "packed" else grouped
    for start in range(0, len(order), dialogues):
        chosen = order[start : start + dialogues].tolist()
        found = spread([lengths[one] for one in chosen], bins)
        yield [[chosen[at] for at in one] for one in found]


def efficiency(
    lengths: Sequence[int], dialogues: int, bins: int, batching: Batching, seed: int
) -> float:
    """Share of an epoch's time, counted in tokens, that is spent on tokens of dialogues.

    ``packed``: what ranks wait for the fullest micro-batch of their round (or would, if all of a
    step ran at once) is lost. ``grouped``: what is padded is lost, too.
    """
    used = spent = 0
    for step in steps(lengths, dialogues, bins, batching, seed):
        filled = [[lengths[one] for one in micro] for micro in step if micro]
        used += sum(sum(one) for one in filled)
        if batching == "packed":
            spent += len(filled) * max(sum(one) for one in filled)
        else:
            spent += sum(len(one) * max(one) for one in filled)
    return used / spent


def sampler(
    lengths: Sequence[int],
    batching: Batching,
    shape: tuple[int, int, int],
    rank: int,
    seed: int | None,
) -> "BatchRebalanceSampler":
    """A batch sampler of one rank's micro-batches, to be given to ``Trainer``.

    ``shape`` is how many dialogues an optimiser step has, on how many ranks, in how many
    micro-batches on each. The order of an epoch depends on the seed and the epoch's number alone. A
    rank for which nothing is left in the last step gets an empty micro-batch, so that no example is
    repeated and none is lost.
    """
    from transformers.trainer_pt_utils import BatchRebalanceSampler

    dialogues, ranks, rounds = shape

    class StepSampler(BatchRebalanceSampler):  # type: ignore[misc]
        """Trainer takes any sampler of this class for one that knows its rank."""

        def __init__(self) -> None:
            super().__init__(list(lengths), dialogues, ranks, rounds, rank=rank)

        def order_seed(self, epoch: int) -> int | None:
            return None if seed is None else seed + epoch

        def __iter__(self) -> Iterator[list[int]]:
            bins, order = ranks * rounds, self.order_seed(self.epoch)
            for step in steps(self.lengths, dialogues, bins, batching, order):
                # Ranks that work at the same time get micro-batches that are alike.
                alike = sorted(step, key=lambda one: -sum(self.lengths[at] for at in one))
                for at in range(rounds):
                    yield alike[at * ranks + rank]

        def __len__(self) -> int:
            return -(-len(self.lengths) // dialogues) * rounds

    return StepSampler()


def collate_packed(
    examples: list[dict[str, Any]], weighted: bool, everywhere: bool = False
) -> "dict[str, torch.Tensor]":
    """One row of dialogues one after the other.

    ``input_ids`` and ``position_ids`` are ``[1, tokens]``; ``cu_seq_lens_q`` and ``_k``
    ``[dialogues + 1]`` are where they begin and end, for kernels that take dialogues as they are;
    ``logits_to_keep`` ``[kept]`` are the positions that predict a token with loss, and ``labels``
    and ``shift_labels`` ``[1, kept]`` those tokens. If ``weighted``, ``loss_weights`` are theirs.
    ``everywhere`` is for models that cannot leave out logits: labels are then as long as the row.
    """
    import torch

    idle = not examples  # nothing is left for this rank: two tokens without loss
    ids = [np.zeros(2, np.int64)] if idle else [one["input_ids"] for one in examples]
    weights = [np.zeros(2, np.float32)] if idle else [_silent_start(one) for one in examples]
    lengths = [len(one) for one in ids]
    flat, weight = np.concatenate(ids).astype(np.int64), np.concatenate(weights)
    ends = torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int32))
    kept = np.flatnonzero(weight) - 1  # what predicts a token stands before it
    if everywhere:
        kept = np.arange(len(flat) - 1)
    labels = torch.from_numpy(np.where(weight > 0, flat, IGNORED)[kept + 1])[None]
    batch = {
        "input_ids": torch.from_numpy(flat)[None],
        "position_ids": torch.from_numpy(np.concatenate([np.arange(n) for n in lengths]))[None],
        "cu_seq_lens_q": ends,
        "cu_seq_lens_k": ends,
        "max_length_q": max(lengths),
        "max_length_k": max(lengths),
        "logits_to_keep": torch.from_numpy(kept),
        "labels": labels,
        "shift_labels": labels,
    }
    if weighted:
        batch["loss_weights"] = torch.from_numpy(weight[kept + 1])[None]
    if everywhere:
        del batch["logits_to_keep"]
        ends_with = {"labels": IGNORED, "shift_labels": IGNORED, "loss_weights": 0}
        for name in ends_with.keys() & batch.keys():
            batch[name] = torch.nn.functional.pad(batch[name], (0, 1), value=ends_with[name])
    return batch


def collate_padded(
    examples: list[dict[str, Any]], weighted: bool, pad: int
) -> "dict[str, torch.Tensor]":
    """Rows padded at their end to the longest: all tensors are ``[dialogues, tokens]``."""
    import torch

    if not examples:
        examples = [{"input_ids": np.zeros(2, np.int64), "weights": np.zeros(2, np.float32)}]
    shape = (len(examples), max(len(one["input_ids"]) for one in examples))
    ids = np.full(shape, pad, np.int64)
    mask, weight = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for row, one in enumerate(examples):
        length = len(one["input_ids"])
        ids[row, :length], mask[row, :length] = one["input_ids"], 1
        weight[row, :length] = _silent_start(one)
    batch = {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": np.where(weight > 0, ids, IGNORED),
    }
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    if weighted:
        tensors["loss_weights"] = torch.from_numpy(weight)
    return tensors


def _silent_start(example: dict[str, Any]) -> "np.ndarray[Any, Any]":
    """The weights; that of the first token is 0, since nothing predicts it."""
    weights = np.array(example["weights"], np.float32)
    weights[0] = 0.0
    return weights
