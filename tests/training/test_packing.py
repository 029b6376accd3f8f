"""A step has the dialogues of its turn, each once, whatever way they are spread and however far."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers.trainer_pt_utils import BatchRebalanceSampler

from tests.training import one_step
from training import packing
from training.packing import Batching, collate_packed, collate_padded, efficiency, sampler, steps

BOTH: tuple[Batching, ...] = ("packed", "grouped")
both_ways = pytest.mark.parametrize("batching", BOTH)
EXAMPLES: list[dict[str, Any]] = [
    {"input_ids": np.array([5, 6, 7], np.int32), "weights": np.array([1, 0, 0.5], np.float32)},
    {"input_ids": np.array([8, 9], np.int32), "weights": np.array([0, 1], np.float32)},
]


def flat(step: list[list[int]]) -> list[int]:
    return sorted(one for micro in step for one in micro)


@pytest.mark.parametrize("seed", range(5))
def test_packed_micro_batches_are_of_nearly_the_same_size(seed: int) -> None:
    drawn = np.random.default_rng(seed).lognormal(6, 0.8, 128)
    lengths = np.clip(drawn, 16, 2048).astype(int).tolist()
    filled = [sum(lengths[one] for one in micro) for micro in packing.packed(lengths, 16)]
    assert max(filled) / (sum(filled) / 16) < 1.02


def test_the_longest_goes_into_the_emptiest_and_ties_go_to_the_first() -> None:
    assert packing.packed([3, 7, 3, 4], 2) == [[1, 2], [3, 0]]
    assert packing.packed([5, 5, 5], 2) == [[0, 2], [1]]


def test_neighbours_in_length_are_grouped_in_equal_numbers() -> None:
    assert packing.grouped([3, 9, 1, 7, 3], 2) == [[1, 3, 0], [4, 2]]


@both_ways
def test_more_micro_batches_than_dialogues_leave_empty_ones(batching: Batching) -> None:
    assert list(steps([4, 2], 8, 4, batching, None)) == [[[0], [1], [], []]]


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=40),
    st.integers(1, 12),
    st.integers(1, 12),
    st.none() | st.integers(0, 5),
)
@hypothesis_settings(deadline=None, database=None, max_examples=100)
def test_steps_are_the_seeds_order_cut_in_pieces_whatever_the_batching(
    lengths: list[int], dialogues: int, bins: int, seed: int | None
) -> None:
    order = np.arange(len(lengths))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(lengths))
    cut = [order[at : at + dialogues].tolist() for at in range(0, len(order), dialogues)]
    for batching in BOTH:
        found = list(steps(lengths, dialogues, bins, batching, seed))
        assert [flat(step) for step in found] == [sorted(one) for one in cut]
        assert all(len(step) == bins for step in found)


@both_ways
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("count", [24, 25, 13])
def test_the_ranks_of_a_step_share_its_dialogues_among_them(
    batching: Batching, ranks: int, count: int
) -> None:
    lengths = np.random.default_rng(0).integers(1, 99, count).tolist()
    shape = (12, ranks, 2)
    each = [sampler(lengths, batching, shape, rank, seed=7) for rank in range(ranks)]
    micros = [list(one) for one in each]
    assert (
        [len(one) for one in each] == [len(one) for one in micros] == [-(-count // 12) * 2] * ranks
    )
    for at, wanted in enumerate(steps(lengths, 12, 2 * ranks, batching, 7)):
        of_step = [micro for one in micros for micro in one[2 * at : 2 * at + 2]]
        assert flat(of_step) == flat(wanted)
        assert sorted(of_step) == sorted(wanted)


def test_ranks_work_on_micro_batches_alike_at_the_same_time() -> None:
    lengths = [40, 39, 10, 9]
    each = [list(sampler(lengths, "grouped", (4, 2, 2), rank, None)) for rank in (0, 1)]
    assert each == [[[0], [2]], [[1], [3]]]


def test_an_epoch_has_an_order_of_its_own_that_the_seed_decides() -> None:
    def epochs(seed: int | None) -> list[list[list[int]]]:
        one = sampler([1] * 50, "packed", (10, 1, 2), 0, seed)
        assert isinstance(one, BatchRebalanceSampler)  # so Trainer takes it as it is
        found = [list(one)]
        one.set_epoch(1)
        found.append(list(one))
        assert list(one) == found[1]
        return found

    first, second = epochs(0)
    assert epochs(0) == [first, second]
    assert first != second
    assert epochs(2)[0] not in (first, second)
    assert (
        epochs(None)[0] == epochs(None)[1] == list(sampler([1] * 50, "packed", (10, 1, 2), 0, None))
    )


@both_ways
def test_nothing_is_lost_if_all_are_of_one_length(batching: Batching) -> None:
    assert efficiency([7] * 24, 12, 4, batching, 0) == 1.0


def test_efficiency_is_the_share_of_tokens_in_what_is_computed_or_waited_for() -> None:
    assert efficiency([5, 2, 2], 3, 2, "packed", 0) == 9 / (2 * 5)
    assert efficiency([5, 2, 2], 3, 2, "grouped", 0) == 9 / (2 * 5 + 2)


def test_packed_dialogues_are_one_row_in_which_each_begins_anew() -> None:
    batch: dict[str, Any] = collate_packed(EXAMPLES, weighted=True)
    assert {name: one.tolist() for name, one in batch.items() if hasattr(one, "tolist")} == {
        "input_ids": [[5, 6, 7, 8, 9]],
        "position_ids": [[0, 1, 2, 0, 1]],
        "cu_seq_lens_q": [0, 3, 5],
        "cu_seq_lens_k": [0, 3, 5],
        "logits_to_keep": [1, 3],  # where 7 and 9 are predicted; nothing predicts 5
        "labels": [[7, 9]],
        "shift_labels": [[7, 9]],
        "loss_weights": [[0.5, 1.0]],
    }
    assert (batch["max_length_q"], batch["max_length_k"]) == (3, 3)
    kinds = {name: one.dtype for name, one in batch.items() if hasattr(one, "dtype")}
    assert kinds.pop("cu_seq_lens_q") == kinds.pop("cu_seq_lens_k") == torch.int32
    assert kinds.pop("loss_weights") == torch.float32
    assert {*kinds.values()} == {torch.int64}
    assert EXAMPLES[0]["weights"].tolist() == [1, 0, 0.5]


def test_packed_dialogues_have_no_weights_where_all_count_the_same() -> None:
    batch = collate_packed(EXAMPLES[1:], weighted=False)
    assert "loss_weights" not in batch
    assert "attention_mask" not in batch
    assert batch["labels"].tolist() == [[9]]


def test_an_idle_rank_gets_two_tokens_without_loss() -> None:
    batch: dict[str, Any] = collate_packed([], weighted=True)
    assert batch["input_ids"].tolist() == [[0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1]]
    assert batch["cu_seq_lens_q"].tolist() == [0, 2]
    for name, shape in (("labels", (1, 0)), ("loss_weights", (1, 0)), ("logits_to_keep", (0,))):
        assert batch[name].shape == shape
    assert batch["labels"].dtype == batch["logits_to_keep"].dtype == torch.int64
    padded = collate_padded([], weighted=True, pad=3)
    assert {name: one.tolist() for name, one in padded.items()} == {
        "input_ids": [[0, 0]],
        "attention_mask": [[1, 1]],
        "labels": [[-100, -100]],
        "loss_weights": [[0.0, 0.0]],
    }


def test_padded_dialogues_are_rows_whose_ends_nothing_looks_at() -> None:
    batch = collate_padded(EXAMPLES, weighted=True, pad=3)
    assert {name: one.tolist() for name, one in batch.items()} == {
        "input_ids": [[5, 6, 7], [8, 9, 3]],
        "attention_mask": [[1, 1, 1], [1, 1, 0]],
        "labels": [[-100, -100, 7], [-100, 9, -100]],
        "loss_weights": [[0.0, 0.0, 0.5], [0.0, 1.0, 0.0]],
    }
    assert "loss_weights" not in collate_padded(EXAMPLES, weighted=False, pad=3)
    kinds = {name: one.dtype for name, one in batch.items()}
    assert kinds.pop("loss_weights") == torch.float32
    assert {*kinds.values()} == {torch.int64}


@both_ways
def test_trainer_hands_on_every_dialogue_and_the_empty_micro_batches(
    tmp_path: Path, batching: Batching
) -> None:
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import DataLoader
    from transformers import TrainingArguments

    from training import trainer

    rounds, examples = 20, one_step.dataset("plain")  # and 16 dialogues
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=rounds,
        use_cpu=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    no_tokenizer: Any = None
    made = trainer.make(
        one_step.model(), no_tokenizer, (examples, None), arguments, batching, False
    )
    loader = made.get_train_dataloader()
    shard = BatchSamplerShard(loader.batch_sampler)  # as Trainer leaves it on several processes
    again = DataLoader(loader.dataset, batch_sampler=shard, collate_fn=loader.collate_fn)
    for batches in (list(loader), list(again)):
        assert len(batches) == rounds
        ids = [one["input_ids"][0].tolist() for one in batches]
        assert sorted(ids) == sorted([*examples["input_ids"], *[[0, 0]] * 4])
        assert all(
            one["labels"].numel() in (0, 2) for one in batches if one["input_ids"].sum() == 0
        )
