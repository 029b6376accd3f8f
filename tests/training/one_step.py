"""One step of plain gradient descent on one or more processes; ``torchrun`` starts this file.

``python -m tests.training.one_step OUT JSON ...`` saves the weights after a step of size 1 in
``OUT/0`` and so on, so that their change is the gradient.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.training import fsdp_on_cpu

DIALOGUES = 16


def model() -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=61, num_attention_heads=2, **sizes, pad_token_id=0)
    return LlamaForCausalLM(config)


def rows(weights: str) -> list[dict[str, list[Any]]]:
    """Ragged dialogues; with ``mixed`` weights, some tokens count 0.1 and some 0.5."""
    generator = np.random.default_rng(3)
    found = []
    for _ in range(DIALOGUES):
        length = int(generator.integers(4, 60))
        ids = generator.integers(1, 61, length)
        kinds = [0.0, 1.0] if weights == "plain" else [0.0, 0.1, 0.5, 1.0]
        drawn = generator.choice(kinds, length)
        drawn[-1] = 1.0
        found.append({"input_ids": ids.tolist(), "weights": drawn.tolist()})
    return found


def dataset(weights: str) -> Any:
    from datasets import Dataset, Features, List, Value

    kinds = Features({"input_ids": List(Value("int32")), "weights": List(Value("float32"))})
    return Dataset.from_list(rows(weights), features=kinds)


def train(out: Path, asked: dict[str, Any]) -> None:
    """``asked`` has ``batch``, ``rounds``, ``batching``, and may have ``weights``, ``trainer``."""
    from transformers import TrainingArguments

    from training import attention, trainer

    spread = "fsdp" in asked.get("trainer", {})
    if spread:
        fsdp_on_cpu.allow()
    arguments = TrainingArguments(
        output_dir=str(out) + ".run",
        max_steps=1,
        per_device_train_batch_size=asked["batch"],
        gradient_accumulation_steps=asked["rounds"],
        optim="sgd",
        learning_rate=1.0,
        logging_steps=1,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        prediction_loss_only=True,
        eval_on_start=True,  # on several processes, evaluate() before train() keeps them apart
        eval_strategy="steps",
        eval_steps=1000,
        **asked.get("trainer", {}),
    )
    made = model()
    if asked["batching"] == "packed":
        attention.choose("per_document", made)
    weights = asked.get("weights", "plain")
    examples = dataset(weights)
    tokenizer: Any = None
    run = trainer.make(
        made, tokenizer, (examples, examples), arguments, asked["batching"], weights != "plain"
    )
    run.train()
    if spread:
        fsdp_on_cpu.require_spread(run.model)
    run.save_model(str(out))
    if arguments.process_index == 0:
        history = run.state.log_history
        losses = {
            name: [one[name] for one in history if name in one] for name in ("loss", "eval_loss")
        }
        (out / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    for at, case in enumerate(sys.argv[2:]):
        train(Path(sys.argv[1], str(at)), json.loads(case))
