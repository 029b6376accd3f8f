"""A build against ``transformers serve``, with a small model that the test trains on the CPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from datasets_scripts.ultrachat.build import build
from datasets_scripts.ultrachat.settings import Settings
from tests.datasets_scripts.helpers import drops_of, rows_of
from tests.servers.serve import serving
from tests.training.tiny import chat, write_release
from ultra import command, release
from ultra.chat import Sampling

RECIPE = """\
new: {vocab_size: 300, hidden_size: 64, layers: 1, heads: 2, max_positions: 8192}
template: chatml
max_length: 128
trainer:
  max_steps: 60
  save_steps: 60
  logging_steps: 60
  per_device_train_batch_size: 8
  learning_rate: 1.0e-2
  seed: 0
  use_cpu: true
"""
QUESTION = "How long shall tea number {} steep?"
COUNT = 6


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose model knows how long tea steeps, and nothing else."""
    pytest.importorskip("torch", reason="the extra 'train' is not installed")
    folder = tmp_path_factory.mktemp("served")
    with serving(_trained(folder), folder) as address:
        yield address


def _trained(folder: Path) -> Path:
    import torch

    from training import sft

    torch.set_num_threads(1)  # tiny matrices on several threads only wait for each other
    recipe = folder / "tea.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    chats = [chat(QUESTION.format(n), f"Give tea {n} just {n} minutes.") for n in range(COUNT)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        dataset = write_release(folder / "tea-1.0.0", chats * 8)
        words = ["--config", str(recipe), "--dataset", str(dataset), "--out", str(folder / "tea")]
        return sft.train(command.parse(sft.Settings, words))


def test_a_corpus_is_built_with_a_served_model(served: str, tmp_path: Path) -> None:
    openings = tmp_path / "tea.jsonl"
    asked = [
        {"sector": "world", "topic": "Tea", "opening": QUESTION.format(n)} for n in range(COUNT)
    ]
    openings.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in asked))
    settings: dict[str, Any] = {
        "openings": openings,
        "out": tmp_path,
        "user_model": "tea",
        "assistant_model": "tea",
        "base_url": served,
        "min_rounds": 1,
        "max_rounds": 2,
        "retries": 1,
        "concurrency": 2,
        "user_sampling": Sampling(1.0, max_tokens=24),
        "assistant_sampling": Sampling(0.1, max_tokens=48),
        "near_duplicates": 0.0,
        "test_share": 0.0,
    }
    made = build(Settings(**settings))
    manifest, rows = release.verify(made), rows_of(made)
    assert len(rows) + len(drops_of(made)) == COUNT
    assert len(rows) >= COUNT / 2
    answers = {row["id"]: row["messages"][1]["content"] for row in rows}
    assert all("minutes" in answer for answer in answers.values()), answers
    assert manifest["role_health"]["user"]["turns"] > 0, "the model was asked to play the user, too"
    assert manifest["usage"]["completion_tokens"] > 0
    assert {row["model"] for row in rows} != {""}
