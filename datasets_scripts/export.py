"""Write a release in a format that other training tools read.

A split as one file:

- ``sharegpt``: ``{id, conversations: [{from, value}]}`` with sides ``human``, ``gpt`` and
  ``system``, and ``model`` where it is known; FastChat and all that follow it;
- ``ultrachat``: ``{id, data: [question, answer, ...]}``, the published UltraChat files;
- ``messages``: ``{prompt, prompt_id, messages: [{content, role}]}``, a row of UltraChat 200k.

A file named ``.json`` is one array, one named ``.jsonl`` has a row a line. All splits as a folder
that ``load_dataset`` takes:

- ``ultrachat_200k``: rows as of ``messages``, in ``train_sft`` and ``test_sft``, which end with an
  answer, to learn from; and in ``train_gen`` and ``test_gen``, the same conversations up to their
  last question, to draw answers to. No prompt is on both sides, since the hash of the prompt
  decided the side when the release was made.
"""

import glob
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
import yaml
from tqdm import tqdm

from ultra import card, command, files, jsonl, release
from ultra.errors import InputError, OutputError, SettingError

Row = dict[str, Any]

_SIDES = {"user": "human", "assistant": "gpt", "system": "system"}


@dataclass(frozen=True)
class Settings:
    """Write a release as a file, or a folder, that other training tools read."""

    out: Path
    """File to write or replace: .json is one array, .jsonl has a row a line. For ultrachat_200k a
    folder that is not there yet."""
    release: Path = command.positional("directory of the release")
    format: Literal["sharegpt", "ultrachat", "messages", "ultrachat_200k"] = "sharegpt"
    """Shape of a row."""
    config_name: str = ""
    """Configuration of the release; by default the one that load_dataset takes."""
    split: str = ""
    """Split of that configuration, by default train; ultrachat_200k writes them all."""

    def __post_init__(self) -> None:
        if self.format == "ultrachat_200k":
            if self.split:
                raise SettingError("split: the format ultrachat_200k has all of them; leave it out")
        elif self.out.suffix not in (".json", ".jsonl"):
            raise SettingError(f"out: {self.out} ends neither in .json nor in .jsonl")
        if self.out.resolve().is_relative_to(self.release.resolve()):
            raise SettingError(f"out: {self.out} is inside the release; choose another place")


def sharegpt(row: Row) -> Row:
    """As FastChat reads it; a system turn keeps its place."""
    turns = [{"from": _SIDES[turn["role"]], "value": turn["content"]} for turn in row["messages"]]
    model = {"model": row["model"]} if row.get("model") else {}
    return {"id": row["id"], **model, "conversations": turns}


def ultrachat(row: Row) -> Row:
    """As UltraChat was published: texts of the two sides in turn.

    Raises:
        InputError: sides do not take turns, so that the format cannot tell who speaks.
    """
    for number, turn in enumerate(row["messages"]):
        if turn["role"] != ("user", "assistant")[number % 2]:
            raise InputError(
                f"row {row['id']!r}: turn {number + 1} is of the {turn['role']}, which this "
                "format cannot say; choose another --format"
            )
    return {"id": row["id"], "data": [turn["content"] for turn in row["messages"]]}


def messages(row: Row) -> Row:
    """As UltraChat 200k was published; ``prompt_id`` is the sha256 of the first question."""
    prompt = next((turn["content"] for turn in row["messages"] if turn["role"] == "user"), "")
    turns = [{"content": turn["content"], "role": turn["role"]} for turn in row["messages"]]
    digest = hashlib.sha256(prompt.encode("utf-8")).hexdigest()
    return {"prompt": prompt, "prompt_id": digest, "messages": turns}


FORMATS: dict[str, Callable[[Row], Row]] = {
    "sharegpt": sharegpt,
    "ultrachat": ultrachat,
    "messages": messages,
}


def sft(row: Row) -> Row | None:
    """A row of UltraChat 200k to learn from: it ends with the last answer. None without one."""
    return _up_to(row, 1)


def gen(row: Row) -> Row | None:
    """A row of UltraChat 200k to draw an answer to: it ends before the last one."""
    return _up_to(row, 0)


def _up_to(row: Row, answers: int) -> Row | None:
    said = row["messages"]
    last = max((n for n, turn in enumerate(said) if turn["role"] == "assistant"), default=0)
    return messages({**row, "messages": said[: last + answers]}) if last else None


def export(settings: Settings) -> int:
    """Write the file or folder, rows in the order of the release; returns their number.

    Raises:
        InputError: the release is damaged, or a row does not fit the format.
        SettingError: the release has no such configuration or split.
        OutputError: the folder is there already.
    """
    manifest = release.verify(settings.release)
    config = settings.config_name or card.default_config(manifest)
    if settings.format == "ultrachat_200k":
        return _export_all(settings, manifest, config)
    split = settings.split or "train"
    total = _rows_in(manifest, config, split)
    records = map(FORMATS[settings.format], _rows(settings, config, split, total))
    write = jsonl.write if settings.out.suffix == ".jsonl" else write_array
    count = write(settings.out, records)
    print(f"{count:,} conversations of {config}/{split}, format {settings.format}")
    print(settings.out)
    return count


def _export_all(settings: Settings, manifest: release.Manifest, config: str) -> int:
    """All splits of a configuration, each for both uses, as a folder for ``load_dataset``."""
    _rows_in(manifest, config, "train")
    out = settings.out
    if out.exists():
        raise OutputError(f"{out}: is there already; remove it or choose another --out")
    partial_out = out.with_name(f".{out.name}.partial")
    counts = {}
    with files.locked(partial_out):
        for left in partial_out.iterdir():  # of one that was killed
            left.unlink()
        try:
            for split in manifest["splits"][config]:
                for use, shape in (("sft", sft), ("gen", gen)):
                    rows = _rows(settings, config, split, _rows_in(manifest, config, split))
                    records = filter(None, map(shape, rows))
                    name = f"{split}_{use}"
                    counts[name] = jsonl.write(partial_out / f"{name}.jsonl", records)
            files.write_text(partial_out / "README.md", _front_matter(counts))
            files.rename_tree(partial_out, out)
        finally:
            shutil.rmtree(partial_out, ignore_errors=True)
    for name, count in counts.items():
        print(f"{count:,} conversations of {config} in {name}")
    print(out)
    return sum(counts.values())


def _front_matter(names: Iterable[str]) -> str:
    """What tells ``load_dataset`` the splits and columns of the folder."""
    message = [{"name": "content", "dtype": "string"}, {"name": "role", "dtype": "string"}]
    columns = [{"name": name, "dtype": "string"} for name in ("prompt", "prompt_id")]
    splits = [{"split": name, "path": f"{name}.jsonl"} for name in names]
    front = {
        "configs": [{"config_name": "default", "data_files": splits}],
        "dataset_info": {"features": [*columns, {"name": "messages", "list": message}]},
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n"


def _rows_in(manifest: release.Manifest, config: str, split: str) -> int:
    splits = manifest["splits"]
    if split not in splits.get(config, {}):
        there = [f"{name}/{one}" for name, inner in splits.items() for one in inner]
        hint = command.did_you_mean(f"{config}/{split}", there)
        raise SettingError(
            f"the release has no split {split} of a configuration {config}; "
            f"it has {', '.join(there)}{hint}"
        )
    rows: int = splits[config][split]["rows"]
    return rows


def _rows(settings: Settings, config: str, split: str, total: int) -> Iterable[Row]:
    """The rows of a split, with a progress bar."""
    found = _read(settings.release / "data" / config, split)
    unit = " conversations"
    return tqdm(found, desc=settings.format, unit=unit, total=total, disable=None)


def _read(folder: Path, split: str) -> Iterator[Row]:
    for file in sorted(folder.glob(f"{glob.escape(split)}-?????-of-?????.jsonl")):
        yield from jsonl.read(file)


def write_array(path: Path, records: Iterable[Row]) -> int:
    """One JSON array, written a record at a time and a record a line."""
    count = 0
    with files.atomic(path) as file:
        file.write(b"[")
        for record in records:
            file.write((b",\n" if count else b"\n") + orjson.dumps(record))
            count += 1
        file.write(b"\n]\n")
    return count


if __name__ == "__main__":
    command.main(Settings, export)
