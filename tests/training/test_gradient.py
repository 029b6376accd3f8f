"""A step's gradient is the mean over its supervised tokens, however it is cut and spread."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ROOT
from tests.training import one_step

TOLERANCE = 1e-5
FSDP = {
    "fsdp": True,
    "fsdp_config": {"version": 2, "transformer_layer_cls_to_wrap": "LlamaDecoderLayer"},
}


def reference(weights: str) -> tuple[dict[str, torch.Tensor], float]:
    """Weights after the step, and the loss before it, one dialogue at a time in a bare loop."""
    model = one_step.model().train()
    total, mass = torch.zeros(()), 0.0
    for row in one_step.rows(weights):
        ids = torch.tensor(row["input_ids"])[None]
        weight = torch.tensor(row["weights"][1:], dtype=torch.float32)
        logits = model(input_ids=ids).logits[0, :-1]
        each = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
        total = total + (each * weight).sum()
        mass += float(weight.sum())
    loss = total / mass
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= parameter.grad
    return {name: one.detach().clone() for name, one in model.named_parameters()}, loss.item()


def read(out: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    from safetensors.torch import load_file

    return load_file(out / "model.safetensors"), json.loads((out / "losses.json").read_text())


def on_two_processes(folder: Path, cases: list[dict[str, Any]]) -> None:
    """Run the cases one after the other on two processes that talk over gloo."""
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words += ["-m", "tests.training.one_step", str(folder), *map(json.dumps, cases)]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def distance(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Relative error of the gradient: of what the step changed."""
    start = one_step.model().state_dict()
    wrong = sum(float(((found[name] - one) ** 2).sum()) for name, one in expected.items())
    right = sum(float(((start[name] - one) ** 2).sum()) for name, one in expected.items())
    return float((wrong / right) ** 0.5)


def check(out: Path, weights: str) -> None:
    found, losses = read(out)
    expected, loss = reference(weights)
    assert distance(found, expected) < TOLERANCE
    assert losses["loss"] == [pytest.approx(loss, abs=TOLERANCE)]
    assert losses["eval_loss"][0] == pytest.approx(loss, abs=TOLERANCE)


def case(batch: int, rounds: int, batching: str = "packed", **more: Any) -> dict[str, Any]:
    return {"batch": batch, "rounds": rounds, "batching": batching, "weights": "plain", **more}


ONE = [
    case(16, 1),
    case(1, 16),
    case(4, 4),
    case(4, 4, "grouped"),
    case(4, 4, weights="mixed"),
    case(4, 4, "grouped", weights="mixed"),
    case(4, 4, trainer={"activation_checkpointing": True}),
]
TWO = [
    case(8, 1),
    case(1, 8),
    case(2, 4, weights="mixed"),
    case(4, 2, "grouped"),
    case(40, 12),  # more micro-batches than dialogues
]


@pytest.mark.parametrize("asked", ONE, ids=str)
def test_the_gradient_is_the_mean_over_all_supervised_tokens(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    one_step.train(tmp_path / "0", asked)
    check(tmp_path / "0", asked["weights"])


def test_two_processes_make_the_same_gradient(tmp_path: Path) -> None:
    on_two_processes(tmp_path, TWO)
    for at, asked in enumerate(TWO):
        check(tmp_path / str(at), asked["weights"])


def test_two_processes_with_the_weights_spread_over_them_make_the_same_gradient(
    tmp_path: Path,
) -> None:
    on_two_processes(tmp_path, [case(4, 2, trainer=FSDP)])
    check(tmp_path / "0", "plain")
