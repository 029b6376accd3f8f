"""One tiny release, two tokenizers and one checkpoint for all tests of training."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny import CHATS, settings, write_release
from training import sft, template, vocabulary
from training.sft import Settings
from training.vocabulary import NewModel


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny matrices on several threads spend their time waiting when the machine is busy."""
    import torch

    os.environ["OMP_NUM_THREADS"] = "1"  # for processes that a test starts
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("releases") / "tiny-1.0.0", CHATS)


@pytest.fixture
def tiny(tmp_path: Path, tiny_release: Path) -> Settings:
    """The settings of the shared checkpoint, for a place of one's own."""
    return settings(tmp_path, tiny_release, tmp_path / "model")


@pytest.fixture(scope="session")
def byte_tokenizer() -> Any:
    """Every byte is one token: small enough to write expectations by hand."""
    return _tokenizer(["unused"], 259)


@pytest.fixture(scope="session")
def code_tokenizer() -> Any:
    """Has tokens for line breaks with indentation, as any tokenizer trained on code."""
    return _tokenizer(["intro:\n\n    def f(x):\n        return x\n\n    y = f(1)\n"] * 30, 400)


def _tokenizer(texts: list[str], vocab_size: int) -> Any:
    from datasets import Dataset

    messages = [[{"role": "user", "content": text}] for text in texts]
    rows = Dataset.from_dict({"messages": messages})
    tokenizer = vocabulary.new_tokenizer(rows, NewModel(vocab_size=vocab_size))
    tokenizer.chat_template = template.read("chatml")
    return tokenizer


@pytest.fixture(scope="session")
def checkpoint(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Twelve steps on the tiny release. Read it, never change it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        yield sft.train(settings(folder, tiny_release, folder / "tiny"))
