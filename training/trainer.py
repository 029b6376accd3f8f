"""``transformers.Trainer`` with steps of whole dialogues, weights of tokens, and exact means."""

import inspect
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from training import loss, packing, samples
from training.packing import Batching
from ultra import files
from ultra.errors import ModelError, SettingError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

COMPLETE = "complete.json"
"""Written last into a checkpoint of an unfinished run; holds the seconds spent until then."""


def make(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    sets: "tuple[Dataset, Dataset | None]",
    arguments: "TrainingArguments",
    batching: Batching,
    weighted: bool = False,
    prompts: list[str] | None = None,
) -> "Trainer":
    """A trainer for tokenised examples (:func:`training.tokenised.tokenise`).

    Args:
        model: The model, changed in place; or one of peft's around it.
        tokenizer: Saved with the model.
        sets: Examples to train on, and those that the loss is evaluated on, if any.
        arguments: Of ``transformers``. A step has ``per_device_train_batch_size`` times
            ``gradient_accumulation_steps`` times the number of processes dialogues.
        batching: ``packed`` or ``grouped`` micro-batches.
        weighted: Whether the weights of tokens are others than 0 and 1.
        prompts: What samples are made of.

    Raises:
        SettingError: arguments that do not go together.
    """
    if arguments.n_gpu > 1:
        raise SettingError(
            f"{arguments.n_gpu} GPUs are visible to one process: start one for each with torchrun "
            "or accelerate launch, or name one in CUDA_VISIBLE_DEVICES"
        )
    base = getattr(model, "get_base_model", lambda: model)()
    collate = _collator(base, tokenizer, batching, weighted)
    if weighted:
        base.loss_function = loss.weighted
    train, evaluated = (None if one is None else one.with_format("numpy") for one in sets)
    try:
        trainer = _class()(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=evaluated,
            data_collator=collate,
            processing_class=tokenizer,
        )
    except (TypeError, ValueError, RuntimeError, ImportError) as error:  # a tracker that is lacking
        raise SettingError(f"trainer: {' '.join(str(error).split())}") from error
    trainer.batching, trainer.weighted = batching, weighted
    trainer.marks = _marks(trainer)
    trainer.add_callback(trainer.marks)
    if prompts:
        trainer.add_callback(samples.callback(trainer, prompts))
    return trainer


def _collator(
    base: "PreTrainedModel", tokenizer: Any, batching: Batching, weighted: bool
) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """What makes a micro-batch of examples, as the model can take it."""
    takes = inspect.signature(base.forward).parameters
    if batching == "grouped":
        pad = getattr(tokenizer, "pad_token_id", None) or 0  # any: nothing looks at it
        return lambda examples: packing.collate_padded(examples, weighted, pad)
    if not any(one.kind is one.VAR_KEYWORD for one in takes.values()):
        raise SettingError(f"batching: {type(base).__name__} cannot take packed rows; set grouped")
    everywhere = "logits_to_keep" not in takes
    return lambda examples: packing.collate_packed(examples, weighted, everywhere)


def lengths(examples: "Dataset") -> list[int]:
    """Tokens of each example."""
    import pyarrow.compute as pc

    found: list[int] = pc.list_value_length(examples.data.column("input_ids")).to_pylist()
    return found


def _class() -> "type[Any]":
    """The class, made here since importing ``transformers`` takes seconds."""
    import torch
    from transformers import Trainer

    class DialogueTrainer(Trainer):  # type: ignore[misc]
        """What is overridden: which examples stand in a step, and by what a loss is divided."""

        batching: Batching = "packed"
        weighted = False
        _sum = _items = 0.0

        def _sampler(
            self, examples: "Dataset", shape: tuple[int, int, int], seed: int | None
        ) -> Any:
            rank = self.args.process_index if self.args.world_size > 1 else 0
            return packing.sampler(lengths(examples), self.batching, shape, rank, seed)

        def _get_train_sampler(self, train_dataset: "Dataset | None" = None) -> Any:
            ranks, rounds = self.args.world_size, self.args.gradient_accumulation_steps
            shape = (self.args.train_batch_size * ranks * rounds, ranks, rounds)
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            self.steps = self._sampler(train_dataset or self.train_dataset, shape, seed)
            return self.steps

        def _get_eval_sampler(self, eval_dataset: "Dataset") -> Any:
            ranks = self.args.world_size
            return self._sampler(eval_dataset, (self.args.eval_batch_size * ranks, ranks, 1), None)

        def _get_num_items_in_batch(
            self, batch_samples: list[dict[str, Any]], device: torch.device
        ) -> Any:
            """What the sum of losses is divided by: supervised tokens, or the sum of weights."""
            if not (self.weighted and batch_samples):
                return super()._get_num_items_in_batch(batch_samples, device)
            total = torch.stack([one["loss_weights"].sum() for one in batch_samples]).sum()
            total = total.to(device)
            if self.args.average_tokens_across_devices and self.args.world_size > 1:
                total = self.accelerator.gather(total).sum()
            return total

        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            found: torch.Tensor = super().training_step(*args, **kwargs)
            if not torch.isfinite(found):
                raise ModelError(
                    f"the loss became {found.item()} in step {self.state.global_step + 1}; lower "
                    "trainer.learning_rate, or check the model's weights (the last checkpoint is "
                    "kept)"
                )
            return found

        def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            found = super().prediction_step(model, inputs, *args, **kwargs)
            items = float(self._get_num_items_in_batch([inputs], self.args.device))
            self._sum += float(found[0]) * items / self.args.world_size
            self._items += items
            return found

        def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
            """Trainer means over batches; here over supervised tokens, as in training."""
            self._sum = self._items = 0.0
            output = super().evaluation_loop(*args, **kwargs)
            total = torch.tensor(self._sum, dtype=torch.float64, device=self.args.device)
            total = self.accelerator.reduce(total, "sum")
            prefix = kwargs.get("metric_key_prefix", "eval")
            output.metrics[f"{prefix}_loss"] = float(total) / self._items
            return output

    return DialogueTrainer


def _marks(trainer: Any) -> "TrainerCallback":
    """Tells the sampler its epoch, and marks checkpoints that are whole, with the time so far."""
    from transformers import TrainerCallback

    class Marks(TrainerCallback):  # type: ignore[misc]
        begun = time.monotonic()
        before = 0.0

        def spent(self) -> float:
            """Seconds, with those of earlier runs that this one went on from."""
            return self.before + time.monotonic() - self.begun

        def on_epoch_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            # Trainer's own call does not reach it on several ranks after a resume.
            rounds = args.gradient_accumulation_steps
            trainer.steps.set_epoch(state.global_step // (len(trainer.steps) // rounds))

        def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            self.before = seconds(Path(args.output_dir, f"checkpoint-{state.global_step}"))

        def on_save(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            trainer.accelerator.wait_for_everyone()  # each rank writes a part
            if state.is_world_process_zero:
                folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
                for path in folder.rglob("*"):
                    files.sync(path)
                with files.atomic(folder / COMPLETE) as file:
                    file.write(orjson.dumps({"seconds": round(self.spent(), 1)}))

    return Marks()


def seconds(checkpoint: Path) -> float:
    """What was spent until a checkpoint was whole; 0 if it is not, or not there."""
    try:
        found = float(orjson.loads((checkpoint / COMPLETE).read_bytes())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    return found if math.isfinite(found) else 0.0
