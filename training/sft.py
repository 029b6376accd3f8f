"""Supervised fine-tuning: a release in, a checkpoint with tokenizer and chat template out."""

import shutil
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from training import data, vocabulary
from training.data import Report, Source
from training.vocabulary import NewModel
from ultra import __version__, command, files, jsonl
from ultra.errors import OutputError, SettingError
from ultra.local_chat import checkpoint_digest

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        Trainer,
        TrainingArguments,
    )

RECIPES = Path(__file__).parent / "recipes"
RECORD = "training.json"


@dataclass(frozen=True)
class Settings:
    """Fine-tune a chat model on a release with transformers.Trainer."""

    dataset: str
    """A release directory, or a Hub dataset as org/name or org/name@revision."""
    out: Path
    """Directory of the finished checkpoint; work in progress stands in OUT.run."""
    model: str = ""
    """Checkpoint to start from, a folder or a Hub id; without one, 'new' makes a model."""
    new: NewModel | None = None
    """Size of a new model, trained from random weights."""
    template: str = ""
    """Chat template, from training/templates or a file; by default the tokenizer's own."""
    dataset_config: str = ""
    """Configuration of the dataset; by default its default one."""
    split: str = "train"
    """Split to train on."""
    max_length: int = 2048
    """Longest example in tokens; what is longer is cut at its end."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """Arguments of transformers.TrainingArguments, passed through as they are."""

    def __post_init__(self) -> None:
        if bool(self.model) == (self.new is not None):
            raise SettingError("set either 'model', to start from a checkpoint, or 'new'")
        if self.max_length < 2:
            raise SettingError(f"max_length: {self.max_length} is not 2 or more")
        if "output_dir" in self.trainer:
            raise SettingError("trainer.output_dir: set 'out' instead")


def train(settings: Settings) -> Path:
    """Make the checkpoint, or find it already made from the same data and settings.

    A run that was killed goes on from its last whole checkpoint in ``OUT.run``.

    Raises:
        InputError: data or model cannot be read, or nothing is left to train on.
        SettingError: an argument that Trainer does not know, a template without marks.
        OutputError: OUT holds something else.
    """
    source = data.locate(settings.dataset)
    record = _identity(settings, source)
    run = settings.out.with_name(settings.out.name + ".run")
    if _is_trained(settings.out, record):
        shutil.rmtree(run, ignore_errors=True)  # left if the run was killed in its last moment
        print(f"{settings.out}: already trained on this data with these settings")
        return settings.out
    arguments = _arguments(settings, run)
    import transformers

    transformers.set_seed(arguments.seed)
    rows = data.load(settings.dataset, source, settings.dataset_config, settings.split)
    model, tokenizer = _start(settings, rows)
    encoded, report = data.tokenise(rows, tokenizer, settings.max_length)
    _print_report(report)
    trainer = _trainer(model, tokenizer, encoded, arguments)
    with files.locked(run):
        _claim(run, record)
        losses = _run(trainer, run)
        record |= {"code_version": __version__, "data": asdict(report), "losses": losses}
        _save(settings.out, model, tokenizer, record)
        shutil.rmtree(run)
    print(settings.out)
    return settings.out


def _identity(settings: Settings, source: Source) -> dict[str, Any]:
    """What decides the weights: the rows, the settings, and what stands behind names in them."""
    chosen = asdict(settings)
    del chosen["dataset"], chosen["out"]
    contents = {}
    if settings.template:
        contents["template"] = jsonl.digest(vocabulary.template(settings.template))
    if settings.model and Path(settings.model).is_dir():
        contents["model"] = checkpoint_digest(Path(settings.model))
    return {"dataset": asdict(source), "settings": chosen, "contents": contents}


def _is_trained(out: Path, record: dict[str, Any]) -> bool:
    if not out.exists():
        return False
    try:
        found = orjson.loads((out / RECORD).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        found = None
    if not isinstance(found, dict):
        raise OutputError(f"{out}: is in the way and no checkpoint of ours; move it")
    files.require_same(out, found, record)
    return True


def _claim(run: Path, record: dict[str, Any]) -> None:
    """Make sure that what stands in the work folder is an unfinished run of just this kind."""
    path = run / RECORD
    if not path.exists():
        with files.atomic(path) as file:
            file.write(orjson.dumps(record))
    elif path.read_bytes() != orjson.dumps(record):
        raise OutputError(
            f"{run}: holds an unfinished run on other data or with other settings; "
            "go on with those, remove it, or choose another --out"
        )


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
    }
    try:
        return TrainingArguments(output_dir=str(run), **(defaults | settings.trainer))
    except (TypeError, ValueError) as error:
        raise SettingError(f"trainer: {error}") from error


def _start(
    settings: Settings, rows: "Dataset"
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Model and tokenizer to start from, with the chat template set."""
    if settings.new is not None:
        tokenizer = vocabulary.new_tokenizer(rows, settings.new)
        model = vocabulary.new_model(tokenizer, settings.new)
    else:
        model, tokenizer = vocabulary.from_checkpoint(settings.model)
    if settings.template:
        tokenizer.chat_template = vocabulary.template(settings.template)
    limit = model.config.max_position_embeddings
    if settings.max_length > limit:
        raise SettingError(f"max_length: {settings.max_length} is more than the model's {limit}")
    return model, tokenizer


def _print_report(report: Report) -> None:
    share = report.supervised_tokens / report.tokens
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in report.dropped.items())
    print(
        f"{report.examples:,} examples, {report.tokens:,} tokens, {share:.0%} with loss, "
        f"{report.truncated:,} cut, dropped: {reasons or 'none'}"
    )


def _trainer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    encoded: "Dataset",
    arguments: "TrainingArguments",
) -> "Trainer":
    from transformers import DataCollatorForSeq2Seq, Trainer

    try:
        return Trainer(
            model=model,
            args=arguments,
            train_dataset=encoded,
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=data.IGNORED),
            processing_class=tokenizer,
        )
    except (TypeError, ValueError) as error:
        raise SettingError(f"trainer: {' '.join(str(error).split())}") from error


def _run(trainer: "Trainer", run: Path) -> list[dict[str, Any]]:
    """Train the model in place, from its last whole checkpoint; returns the losses by step."""
    trainer.train(resume_from_checkpoint=_last_checkpoint(run))
    history = trainer.state.log_history
    return [{"step": one["step"], "loss": one["loss"]} for one in history if "loss" in one]


def _last_checkpoint(run: Path) -> str | None:
    """The newest checkpoint that was written to its end; torn ones are removed."""
    found = sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    while found:
        try:
            orjson.loads((found[-1] / "trainer_state.json").read_bytes())  # written last
            return str(found[-1])
        except (OSError, orjson.JSONDecodeError):
            shutil.rmtree(found.pop())
    return None


def _save(
    out: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    record: dict[str, Any],
) -> None:
    """Write the checkpoint beside its place, its record last, and rename it there."""
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.config.use_cache = True  # Trainer turns it off, and would save it so
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    with files.atomic(partial / RECORD) as file:
        file.write(orjson.dumps(record, option=orjson.OPT_INDENT_2))
    files.rename_tree(partial, out)


if __name__ == "__main__":
    command.main(Settings, train, RECIPES)
