"""TRL's SFTTrainer, told when to do a step (``tests.speed.training_steps``).

``python -m tests.speed.peers.trl_training WAY ROWS CHECKPOINT LENGTH DIALOGUES``; ``WAYS`` lists
them. All supervise what the assistant says, as ours does. Runs in the peers' virtual environment.
"""

import sys
import tempfile
from typing import Any

from datasets import load_dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

from tests.speed.training_steps import Pace, pace_trainers

PLAIN = {"bf16": False, "gradient_checkpointing": False}
"""Single precision and nothing computed twice, as ours; without it, TRL's own defaults."""
BFD: dict[str, Any] = {"packing": True, "packing_strategy": "bfd"}
WRAPPED: dict[str, Any] = {"packing": True, "packing_strategy": "wrapped"}
WAYS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "bfd": BFD,
    "bfd_bf16": {**BFD, **PLAIN, "bf16": True},
    "bfd_fp32": {**BFD, **PLAIN},
    "wrapped_bf16": {**WRAPPED, **PLAIN, "bf16": True},
    "wrapped_fp32": {**WRAPPED, **PLAIN},
    "padding_free": {"padding_free": True, "max_length": None, **PLAIN},
}


def main(way: str, rows: str, checkpoint: str, length: str, dialogues: str) -> None:
    """Train until no further step is wanted."""
    pace = Pace()
    pace_trainers(pace)
    chosen = WAYS[way]
    with tempfile.TemporaryDirectory() as out:
        arguments: dict[str, Any] = {
            "output_dir": out,
            "max_steps": 100_000,
            "max_length": int(length),
            "assistant_only_loss": True,
            "save_strategy": "no",
            "use_cpu": True,
            "disable_tqdm": True,
            **batch(chosen, int(length), int(dialogues)),
            **chosen,
        }
        dataset = load_dataset(rows, "all", split="train").select_columns(["messages"])
        trainer = SFTTrainer(
            model=checkpoint,
            args=SFTConfig(**arguments),
            train_dataset=dataset,
            processing_class=AutoTokenizer.from_pretrained(checkpoint),
        )
        if way == "padding_free":  # which does not cut
            trainer.train_dataset = trainer.train_dataset.map(
                cut, fn_kwargs={"length": int(length)}
            )
        trainer.train()


def batch(chosen: dict[str, Any], length: int, dialogues: int) -> dict[str, int]:
    """The size of a step: about so many dialogues, one row at a time where they are packed."""
    if chosen.get("packing"):
        rows = max(1, dialogues * 1024 // length)
        return {"per_device_train_batch_size": 1, "gradient_accumulation_steps": rows}
    if chosen:
        return {"per_device_train_batch_size": 1, "gradient_accumulation_steps": dialogues}
    return {"per_device_train_batch_size": dialogues}


def cut(example: dict[str, list[int]], length: int) -> dict[str, list[int]]:
    """Ids and labels, no longer than that."""
    return {name: example[name][:length] for name in ("input_ids", "labels")}


if __name__ == "__main__":
    main(*sys.argv[1:])
