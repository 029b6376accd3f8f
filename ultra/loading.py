"""Find a release in a folder or on the Hub, fetch what is needed of it, and check every byte.

``datasets.load_dataset`` is right for most releases, but not always: offline it ignores
``revision=`` and returns whichever version was cached last; it never looks at a digest; and a text
column that holds nothing but dates comes back reworded, since the JSON loader guesses types before
it looks at the declared ones (huggingface/datasets#7496). Here a version is one commit, rows are
read with the types of the card and cached under the digests of their files.
"""

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import orjson

from ultra import card, jsonl, release
from ultra.errors import InputError
from ultra.release import MANIFEST, Manifest

if TYPE_CHECKING:
    from datasets import Dataset, Features, IterableDataset

Entry = dict[str, Any]
"""A file of a release, as its manifest lists it: ``path``, ``bytes``, ``sha256``."""

CARD = "README.md"
_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_REMOTE = "hf://"
_BLOCK = 4 * 2**20
"""Bytes that are asked for at a time when a file on the Hub is streamed."""


@dataclass(frozen=True)
class Found:
    """A release whose manifest is on this machine; what is on the Hub of it, not yet."""

    folder: Path
    manifest: Manifest
    repo: str = ""
    """Where on the Hub its files come from; the name of ``folder`` is the commit. Empty for a
    directory, in which all of them are."""

    @property
    def name(self) -> str:
        return f"{self.repo}@v{self.manifest['version']}" if self.repo else str(self.folder)

    def fetch(self, entries: list[Entry]) -> None:
        """Have these files in the folder, each as the manifest says.

        Raises:
            InputError: a file is missing or damaged, or cannot be downloaded.
        """
        if self.repo:
            _download(self.repo, self.folder.name, [entry["path"] for entry in entries])
        for entry in entries:
            try:
                release.check_file(self.folder, entry)
            except InputError as error:
                if not self.repo:
                    raise
                file = self.folder / entry["path"]
                raise InputError(
                    f"{self.name}: the download of {entry['path']} is damaged; "
                    f"delete {file.resolve()} and run again"
                ) from error

    def config_or_default(self, config: str | None) -> str:
        """The configuration that is meant.

        Raises:
            InputError: the release has no such one; names those that it has.
        """
        splits = self.manifest["splits"]
        if config is None:
            return card.default_config(self.manifest)
        if config not in splits:
            raise InputError(
                f"{self.name}: no configuration {config}; it has {', '.join(sorted(splits))}"
            )
        return config

    def entries(self, config: str, split: str) -> list[Entry]:
        """The files of a split, in the order of its rows.

        Raises:
            InputError: the configuration has no such split; names those that it has.
        """
        splits = self.manifest["splits"][config]
        if split not in splits:
            raise InputError(
                f"{self.name}: no split {split} of configuration {config}; "
                f"it has {', '.join(splits)}"
            )
        folder = PurePosixPath("data", config)
        return [
            entry
            for entry in self.manifest["files"]
            if (place := PurePosixPath(entry["path"])).parent == folder
            and place.name.rsplit("-", 3)[0] == split
        ]

    def card(self) -> Entry:
        """The card, which declares the types.

        Raises:
            InputError: the manifest lists none.
        """
        for entry in self.manifest["files"]:
            if entry["path"] == CARD:
                return cast(Entry, entry)
        raise InputError(f"{self.folder / MANIFEST}: lists no {CARD}, so no types are declared")

    def features(self, config: str) -> "Features":
        """The types that the card declares; the files of an older version have other columns.

        Raises:
            InputError: the card is damaged or declares none.
        """
        from datasets.info import DatasetInfosDict

        self.fetch([self.card()])
        declared = DatasetInfosDict.from_directory(str(self.folder)).get(config)
        if declared is None or declared.features is None:
            raise InputError(f"{self.folder / CARD}: declares no types of configuration {config}")
        return declared.features

    def places(self, entries: list[Entry]) -> dict[str, list[str]]:
        """What :func:`read` takes: where each file is, and its digest."""
        files = [self.folder / entry["path"] for entry in entries]
        remote = f"{_REMOTE}datasets/{self.repo}@{self.folder.name}"
        return {
            "files": [
                f"{remote}/{entry['path']}" if self.repo and not file.exists() else str(file)
                for file, entry in zip(files, entries, strict=True)
            ],
            "digests": [entry["sha256"] for entry in entries],
        }


def load(
    name_or_path: str | Path,
    version: str | None = None,
    config: str | None = None,
    split: str = "train",
    streaming: bool = False,
) -> "Dataset | IterableDataset":
    """See :func:`ultra.release.load`."""
    from datasets import Dataset, IterableDataset, NamedSplit, Version

    found = find(name_or_path, version)
    config = found.config_or_default(config)
    entries = found.entries(config, split)
    features = found.features(config)
    named, number = NamedSplit(split), Version(found.manifest["version"])
    if streaming:
        places = found.places(entries)
        rows = IterableDataset.from_generator(read, features, gen_kwargs=places, split=named)
        rows.info.version = number
        return rows
    found.fetch(entries)
    return Dataset.from_generator(
        read,
        features,
        gen_kwargs=found.places(entries),
        split=named,
        fingerprint=fingerprint(found, entries, config, split),
        version=number,
    )


def find(name_or_path: str | Path, version: str | None = None) -> Found:
    """Find a release directory, or a dataset ``org/name`` or ``org/name@v1.2.0`` on the Hub.

    Raises:
        InputError: there is no such release, or another version than the one that is asked for.
    """
    folder = Path(name_or_path)
    version = version and version.removeprefix("v")
    if folder.is_dir():
        found = Found(folder, _manifest(folder))
    else:
        repo = str(name_or_path)
        if version is None:
            repo, _, version = repo.partition("@v")
        if not _REPO.fullmatch(repo):
            raise InputError(
                f"{name_or_path}: neither a release directory nor a dataset org/name on the Hub"
            )
        if not version:
            raise InputError(f"{repo}: name a version of it; {_versions(repo)}")
        folder = _download(repo, f"v{version}", [MANIFEST, CARD])
        found = Found(folder, _manifest(folder), repo)
    if version and found.manifest["version"] != version:
        raise InputError(
            f"{folder}: is version {found.manifest['version']}, not the {version} that is asked for"
        )
    return found


def fingerprint(found: Found, entries: list[Entry], *more: str) -> str:
    """What the rows of these files depend on, as 32 hex digits: a key for a cache."""
    digests = [entry["sha256"] for entry in (*entries, found.card())]
    return jsonl.digest([found.manifest["version"], digests, more])


def read(files: list[str], digests: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of JSONL files, here or on the Hub; ``digests`` are their sha256.

    Raises:
        InputError: a file cannot be read, or its end is reached and it was not what it should be.
    """
    for file, expected in zip(files, digests, strict=True):
        digest = hashlib.sha256()
        with _open(file) as lines:
            for line in lines:
                digest.update(line)
                try:
                    row = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise InputError(f"{file}: damaged ({error}); get it again") from error
                yield row
        if digest.hexdigest() != expected:
            raise InputError(f"{file}: wrong digest, not what its manifest says; get it again")


@contextmanager
def _open(file: str) -> Iterator[BinaryIO]:
    """Open a file, here or on the Hub; what goes wrong with it is an ``InputError``."""
    from huggingface_hub import HfFileSystem
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    broken = (OSError, httpx.HTTPError)  # a stream may end when its modules are gone already
    try:
        if file.startswith(_REMOTE):
            with HfFileSystem().open(file, "rb", block_size=_BLOCK) as remote:
                yield io.BufferedReader(cast(Any, remote), _BLOCK)
        else:
            with Path(file).open("rb") as local:
                yield local
    except broken as error:
        raise InputError(f"{file}: cannot be read ({_short(error)}); try again") from error


def _manifest(folder: Path) -> Manifest:
    """The manifest, with all that is needed here.

    Raises:
        InputError: it is missing or broken.
    """
    manifest = release.read_manifest(folder)
    splits, version = manifest.get("splits"), manifest.get("version")
    if (
        not (isinstance(splits, dict) and splits)
        or not all(isinstance(sizes, dict) for sizes in splits.values())
        or not re.fullmatch(r"\d+\.\d+\.\d+", str(version))
    ):
        raise InputError(f"{folder / MANIFEST}: not the manifest of a release")
    return manifest


def _download(repo: str, revision: str, paths: list[str]) -> Path:
    """Have files of a revision in the Hub's cache; returns the folder of its commit.

    Offline, or with a Hub that is down, only what is there already is found: a tag as the commit
    that it was.

    Raises:
        InputError: not on the Hub, or not to be had now.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        return Path(
            snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=paths)
        )
    except RevisionNotFoundError as error:
        raise InputError(f"{repo}: no {revision} on the Hub; {_versions(repo)}") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{repo}: no such folder, and no such dataset on the Hub (if it is private or gated: "
            "log in with 'hf auth login' or set HF_TOKEN)"
        ) from error
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{repo}: the Hub cannot be reached and {revision} is not complete in the cache, "
            f"which holds {_named(_cached(repo))}"
        ) from error
    except (OSError, httpx.HTTPError, HFValidationError) as error:
        raise InputError(f"{repo}: {revision} cannot be downloaded ({_short(error)})") from error


def _versions(repo: str) -> str:
    """Which versions there are, for a message; those in the cache, if the Hub does not say."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    try:
        tags = HfApi().list_repo_refs(repo, repo_type="dataset").tags
    except (OSError, httpx.HTTPError):
        return f"the cache holds {_named(_cached(repo))}"
    return f"it has {_named({tag.name for tag in tags})}"


def _cached(repo: str) -> set[str]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        cached = scan_cache_dir().repos
    except CacheNotFound:
        return set()
    return {name for one in cached if one.repo_id == repo for name in one.refs}


def _named(tags: set[str]) -> str:
    versions = filter(re.compile(r"v\d+\.\d+\.\d+").fullmatch, tags)
    return ", ".join(sorted(versions, key=_order)) or "no version of it"


def _order(tag: str) -> list[int]:
    return [int(part) for part in tag[1:].split(".")]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
