"""What the comparison of training counts and divides, and that the bare loops compute the same."""

import math
import random
import statistics
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.speed import training, training_inputs
from tests.speed import training_sides as sides
from tests.speed.harness import RunError
from tests.speed.training_sides import Step
from ultra.errors import SettingError

SIDE = """
import sys
from tests.speed.training_steps import Pace
pace = Pace()
print("what a library prints is no report")
pace.turn()
for amount in range(1, 9):
    pace.amount = amount
    if amount > {last}:
        raise SystemExit("no more")
    pace.turn()
"""
EXAMPLES = [([7, 1, 2, 3], [-100, -100, 2, 3]), ([8, 4, 5], [-100, 4, 5]), ([9, 6], [-100, 6])]


def side(last: int = 9) -> list[str]:
    return [sys.executable, "-c", SIDE.format(last=last)]


def test_sides_work_in_turn_and_report_what_they_did(tmp_path: Path) -> None:
    with sides.started({"one": side(), "other": side()}, tmp_path / "work", 1) as running:
        found = sides.in_turn(running, 3)
    assert [[step.amount for step in steps] for steps in found.values()] == [[2, 3, 4], [2, 3, 4]]
    assert all(step.seconds > 0 and step.cpu_s >= 0 for step in found["one"])
    assert "no report" in (tmp_path / "work" / "one.log").read_text()


def test_a_side_that_ends_too_early_names_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(
            RunError, match=r"one: ended before its last step; what it said is in .*one\.log"
        ),
        sides.started({"one": side(2)}, tmp_path / "work", 1) as running,
    ):
        sides.in_turn(running, 3)


def test_a_ratio_is_of_sums_and_its_spread_of_steps_done_together() -> None:
    ours = [Step(1.0, 2.0, 100), Step(3.0, 4.0, 100)]
    theirs = [Step(2.0, 2.0, 100), Step(2.0, 2.0, 200)]
    assert sides.rate(ours) == 50
    assert sides.cpu_rate(theirs) == 75
    row = sides.ratio_row("training", "ours / theirs", (ours, theirs), "at least 80 %")
    assert row.value == pytest.approx(100 * 50 / 75)
    assert row.note == "44.4 % by CPU time, 33 to 200 by step"


def test_the_quickest_of_equal_steps_counts() -> None:
    assert sides.quickest([Step(3.0, 1.0, 8), Step(2.0, 2.0, 8)]) == [Step(2.0, 1.0, 8)]


def test_chosen_lengths_spread_as_those_of_sharegpt() -> None:
    random_lengths = random.Random(0).choices(range(10, 12_000), k=4_000)
    chosen = training_inputs.spread(random_lengths, 200)
    found = training_inputs.describe([random_lengths[number] for number in chosen])
    assert len({*chosen}) == 200
    assert chosen == sorted(chosen)
    assert found["median"] == pytest.approx(888, rel=0.05)
    assert found["ninth_decile"] == pytest.approx(2837, rel=0.1)
    assert found["longest"] <= 8192
    normal = statistics.NormalDist(math.log(888), 0.906)
    assert math.exp(normal.inv_cdf(0.9)) == pytest.approx(2837, rel=0.01)
    with pytest.raises(RunError, match="9 dialogues are wanted, and 2 are short enough"):
        training_inputs.spread([100, 200, 9_000], 9)


def test_supervised_tokens_are_counted_after_the_shift() -> None:
    import torch

    from tests.speed.training_steps import supervised

    labels = torch.tensor([[5, -100, 6], [-100, 7, 8]])
    assert supervised({"labels": labels}) == 3
    assert supervised({"labels": labels, "shift_labels": torch.tensor([[1, -100]])}) == 1


@pytest.fixture(scope="module")
def llama() -> Any:
    """A model so small that it computes in no time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    size = {"vocab_size": 10, "hidden_size": 16, "intermediate_size": 24}
    return LlamaForCausalLM(LlamaConfig(**size, num_hidden_layers=2, num_attention_heads=2))


def test_the_bare_loop_computes_the_loss_of_each_dialogue_alone(llama: Any) -> None:
    import torch

    from tests.speed.peers import bare_training as bare

    batch = bare.row(EXAMPLES)
    assert batch[2] == [4, 3, 2]
    alone = 0.0
    for ids, labels in EXAMPLES:
        row, targets = torch.tensor([ids]), torch.tensor([labels])
        alone += llama(row, labels=targets).loss.item() * sum(label >= 0 for label in labels)
    assert bare.apart(llama, *batch).item() == pytest.approx(alone, rel=1e-5)


def test_dense_rows_are_full_and_lose_nothing() -> None:
    from tests.speed.peers import bare_training as bare

    ((first, second),) = islice(bare.dense(iter(EXAMPLES * 9), 5, 4), 1)
    ids = [*first[0].tolist(), *second[0].tolist()]
    labels = [*first[1].tolist(), *second[1].tolist()]
    assert ids == [7, 1, 2, 3, 8, 4, 5, 9, 6, 7]
    assert labels == [-100, 2, 3, -100, 4, 5, -100, 6, -100, -100]


def test_every_step_of_the_bare_loop_has_the_dialogues_of_ours() -> None:
    from tests.speed.peers import bare_training as bare
    from training import packing

    examples = [([number] * number, [-100] * number) for number in range(2, 18)]
    lengths = [len(ids) for ids, _ in examples]
    steps = islice(bare.documents(bare.endless(examples), 8), 4)
    for epoch in range(2):
        seed = bare.SEED + epoch
        for ours, theirs in zip(packing.steps(lengths, 8, 4, "packed", seed), steps, strict=False):
            assert [len(row) for _, _, row in theirs] == [2, 2, 2, 2]
            taken = sorted(length for _, _, row in theirs for length in row)
            assert taken == sorted(lengths[number] for micro in ours for number in micro)


def test_what_cannot_be_measured_is_one_clear_error() -> None:
    with pytest.raises(SettingError, match="steps: 0 is less than 1"):
        training.Settings(steps=0)
    with pytest.raises(SettingError, match="dialogues: 7 is less than 8, a step's"):
        training.Settings(dialogues=7)
