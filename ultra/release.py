"""Releases: versioned directories of JSONL with a card and a manifest, whole or not there.

::

    sharegpt-1.0.0/
        README.md                              the card: YAML with configs and features, a body
        data/all/train-00000-of-00001.jsonl    rows
        dropped/dropped-00000-of-00001.jsonl   what was left out: id, source, step, reason, detail
        manifest.json                          how it was made, and the digest of every file

A release is written as ``<name>.partial`` and renamed once its manifest, the last file, is durable.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import orjson

from ultra import __version__, card, files, jsonl, schema
from ultra.errors import InputError, OutputError
from ultra.prompts import Prompt

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

SHARD_BYTES = 256 * 2**20
MANIFEST = "manifest.json"

Manifest = dict[str, Any]


class _Shards:
    """The JSONL files of one split, numbered at the end; counts and digests as it goes."""

    def __init__(self, directory: Path, stem: str) -> None:
        self.directory, self.stem = directory, stem
        self.rows = 0
        self.files: list[dict[str, Any]] = []
        self._file: BinaryIO | None = None

    def add(self, line: bytes) -> None:
        if self._file is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._file = self._part(len(self.files)).open("wb")
            self._hash = hashlib.sha256()
            self._rows = self._bytes = 0
        self._file.write(line)
        self._hash.update(line)
        self._rows += 1
        self._bytes += len(line)
        self.rows += 1
        if self._bytes >= SHARD_BYTES:
            self._close_shard()

    def finish(self, root: Path) -> list[dict[str, Any]]:
        """Close and name the shards; returns path (under ``root``), rows, bytes, sha256 of each."""
        self._close_shard()
        for number, entry in enumerate(self.files):
            name = f"{self.stem}-{number:05d}-of-{len(self.files):05d}.jsonl"
            final = self._part(number).rename(self.directory / name)
            entry["path"] = final.relative_to(root).as_posix()
        return [{"path": entry.pop("path"), **entry} for entry in self.files]

    def discard(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # a full disk is why we are here
                self._file.close()

    def _part(self, number: int) -> Path:
        return self.directory / f"{self.stem}-{number:05d}.part"

    def _close_shard(self) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        digest = self._hash.hexdigest()
        self.files.append({"rows": self._rows, "bytes": self._bytes, "sha256": digest})


def line_of(row: dict[str, Any], corpus: str) -> bytes:
    """A row as its line of JSONL, held to the columns of the corpus.

    Raises:
        InputError: it has other columns, or text that is no UTF-8.
    """
    schema.check(row, corpus)
    try:
        return jsonl.dump(row)
    except TypeError as error:  # half a surrogate pair: what reads it must scrub it
        raise InputError(f"row {row['id']!r}: cannot be written ({error})") from error


class Writer:
    """Collects the rows of a release beside its final place, and puts it there in one rename.

    What an earlier, interrupted writer left is discarded. ``corpus`` names the columns.
    """

    def __init__(self, path: Path, corpus: str) -> None:
        self.path, self.corpus = path, corpus
        self._partial = path.with_name(path.name + ".partial")
        self._splits: dict[tuple[str, str], _Shards] = {}
        self._open = ExitStack()
        self._open.enter_context(files.locked(self._partial))
        for left in self._partial.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self._dropped = _Shards(self._partial / "dropped", "dropped")

    def add(self, config: str, split: str, row: dict[str, Any]) -> None:
        """Append a row to a split, in the order in which it shall be read."""
        self.write(config, split, line_of(row, self.corpus))

    def write(self, config: str, split: str, line: bytes) -> None:
        """Append a row that :func:`line_of` has made a line."""
        key = (config, split)
        if key not in self._splits:
            self._splits[key] = _Shards(self._partial / "data" / config, split)
        self._splits[key].add(line)

    def drop(self, row: Mapping[str, str]) -> None:
        """Append to the drop report: id, source, step, reason and detail."""
        self._dropped.add(jsonl.dump(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._open:
            for shards in (self._dropped, *self._splits.values()):
                shards.discard()
            shutil.rmtree(self._partial, ignore_errors=True)  # gone already if it was finished

    def finish(self, made: Manifest, template: Prompt) -> Manifest:
        """Write the card and the manifest, and give the release its name.

        ``made`` says how it was made: ``version``, ``configuration``, ``steps``, and so on.

        Raises:
            InputError: no row was kept; the drop report is kept as ``<name>.dropped.jsonl``.
        """
        data = [entry for shards in self._splits.values() for entry in shards.finish(self._partial)]
        dropped = self._dropped.finish(self._partial)
        if not data:
            raise InputError(self._nothing_kept(dropped))
        splits = {
            config: {
                split: {
                    "rows": shards.rows,
                    "bytes": sum(entry["bytes"] for entry in shards.files),
                }
                for (of, split), shards in sorted(self._splits.items(), key=_train_first)
                if of == config
            }
            for config in sorted({config for config, _ in self._splits})
        }
        manifest: Manifest = {
            "corpus": self.corpus,
            "schema_version": schema.SCHEMA_VERSION,
            "code_version": __version__,
            **made,
            "splits": splits,
            "data_digest": _data_digest(data),
        }
        files.write_text(self._partial / "README.md", card.render(manifest, template))
        readme = self._partial / "README.md"
        manifest["files"] = [
            *sorted(data + dropped, key=lambda entry: str(entry["path"])),
            {"path": "README.md", "bytes": readme.stat().st_size, "sha256": files.sha256(readme)},
        ]
        with files.atomic(self._partial / MANIFEST) as file:
            file.write(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        files.rename_tree(self._partial, self.path)
        self._report.unlink(missing_ok=True)  # of an earlier build that kept nothing
        return manifest

    def _nothing_kept(self, dropped: list[dict[str, Any]]) -> str:
        if not dropped:
            return f"nothing to build: the input of {self.path.name} holds no conversations"
        with files.atomic(self._report) as file:
            for entry in dropped:
                file.write((self._partial / entry["path"]).read_bytes())
        reasons = Counter((row["reason"], row["detail"]) for row in jsonl.read(self._report))
        (reason, detail), _ = reasons.most_common(1)[0]
        return (
            f"nothing was kept: {self._dropped.rows} of {self._dropped.rows} conversations were "
            f"dropped, most for {reason}{f' ({detail})' if detail else ''}; "
            f"each reason is in {self._report}"
        )

    @property
    def _report(self) -> Path:
        return self.path.with_name(self.path.name + ".dropped.jsonl")


def _train_first(item: tuple[tuple[str, str], Any]) -> tuple[str, bool, str]:
    (config, split), _ = item
    return config, split != "train", split


def _data_digest(entries: list[dict[str, Any]]) -> str:
    """One sha256 over the digests of all data files: the identity of the rows."""
    lines = sorted(f"{entry['sha256']}  {entry['path']}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


def read_manifest(path: Path) -> Manifest:
    """The manifest of a release.

    Raises:
        InputError: there is no complete release at ``path``.
    """
    try:
        manifest = orjson.loads((path / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{path}: not a complete release (no {MANIFEST})") from error
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(f"{path / MANIFEST}: cannot be read ({error})") from error
    if not isinstance(manifest, dict) or not _lists_files(manifest.get("files")):
        raise InputError(f"{path / MANIFEST}: not the manifest of a release")
    return manifest


def _lists_files(entries: Any) -> bool:
    return isinstance(entries, list) and all(
        isinstance(entry, dict)
        and {"path", "bytes", "sha256"} <= entry.keys()
        and _stays_inside(entry["path"])
        for entry in entries
    )


def _stays_inside(path: Any) -> bool:
    """Whether a manifest, which anybody may have written, names a file of the release."""
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    return bool(parts) and parts[0] != "/" and ".." not in parts


def verify(path: Path) -> Manifest:
    """Check every file of a release against its manifest; returns the manifest.

    Raises:
        InputError: names the file that is missing, changed or not listed.
    """
    manifest = read_manifest(path)
    listed = {entry["path"] for entry in manifest["files"]}
    for entry in manifest["files"]:
        check_file(path, entry)
    for folder in ("data", "dropped"):
        for file in sorted((path / folder).rglob("*")):
            if file.is_file() and file.relative_to(path).as_posix() not in listed:
                raise InputError(f"{file}: not listed in the manifest; remove it")
    return manifest


def check_file(path: Path, entry: Manifest) -> None:
    """Check one file of the release at ``path`` against its entry in the manifest.

    Raises:
        InputError: it is missing or changed.
    """
    file = path / entry["path"]
    if not file.is_file():
        raise InputError(f"{file}: missing from the release; build or download it again")
    if file.stat().st_size != entry["bytes"] or files.sha256(file) != entry["sha256"]:
        raise InputError(f"{file}: wrong digest, not what its manifest says; get it again")


def is_built(path: Path, identity: Manifest) -> bool:
    """Whether the release at ``path`` is complete and made from just this.

    ``identity`` holds the manifest fields that decide the bytes: version, configuration, input.

    Raises:
        OutputError: something else stands there.
        InputError: it is that release, but damaged.
    """
    if set("[]*?") & set(str(path.resolve())):
        raise OutputError(
            f"{path}: load_dataset reads no path with [ ] * or ?; choose another --out"
        )
    if not path.exists():
        return False
    if not (path / MANIFEST).exists():
        raise OutputError(
            f"{path}: is in the way and is no release; move it or choose another --out"
        )
    manifest = verify(path)
    files.require_same(path, manifest, identity)
    return True


def load_line(path: Path, config: str, split: str = "train") -> str:
    """The line of Python that loads a release."""
    quoted = orjson.dumps(str(path)).decode()
    call = f'load_dataset({quoted}, "{config}", split="{split}")'
    return f"from datasets import load_dataset; dialogs = {call}"


def load(
    name_or_path: str | Path,
    version: str | None = None,
    config: str | None = None,
    split: str = "train",
    streaming: bool = False,
) -> "Dataset | IterableDataset":
    """Load one split of a release, checked against the digests in its manifest.

    Args:
        name_or_path: a release directory, or a dataset ``org/name`` on the Hub.
        version: such as ``1.2.0``. The Hub needs one; a directory is held to it.
        config: by default the one that ``load_dataset`` takes.
        split: one split of that configuration.
        streaming: read rows as they are asked for, and check each file when its end is reached.

    Raises:
        InputError: no such release, version, configuration or split; or a file is damaged.
    """
    from ultra import loading

    return loading.load(name_or_path, version, config, split, streaming)


if __name__ == "__main__":
    from ultra import release_command

    release_command.main()
