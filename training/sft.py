"""Supervised fine-tuning: conversations in, a checkpoint with tokenizer and chat template out."""

import logging
import math
import os
import shutil
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from training import adapters, checkpoint, packing, sources, template, tokenised, vocabulary
from training import trainer as trainers
from training.adapters import Lora
from training.attention import Attention, choose, require_apart
from training.context import Context, require_own_frequencies
from training.overflow import Overflow
from training.packing import Batching
from training.sources import Part, Source
from training.tokenised import Shape
from training.vocabulary import NewModel, Tokens
from ultra import command, jsonl
from ultra.errors import SettingError
from ultra.local_chat import checkpoint_digest, positions

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments

RECIPES = Path(__file__).parent / "recipes"

_OURS = {
    "output_dir": "set 'out'",
    "train_sampling_strategy": "set 'batching'",
    "dataloader_drop_last": "the last step of an epoch has what is left",
    "remove_unused_columns": "leave it out",
    "auto_find_batch_size": "it would change what a step is made of",
    "resume_from_checkpoint": "run the same command again",
    "push_to_hub": "set 'push'",
    "label_smoothing_factor": "it would shift labels twice, and knows no weights",
    "average_tokens_across_devices": "the mean is over the tokens of all processes",
    "ignore_data_skip": "a run that goes on would see examples again",
}
"""Arguments of ``TrainingArguments`` that are decided here, and what to do instead."""


@dataclass(frozen=True)
class Settings:
    """Fine-tune a chat model on conversations with transformers.Trainer."""

    out: Path
    """Directory of the finished checkpoint; work in progress stands in OUT.run."""
    dataset: str = ""
    """A release directory, a Hub dataset as org/name or org/name@revision, or a file."""
    dataset_config: str = ""
    """Configuration of the dataset; by default its default one."""
    split: str = "train"
    """Split to train on."""
    eval_split: str = ""
    """Split whose loss is evaluated, each epoch if trainer.eval_strategy says nothing else."""
    mix: list[Part] = field(default_factory=list)
    """Further datasets, each with a weight: how often an epoch goes through it."""
    model: str = ""
    """Checkpoint to start from, a folder or a Hub id; without one, 'new' makes a model."""
    new: NewModel | None = None
    """Size of a new model, trained from random weights."""
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """Type of the weights; with trainer.bf16, float32 weights are multiplied in bfloat16."""
    template: str = ""
    """Chat template, from training/templates or a file; by default the tokenizer's own."""
    tokens: Tokens = field(default_factory=Tokens)
    """Control tokens that are added."""
    context: Context = field(default_factory=Context)
    """Longer context than the model's."""
    max_length: int = 2048
    """Longest example in tokens."""
    overflow: Overflow = "split"
    """What becomes of longer conversations."""
    carry: int = 0
    """With 'split': rounds that the next example repeats before its own, without loss."""
    loss: Literal["token", "sequence"] = "token"
    """What counts the same in the mean over a step: each supervised token, or each example."""
    batching: Batching = "packed"
    """How a step's dialogues become micro-batches: without padding, or padded with their like."""
    attention: Attention = "auto"
    """Implementation of attention; auto takes FlashAttention where it runs."""
    lora: Lora | None = None
    """Train low-rank adapters in the place of all weights; they are merged at the end."""
    samples: list[str] = field(default_factory=list)
    """Prompts that are answered after each evaluation and at the end, kept in samples.jsonl."""
    push: str = ""
    """Model repository on the Hub, org/name, that the checkpoint is uploaded to."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Arguments of transformers.TrainingArguments, passed through as they are."""

    def __post_init__(self) -> None:
        if bool(self.model) == (self.new is not None):
            raise SettingError("set either 'model', to start from a checkpoint, or 'new'")
        if self.new is not None:
            ways = {"tokens": "", "context": "set new.max_positions", "lora": "", "dtype": ""}
            for name, way in ways.items():
                default = {"tokens": Tokens(), "context": Context(), "dtype": "float32"}.get(name)
                if getattr(self, name) != default:
                    instead = f"; {way}" if way else ", and 'new' makes all of it anew"
                    raise SettingError(f"{name}: is for a checkpoint to start from{instead}")
        if not self.dataset and not self.mix:
            raise SettingError("dataset: name a release directory, a Hub dataset or a file")
        if self.batching == "grouped" and self.attention == "per_document":
            raise SettingError("attention: per_document is for batching: packed")
        for name in sorted(_OURS.keys() & self.trainer.keys()):
            raise SettingError(f"trainer.{name}: is not yours to set here; {_OURS[name]}")
        _ = self.shape

    @property
    def shape(self) -> Shape:
        """How conversations become examples."""
        return Shape(self.max_length, self.overflow, self.carry, self.loss)

    @property
    def parts(self) -> list[Part]:
        """What is trained on."""
        return sources.parts(self.dataset, self.dataset_config, self.split, self.mix)


def train(settings: Settings) -> Path:
    """Make the checkpoint, or find it already made from the same data and settings.

    A run that was killed goes on from its last whole checkpoint in ``OUT.run``. Every process that
    ``torchrun`` starts calls this; the first of them writes.

    Raises:
        InputError: data or model cannot be read, or nothing is left to train on.
        SettingError: an argument that Trainer does not know, a template without marks.
        OutputError: OUT holds something else, or there is no room for it.
        ModelError: the loss is no number any more.
    """
    located = [(part, sources.locate(part.dataset)) for part in settings.parts]
    run = settings.out.with_name(settings.out.name + ".run")
    first = int(os.environ.get("RANK", "0")) == 0  # before torch is imported
    record = _identity(settings, located) if first or settings.out.exists() else {}
    if checkpoint.is_made(settings.out, record):
        if first:
            shutil.rmtree(run, ignore_errors=True)  # left if the run was killed in its last moment
            print(f"{settings.out}: already trained on this data with these settings")
            checkpoint.push(settings.out, settings.push)
        return settings.out
    arguments = _arguments(settings, run)
    with checkpoint.locked(run, first):
        claim = {**record, "processes": arguments.world_size}
        if first:
            checkpoint.require_ours(run, claim)
        trainer, examples = _prepared(settings, located, arguments)
        if first:
            checkpoint.require_room(settings.out, trainer)
            checkpoint.claim(run, claim)
        with checkpoint.told_if_full(settings.out.parent):
            trainer.train(resume_from_checkpoint=checkpoint.last_whole(run))
            checkpoint.require_numbers(trainer)
            record |= {"data": examples, **checkpoint.account(trainer)}
            base = vocabulary.pinned(settings.model) if settings.model else ""
            checkpoint.save(settings.out, trainer, record, settings.lora, base)
        if first:
            shutil.rmtree(run)
    if first:
        print(settings.out)
        checkpoint.push(settings.out, settings.push)
    return settings.out


def _identity(settings: Settings, located: list[tuple[Part, Source]]) -> dict[str, Any]:
    """What decides the weights: the rows, the settings, and what stands behind names in them."""
    chosen = asdict(settings)
    for name in ("dataset", "dataset_config", "split", "mix", "out", "push"):
        del chosen[name]
    contents = {}
    if settings.template:
        contents["template"] = jsonl.digest(template.read(settings.template))
        chosen["template"] = Path(settings.template).name
    if settings.model:
        chosen["model"] = vocabulary.label(settings.model)
        base = vocabulary.pinned(settings.model)
        commit = base.rpartition("@")[2]
        contents["model"] = checkpoint_digest(Path(base)) if Path(base).is_dir() else commit
    datasets = []
    for part, source in located:
        about = asdict(source) | {"config": part.config, "split": part.split}
        datasets.append({**about, "weight": part.weight})
    return {"datasets": datasets, "settings": chosen, "contents": contents}


def _arguments(settings: Settings, run: Path) -> "TrainingArguments":
    try:
        import torch
        from transformers import TrainingArguments
    except ImportError as error:
        raise SettingError("training needs torch and transformers: the extra 'train'") from error
    known = {one.name for one in fields(TrainingArguments)}
    for name in sorted(settings.trainer.keys() - known):
        hint = command.did_you_mean(name, sorted(known))
        raise SettingError(
            f"trainer.{name}: transformers.TrainingArguments has no such field{hint}"
        )
    defaults = {
        "save_total_limit": 2,
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        "eval_strategy": "epoch" if settings.eval_split else "no",
        "prediction_loss_only": True,
        "remove_unused_columns": False,
        "label_names": ["labels"],
        "ddp_find_unused_parameters": False,
        "logging_nan_inf_filter": False,  # it would hide what training_step stops at
    }
    # YAML reads no as false.
    chosen = {
        name: "no" if value is False and name.endswith("_strategy") else value
        for name, value in settings.trainer.items()
    }
    try:
        arguments = TrainingArguments(output_dir=str(run), **(defaults | chosen))
    except (TypeError, ValueError, ImportError) as error:
        raise SettingError(f"trainer: {error}") from error
    for name in ("per_device_train_batch_size", "gradient_accumulation_steps"):
        if getattr(arguments, name) < 1:
            raise SettingError(f"trainer.{name}: {getattr(arguments, name)} is less than 1")
    for name in ("seed", "data_seed"):
        if not 0 <= (getattr(arguments, name) or 0) < 2**32:
            raise SettingError(f"trainer.{name}: is not from 0 to 2**32 - 1")
    if arguments.max_steps < 1 and arguments.num_train_epochs <= 0:
        raise SettingError("trainer.num_train_epochs: 0 epochs train nothing")
    if arguments.save_total_limit == 1:
        raise SettingError("trainer.save_total_limit: 1 would leave none while one is written")
    if settings.lora and arguments.fsdp:
        raise SettingError("lora: is not sharded; leave fsdp out, or train all weights")
    return arguments


def _prepared(
    settings: Settings, located: list[tuple[Part, Source]], arguments: "TrainingArguments"
) -> "tuple[Trainer, dict[str, Any]]":
    """The trainer with everything in place, and the account of its examples."""
    import transformers

    transformers.set_seed(arguments.seed)
    transformers.logging.disable_progress_bar()
    logging.getLogger("transformers.trainer_utils").addFilter(_is_news)
    model, tokenizer, added = _start(settings, located, arguments)
    first = arguments.process_index == 0
    with arguments.main_process_first(desc="tokenise"):
        seed = arguments.seed if arguments.data_seed is None else arguments.data_seed
        examples, report = tokenised.tokenise(located, tokenizer, settings.shape, seed)
        held_out, eval_report = _held_out(settings, located[0], tokenizer)
    trainer = trainers.make(
        adapters.add(model, settings.lora, added) if settings.lora else model,
        tokenizer,
        (examples, held_out),
        arguments,
        settings.batching,
        report.weighted or bool(eval_report and eval_report.weighted),
        settings.samples,
    )
    account = asdict(report) | ({"eval": asdict(eval_report)} if eval_report else {})
    if first:
        print(report.line())
        print(_batches(trainers.lengths(examples), settings, arguments))
    return trainer, account


def _is_news(told: logging.LogRecord) -> bool:
    """All but that checkpoints of the same second are ordered by their numbers."""
    return "mtime may not be reliable" not in told.getMessage()


def _batches(lengths: list[int], settings: Settings, arguments: "TrainingArguments") -> str:
    bins = arguments.gradient_accumulation_steps * arguments.world_size
    step = arguments.train_batch_size * bins
    share = packing.efficiency(lengths, step, bins, settings.batching, arguments.seed)
    lost = "uneven micro-batches" if settings.batching == "packed" else "padding"
    return (
        f"{math.ceil(len(lengths) / step):,} steps an epoch of {step} dialogues in {bins} "
        f"{settings.batching} micro-batches, {1 - share:.1%} lost to {lost}"
    )


def _held_out(
    settings: Settings, first: tuple[Part, Source], tokenizer: "PreTrainedTokenizerBase"
) -> "tuple[Dataset | None, tokenised.Report | None]":
    """The examples whose loss is evaluated."""
    if not settings.eval_split:
        return None, None
    part, source = first
    held_out = Part(part.dataset, 1.0, part.config, settings.eval_split)
    return tokenised.tokenise([(held_out, source)], tokenizer, settings.shape)


def _start(
    settings: Settings, located: list[tuple[Part, Source]], arguments: "TrainingArguments"
) -> "tuple[Any, PreTrainedTokenizerBase, list[int]]":
    """Model and tokenizer to start from, the chat template set, and the ids of new tokens."""
    added: list[int] = []
    if settings.new is not None:
        rows = sources.load(*located[0])
        tokenizer = vocabulary.new_tokenizer(rows, settings.new)
        model = vocabulary.new_model(tokenizer, settings.new)
    else:
        model, tokenizer = vocabulary.from_checkpoint(
            vocabulary.pinned(settings.model),
            settings.context,
            settings.dtype,
            adapters.quantization(settings.lora),
        )
        added = vocabulary.add_tokens(model, tokenizer, settings.tokens)
    if settings.template:
        tokenizer.chat_template = template.read(settings.template)
    most = positions(model.config)
    if most is not None and settings.max_length > most:
        raise SettingError(
            f"max_length: {settings.max_length} is more than the {most} tokens that the model "
            "takes; lower it, or set context.length"
        )
    require_own_frequencies(model.config, arguments.per_device_train_batch_size)
    model.config.use_cache = False  # else positions are not looked at, and dialogues leak
    if settings.batching == "packed" or settings.attention != "auto":
        halves = arguments.bf16 or arguments.fp16 or model.dtype.itemsize == 2
        choose(settings.attention, model, flash=arguments.device.type == "cuda" and halves)
    if settings.batching == "packed":
        require_apart(model)
    return model, tokenizer, added


if __name__ == "__main__":
    command.main(Settings, train, RECIPES)
