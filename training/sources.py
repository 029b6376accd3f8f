"""Where training data comes from: releases, data sets on the Hub, files; several of them mixed."""

import glob
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from training import conversations
from ultra import files, jsonl, release
from ultra.errors import InputError, SettingError

if TYPE_CHECKING:
    from datasets import Dataset

_TAG = re.compile(r"v?(\d+\.\d+\.\d+)")
_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_FILES = {".json": "json", ".jsonl": "json", ".gz": "json", ".zst": "json", ".parquet": "parquet"}


@dataclass(frozen=True)
class Part:
    """One of several data sets that are mixed."""

    dataset: str
    """A release directory, a Hub dataset as org/name or org/name@revision, or a file."""
    weight: float = 1.0
    """How often an epoch goes through it: 0.25 is a quarter of its rows, 2 is each row twice."""
    config: str = ""
    """Configuration; by default its default one."""
    split: str = "train"
    """Split."""

    def __post_init__(self) -> None:
        if not self.dataset:
            raise SettingError("dataset: name a release directory, a Hub dataset or a file")
        if not 0 < self.weight <= 1000:
            raise SettingError(
                f"weight of {self.dataset}: {self.weight} is not above 0, up to 1000"
            )


def parts(dataset: str, config: str, split: str, mix: list[Part]) -> list[Part]:
    """What a command is asked to read: the dataset that it names, if any, and what is mixed in."""
    return ([Part(dataset, 1.0, config, split)] if dataset else []) + mix


@dataclass(frozen=True)
class Source:
    """What is trained on. ``digest`` names the rows: a release's data digest, a Hub revision, or a
    file's sha256."""

    name: str
    digest: str
    demo: bool
    version: str = ""
    """Of a release on the Hub; other data has none."""


def locate(dataset: str) -> Source:
    """Find a release directory, a file, or a Hub dataset ``org/name`` or ``org/name@revision``.

    Raises:
        InputError: a local release is incomplete or damaged, or the Hub has no such dataset.
    """
    path = Path(dataset)
    if path.is_dir():
        manifest = release.verify(path)
        name = f"{manifest['corpus']} {manifest['version']}"
        return Source(name, manifest["data_digest"], bool(manifest.get("demo")))
    if path.is_file() and path.suffix in _FILES:
        return Source(path.name, files.sha256(path), demo=False)
    name, _, revision = dataset.partition("@")
    if not _REPO.fullmatch(name) or path.suffix in _FILES:
        raise InputError(
            f"{dataset}: not there, as it is neither a release directory nor a Hub dataset "
            f"org/name[@rev], nor a file ({', '.join(_FILES)})"
        )
    return _on_the_hub(name, revision)


def _on_the_hub(name: str, revision: str) -> Source:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        found = HfApi().dataset_info(name, revision=revision or None)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, httpx.HTTPError) as error:
        if cached := _in_the_cache(name, revision):
            return cached
        why = " ".join(str(error).split())[:200]
        at = f"{name}@{revision}" if revision else name
        raise InputError(
            f"dataset {at}: no such folder, and not found on the Hub ({why})"
        ) from error
    holds = {one.rfilename for one in found.siblings or []}
    tag = _TAG.fullmatch(revision) if release.MANIFEST in holds else None
    return Source(name, f"{found.sha}", "demo" in (found.tags or []), tag[1] if tag else "")


def _in_the_cache(name: str, revision: str) -> Source | None:
    """A release that was fetched before, found without the Hub; its folder there is its commit."""
    from ultra import loading

    tag = _TAG.fullmatch(revision)
    if not tag:
        return None
    try:
        found = loading.find(name, tag[1])
    except InputError:
        return None
    return Source(name, found.folder.name, bool(found.manifest.get("demo")), tag[1])


def load(part: Part, source: Source) -> "Dataset":
    """Load the split that a part names, of what :func:`locate` found, held to its digests.

    Raises:
        InputError: no such configuration or split, a broken file, or no column with conversations.
    """
    from datasets import Dataset, disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetGenerationError

    if not sys.stderr.isatty():
        disable_progress_bars()
    path, config = Path(part.dataset), part.config or None
    if path.is_dir() or source.version:
        place = part.dataset if path.is_dir() else source.name
        rows = release.load(place, source.version or None, config, part.split)
    else:
        try:
            if path.is_file():
                if config:
                    raise ValueError(f"a file has no configuration {config}")
                data = {"train": glob.escape(str(path))}  # what it has is its one split
                rows = load_dataset(_FILES[path.suffix], data_files=data, split=part.split)
            else:
                rows = load_dataset(source.name, config, split=part.split, revision=source.digest)
        except (ValueError, FileNotFoundError) as error:
            raise InputError(f"dataset {part.dataset}: {' '.join(str(error).split())}") from error
        except (DatasetGenerationError, StopIteration, *jsonl.BROKEN) as error:
            why = " ".join(str(error.__cause__ or error).split()) or "it is empty"
            raise InputError(f"dataset {part.dataset}: cannot be read ({why})") from error
    if not isinstance(rows, Dataset) or not conversations.is_known(rows.column_names):
        raise InputError(
            f"dataset {part.dataset}: has none of the columns {', '.join(conversations.COLUMNS)}, "
            f"only {rows.column_names}"
        )
    return rows


def chosen(rows: "Dataset", weight: float, seed: int) -> "Dataset":
    """The rows that an epoch goes through: all of them as often as the weight says.

    The rest of the weight is a share of the rows, drawn by the seed and their number alone.
    """
    import numpy as np
    from datasets import concatenate_datasets

    whole, share = divmod(weight, 1.0)
    drawn = np.random.default_rng(seed).permutation(len(rows))[: round(share * len(rows))]
    return concatenate_datasets([rows] * int(whole) + [rows.select(sorted(drawn.tolist()))])
