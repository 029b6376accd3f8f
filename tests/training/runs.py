"""Runs of training for tests: on rows of one's own, interrupted, and beside a bare loop."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from training import sft, sources
from training.sft import Settings
from ultra import jsonl


def jsonl_file(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Conversations as people keep them, one a line."""
    path.write_bytes(b"".join(map(jsonl.dump, rows)))
    return path


def interrupt(chosen: Settings, calls: int) -> None:
    """Start a run that stops, as if by Ctrl-C, when it begins with micro-batch number ``calls``."""
    from transformers import Trainer

    step, begun = Trainer.training_step, []

    def training_step(*args: Any, **kwargs: Any) -> Any:
        begun.append(1)
        if len(begun) == calls:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "training_step", training_step)
        with pytest.raises(KeyboardInterrupt):
            sft.train(chosen)
    assert not chosen.out.exists()


def start(chosen: Settings) -> tuple[Any, Any, list[int]]:
    """Model, tokenizer and the ids of new tokens as they are before the first step."""
    from transformers import set_seed

    set_seed(chosen.trainer.get("seed", 42))
    located = [(part, sources.locate(part.dataset)) for part in chosen.parts]
    return sft._start(chosen, located, sft._arguments(chosen, chosen.out))


def losses(model: Any, tokenizer: Any, row: dict[str, Any]) -> torch.Tensor:
    """The loss of each token that the assistant says in a row, by transformers' own means."""
    said = {"condition": row["condition"]} if "condition" in row else {}
    encoded = tokenizer.apply_chat_template(
        row["messages"], return_dict=True, return_assistant_tokens_mask=True, **said
    )
    ids = torch.tensor(encoded["input_ids"])[None]
    learned = torch.tensor(encoded["assistant_masks"][1:]).bool()
    logits = model(input_ids=ids).logits[0, :-1].float()
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")[learned]
