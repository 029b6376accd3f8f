"""Checkpoints: found whole, saved whole, with a record and a card, and put on the Hub."""

import errno
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from training import adapters, packing
from training.adapters import Lora
from training.samples import SAMPLES
from training.trainer import COMPLETE, lengths
from ultra import __version__, files, prompts
from ultra.errors import ModelError, OutputError
from ultra.local_chat import RECORD

if TYPE_CHECKING:
    from transformers import Trainer

_CARD = Path(__file__).parent / "card.md"
_PACKAGES = ("accelerate", "datasets", "tokenizers", "torch", "transformers")


def is_made(out: Path, record: dict[str, Any]) -> bool:
    """Whether the finished checkpoint of just this record is there.

    Raises:
        OutputError: something else is in its place.
    """
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


def last_whole(run: Path) -> str | None:
    """The newest checkpoint in the work folder that was written to its end."""
    found = sorted(run.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    whole = [path for path in found if (path / COMPLETE).exists()]
    return str(whole[-1]) if whole else None


@contextmanager
def locked(run: Path, first: bool) -> Iterator[None]:
    """Keep a second run out of the work folder; the other processes of this run stay outside."""
    if not first:
        yield
        return
    with files.locked(run):
        try:
            yield
        finally:
            with suppress(OSError):  # it holds something
                run.rmdir()


def require_ours(run: Path, record: dict[str, Any]) -> None:
    """Make sure that what stands in the work folder is an unfinished run of just this kind.

    One that ended before there was anything to go on from is in nobody's way.
    """
    path = run / RECORD
    found = path.read_bytes() if path.exists() else None
    if found is None and any(run.iterdir()):
        raise OutputError(f"{run}: is in the way and no unfinished run of ours; move it")
    if found not in (None, orjson.dumps(record)) and last_whole(run):
        raise OutputError(
            f"{run}: holds an unfinished run on other data, with other settings or another number "
            "of processes; go on with those, remove it, or choose another --out"
        )


def claim(run: Path, record: dict[str, Any]) -> None:
    """Write down what the work folder is for, once all that was asked for is known to work."""
    path, wanted = run / RECORD, orjson.dumps(record)
    if path.exists() and path.read_bytes() == wanted:
        return
    for left in run.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    with files.atomic(path) as file:
        file.write(wanted)


def require_room(out: Path, trainer: "Trainer") -> None:
    """Make sure that what will be written has room.

    Raises:
        OutputError: names how much is free and how much is needed.
    """
    model: Any = trainer.model
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    kept = (trainer.args.save_total_limit or 1) + 1  # one more while the oldest is not yet removed
    every = 0 if trainer.args.save_strategy == "no" else kept
    saved = 4 * trained if hasattr(model, "peft_config") else weights
    needed = every * (saved + 8 * trained) + weights  # AdamW keeps two float32 of each
    there = Path(trainer.args.output_dir).glob("checkpoint-*/**/*")  # will make room
    free = shutil.disk_usage(out.parent).free + sum(one.stat().st_size for one in there)
    if free < needed:
        raise OutputError(
            f"{out.parent}: {free / 1e9:.1f} GB are free, and checkpoints may take "
            f"{needed / 1e9:.1f} GB; make room, or lower trainer.save_total_limit"
        )


def require_numbers(trainer: Any) -> None:
    """Make sure that the last step, after which no loss is computed, left numbers.

    Raises:
        ModelError: names a weight that is none any more.
    """
    for name, one in trainer.model.named_parameters():
        here = one.to_local() if hasattr(one, "to_local") else one  # a part, if spread by FSDP
        if not here.isfinite().all():
            raise ModelError(
                f"{name} is no number any more after the last step; lower trainer.learning_rate"
            )


@contextmanager
def told_if_full(folder: Path) -> Iterator[None]:
    """Say in one line that a disk filled up while a checkpoint was written.

    Raises:
        OutputError: there was no room for a file. Other errors pass as they are.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _is_full(error):
            raise
        raise OutputError(
            f"{folder}: no room for a checkpoint ({' '.join(str(error).split())[:200]}); make room "
            "and run the same command again, it goes on from the last whole one"
        ) from error


def _is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is of a disk, quota or file size at its end."""
    if error is None:
        return False
    number = error.errno if isinstance(error, OSError) else None
    return (
        number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        or any(sign in str(error) for sign in _FULL)
        or _is_full(error.__cause__ or error.__context__)
    )


_FULL = (
    "No space left",
    "File too large",
    "Disk quota exceeded",
    "file write failed",
    "inline_container.cc",
)
"""What safetensors says, and torch, whose writer does not keep the number of the error."""


def account(trainer: Any) -> dict[str, Any]:
    """What a finished run was: code, arguments, losses, tokens, time."""
    arguments = trainer.args.to_dict()
    for name in ("output_dir", "hub_token", "logging_dir"):  # of this machine, or secret
        arguments.pop(name, None)
    history = trainer.state.log_history
    steps = trainer.state.global_step
    return {
        "code_version": __version__,
        "packages": {name: version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
        "arguments": arguments,
        "processes": trainer.args.world_size,
        "steps": steps,
        "epochs": round(trainer.state.epoch or 0.0, 4),
        "tokens": _tokens(trainer),
        "seconds": round(trainer.marks.spent(), 1),
        "losses": [{"step": one["step"], "loss": one["loss"]} for one in history if "loss" in one],
        "eval_losses": [
            {"step": one["step"], "loss": one["eval_loss"]} for one in history if "eval_loss" in one
        ],
    }


def _tokens(trainer: Any) -> int:
    """Tokens of all examples that were trained on, each as often as it was."""
    sampler = trainer.steps
    rounds = trainer.args.gradient_accumulation_steps
    per_epoch = len(sampler) // rounds
    epochs, rest = divmod(trainer.state.global_step, per_epoch)
    sizes = lengths(trainer.train_dataset)
    shape = (sampler.effective_batch_size, rounds * trainer.args.world_size, trainer.batching)
    last = packing.steps(sizes, *shape, sampler.order_seed(epochs))
    partly = (
        sizes[one]
        for step, _ in zip(last, range(rest), strict=False)
        for micro in step
        for one in micro
    )
    return int(epochs * sum(sizes) + sum(partly))


def save(out: Path, trainer: Any, record: dict[str, Any], lora: Lora | None, base: str) -> None:
    """Write the checkpoint in the work folder, its record last, and rename it to its place.

    Every process calls this; the first one writes what is not spread over them.
    """
    partial = Path(trainer.args.output_dir, "finished")  # a folder of ours alone
    first = trainer.args.process_index == 0
    if first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    trainer.accelerator.wait_for_everyone()
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.config.use_cache = True  # it was off, and would be saved so
    if lora is None:
        trainer.save_model(str(partial))
    elif first:
        adapters.save(model, base, partial / "adapter")
        whole = adapters.merged(model, lora, base, partial / "adapter")
        whole.config.use_cache = True
        whole.save_pretrained(partial)
    if first:
        trainer.processing_class.save_pretrained(partial)
        (partial / "training_args.bin").unlink(missing_ok=True)  # a pickle; the record has it all
        samples = Path(trainer.args.output_dir, SAMPLES)
        if samples.exists():
            shutil.copyfile(samples, partial / SAMPLES)
        files.write_text(partial / "README.md", card(out.name, record, base))
        with files.atomic(partial / RECORD) as file:
            option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
            file.write(orjson.dumps(record, default=str, option=option))
        files.rename_tree(partial, out)
    trainer.accelerator.wait_for_everyone()


def card(name: str, record: dict[str, Any], base: str) -> str:
    """The model card: what it was made from and how, all taken from the record."""
    datasets = record["datasets"]
    head: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    if base and not Path(base).exists():
        head["base_model"] = base.partition("@")[0]
    on_hub = [one["name"] for one in datasets if "/" in one["name"]]
    head |= {"datasets": on_hub} if on_hub else {}
    head["tags"] = ["ultra", "sft", *(["demo"] if any(one["demo"] for one in datasets) else [])]
    rows = [
        f"| {one['name']} | {one['split']} | {one['weight']:g} | `{one['digest']}` |"
        for one in datasets
    ]
    losses, evaluated = record["losses"], record["eval_losses"]
    slots = {
        "head": yaml.safe_dump(head, sort_keys=False).strip(),
        "name": name,
        "base": base if "base_model" in head else "random weights" if not base else "a local model",
        "rows": "\n".join(rows),
        "template": record["settings"]["template"] or "that of the base model",
        "loss": f"{losses[-1]['loss']:.4f}" if losses else "not logged",
        "eval_loss": f"{evaluated[-1]['loss']:.4f}" if evaluated else "not evaluated",
        "version": str(record["code_version"]),
    }
    slots |= {key: f"{record[key]:,}" for key in ("steps", "tokens", "processes", "seconds")}
    slots |= {key: f"{record['data'][key]:,}" for key in ("examples", "supervised_tokens")}
    slots["epochs"] = f"{record['epochs']:g}"
    slots["settings"] = yaml.safe_dump(record["settings"], sort_keys=False).strip()
    return prompts.load(_CARD).fill(slots) + "\n"


def push(folder: Path, repo: str) -> None:
    """Upload a finished checkpoint as one commit; what is there already is not sent again.

    Raises:
        OutputError: the Hub refuses it, or is not to be reached.
    """
    if not repo:
        return
    from huggingface_hub import HfApi
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    api = HfApi(library_name="ultra", library_version=__version__)
    try:
        api.create_repo(repo, private=True, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=f"{folder.name}, trained with ultra"
        )
    except (httpx.HTTPError, OSError, RuntimeError, ValueError) as error:  # Xet's are of Python
        why = " ".join(str(error).split())[:200]
        raise OutputError(
            f"push: {repo} cannot be written ({why}); the checkpoint is in {folder}, run the same "
            "command again"
        ) from error
    print(done.commit_url if done else repo, file=sys.stderr)
