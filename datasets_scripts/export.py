"""Write a split of a release in a format that other training tools read.

- ``sharegpt``: ``{id, conversations: [{from, value}]}`` with sides ``human``, ``gpt`` and
  ``system``, and ``model`` where it is known; FastChat and all that follow it;
- ``ultrachat``: ``{id, data: [question, answer, ...]}``, the published UltraChat files;
- ``messages``: ``{prompt, prompt_id, messages: [{content, role}]}``, as in UltraChat 200k.

A file named ``.json`` is one array, one named ``.jsonl`` has a row a line.
"""

import glob
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from tqdm import tqdm

from ultra import card, command, files, jsonl, release
from ultra.errors import InputError, SettingError

Row = dict[str, Any]

_SIDES = {"user": "human", "assistant": "gpt", "system": "system"}


@dataclass(frozen=True)
class Settings:
    """Write one split of a release as a file that other training tools read."""

    out: Path
    """File to write or replace: .json is one array, .jsonl has a row a line."""
    release: Path = command.positional("directory of the release")
    format: Literal["sharegpt", "ultrachat", "messages"] = "sharegpt"
    """Shape of a row."""
    config_name: str = ""
    """Configuration of the release; by default the one that load_dataset takes."""
    split: str = "train"
    """Split of that configuration."""

    def __post_init__(self) -> None:
        if self.out.suffix not in (".json", ".jsonl"):
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


def export(settings: Settings) -> int:
    """Write the file, rows in the order of the release; returns their number.

    Raises:
        InputError: the release is damaged, or a row does not fit the format.
        SettingError: the release has no such configuration or split.
    """
    manifest = release.verify(settings.release)
    config = settings.config_name or card.default_config(manifest)
    total = _rows_in(manifest, config, settings.split)
    rows = tqdm(
        _read(settings.release / "data" / config, settings.split),
        desc=settings.format,
        unit=" conversations",
        total=total,
        disable=None,
    )
    records = map(FORMATS[settings.format], rows)
    write = jsonl.write if settings.out.suffix == ".jsonl" else write_array
    count = write(settings.out, records)
    print(f"{count:,} conversations of {config}/{settings.split}, format {settings.format}")
    print(settings.out)
    return count


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
