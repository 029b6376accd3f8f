"""Publish a release on the Hugging Face Hub: one commit, then the tag ``v<version>`` on it.

A repository holds one corpus: its newest release on ``main``, and each release under its tag. Of
the files there, ``README.md``, ``manifest.json`` and all below ``data/`` and ``dropped/`` are the
release's: the one commit adds, replaces and deletes until they are just those of the new release.
Any other file, such as ``.gitattributes``, is left alone.

What is left to do is told from the digests of what is there. So a run that was killed or cut off
goes on where it was when it is run again, and nothing is committed or tagged twice.
"""

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson
from tqdm import tqdm

from ultra import command, files, release
from ultra.errors import InputError, OutputError, SettingError
from ultra.hub_repository import Commit, Head, Repository
from ultra.release import MANIFEST

if TYPE_CHECKING:
    from huggingface_hub import RepoFile

_BARE = {".gitattributes", "README.md"}
"""Files of a repository that was just made, by us or with the form on the Hub's site."""
_VERSION = r"\d+\.\d+\.\d+"


@dataclass(frozen=True)
class Settings:
    """Publish a release on the Hub: one commit, and the tag v<version> on it.

    The token is that of HF_TOKEN or of `hf auth login`.
    """

    release: Path = command.positional("directory of the release")
    repo: str = command.positional("dataset repository on the Hub, organization/name")
    create: bool = False
    """Make the repository if it is not there."""
    private: bool = False
    """Make it private."""
    allow_demo: bool = False
    """Publish rows of the offline demo model, too."""
    dry_run: bool = False
    """Only tell what would be done."""
    endpoint: str = ""
    """Address of the Hub; by default that in HF_ENDPOINT, or else https://huggingface.co."""


class _Release:
    """A verified release on this machine.

    Raises:
        InputError: it is broken, or its version is not of the form that the Hub's users pin.
    """

    def __init__(self, path: Path) -> None:
        self.path, manifest = path, release.verify(path)
        try:
            self.corpus, self.version, self.data_digest = (
                str(manifest[key]) for key in ("corpus", "version", "data_digest")
            )
        except (LookupError, TypeError) as error:
            raise InputError(f"{path / MANIFEST}: not as a build writes it ({error!r})") from error
        if not re.fullmatch(_VERSION, self.version, re.ASCII):
            raise InputError(
                f"{path}: version {self.version!r} is not like 1.2.3; build one that is"
            )
        self.tag = f"v{self.version}"
        self.is_demo = bool(manifest.get("demo"))
        self.sha256 = {file["path"]: str(file["sha256"]) for file in manifest["files"]}
        self.sha256[MANIFEST] = files.sha256(path / MANIFEST)

    def __str__(self) -> str:
        return f"{self.corpus} {self.version}"


class _Changes(NamedTuple):
    """How a commit differs from a release: paths it lacks or has otherwise, paths it has beyond."""

    send: list[str]
    delete: list[str]


def publish(settings: Settings) -> None:
    """Bring a release to the Hub, or tell what that would take.

    Raises:
        SettingError: the repository's name, the token, or settings that contradict each other.
        InputError: the release is broken, or made by the demo model.
        OutputError: the repository holds something else, this version is there with other
            content, somebody else committed at the same time, or the Hub does not answer.
    """
    from huggingface_hub import get_token

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", settings.repo, re.ASCII):
        raise SettingError(f"repository {settings.repo!r}: give it as organization/name")
    if settings.private and not settings.create:
        raise SettingError("--private says how to make the repository; add --create")
    local = _Release(settings.release)
    if local.is_demo and not settings.allow_demo:
        raise InputError(
            f"{local.path}: made by the offline demo model, not for training; "
            "build it with a real model, or add --allow-demo"
        )
    token = get_token()
    if not token:
        raise SettingError(
            "no token for the Hub: set HF_TOKEN to one that may write, or log in: hf auth login"
        )
    repository = Repository(settings.repo, settings.endpoint, token)
    repository.persist(lambda: _publish(settings, local, repository))


def _publish(settings: Settings, local: _Release, repository: Repository) -> None:
    """Do what is left to do: create, commit, tag."""
    repository.require_writer()
    head = _open(settings, repository)
    if head is None:
        _plan(settings, local, _Changes(list(local.sha256), []), "the first of a new repository")
        return
    tree = repository.tree(head.commit)
    held = _held(repository, head, tree, local)
    if local.tag in head.tags:
        _require_same(repository, local.tag, local)
        print(f"{repository.name}: holds {local} already, as {local.tag}")
        return
    changes = _changes(tree, local)
    if held == local.version and any(changes):  # untagged so far, but main could be read
        raise _other_content(repository, local, changes)
    _require_newest(repository, head, local)
    _plan(settings, local, changes, f"after {head.commit}")
    if settings.dry_run:
        return
    commit = _commit(repository, local, changes, head.commit) if any(changes) else head.commit
    _require_same(repository, commit, local)
    repository.tag(local.tag, commit)
    _require_same(repository, local.tag, local)  # or somebody else has set it meanwhile
    call = f'release.load("{settings.repo}", "{local.version}")'
    print(f"published {local} as {settings.repo} {local.tag}, commit {commit}")
    print(f"load it with\n  from ultra import release; dialogs = {call}")


def _open(settings: Settings, repository: Repository) -> Head | None:
    """The state of the repository, which is made if need be; None if a dry run would make it."""
    head = repository.head()
    if head is None and settings.create:
        if settings.dry_run:
            return None
        repository.create(settings.private)
        head = repository.head()
    if head is None:
        raise OutputError(
            f"{repository.name}: no such dataset repository, or none that the token may see; "
            "add --create to make it"
        )
    if settings.private and not head.private:
        raise OutputError(
            f"{repository.name}: is there and public; make it private in its settings on the Hub, "
            "or leave --private out"
        )
    return head


def _changes(tree: "Mapping[str, RepoFile]", local: _Release) -> _Changes:
    """How a commit with these files differs from a release; digests tell, nothing is downloaded."""
    send = [
        path
        for path, sha256 in local.sha256.items()
        if path not in tree or not _is_same(tree[path], local.path / path, sha256)
    ]
    delete = [path for path in tree if _is_of_a_release(path) and path not in local.sha256]
    return _Changes(send, sorted(delete))


def _is_same(there: "RepoFile", file: Path, sha256: str) -> bool:
    if there.lfs:
        return there.lfs.sha256 == sha256
    return there.size == file.stat().st_size and there.blob_id == _git_blob(file)


def _git_blob(path: Path) -> str:
    """The id that git gives a file: sha1 of its kind, its size and its bytes."""
    start = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: start).hexdigest()


def _is_of_a_release(path: str) -> bool:
    return path in ("README.md", MANIFEST) or path.startswith(("data/", "dropped/"))


def _commit(repository: Repository, local: _Release, changes: _Changes, parent: str) -> str:
    """Make the one commit; or find it, if the Hub has just made it for a run that was killed.

    Raises:
        OutputError: somebody else committed something else after ``parent``.
    """
    add = {path: local.path / path for path in changes.send}
    digest = f"data digest {local.data_digest}"
    try:
        return repository.commit(Commit(add, changes.delete, str(local), digest), parent)
    except OutputError:
        head = repository.head()
        if head and not any(_changes(repository.tree(head.commit), local)):
            return head.commit
        raise


def _require_same(repository: Repository, revision: str, local: _Release) -> None:
    """Hold what a commit or tag has to the release.

    Raises:
        OutputError: names a file that differs.
    """
    changes = _changes(repository.tree(revision), local)
    if any(changes):
        raise _other_content(repository, local, changes)


def _other_content(repository: Repository, local: _Release, changes: _Changes) -> OutputError:
    return OutputError(
        f"{repository.name}: holds another {local} ({(changes.send + changes.delete)[0]} differs), "
        "and a version means the same for ever; raise the version and publish that"
    )


def _held(
    repository: Repository, head: Head, tree: "Mapping[str, RepoFile]", local: _Release
) -> str:
    """The version on ``main``, "" in a repository that was just made.

    Raises:
        OutputError: there is another corpus, or something else.
    """
    if MANIFEST not in tree:
        if tree.keys() <= _BARE:
            return ""
        raise OutputError(
            f"{repository.name}: holds {min(tree.keys() - _BARE)} but no {MANIFEST}, so it is no "
            "repository of releases; choose another, or take that out first"
        )
    try:
        found = orjson.loads(repository.read(MANIFEST, head.commit))
        corpus, version = str(found["corpus"]), str(found["version"])
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise OutputError(
            f"{repository.name}: its {MANIFEST} is none of a release; choose another repository"
        ) from error
    if corpus != local.corpus:
        raise OutputError(
            f"{repository.name}: holds the corpus {corpus}, and a repository holds one; "
            f"choose another for {local.corpus}"
        )
    return version


def _require_newest(repository: Repository, head: Head, local: _Release) -> None:
    """Keep ``main`` from going back: who reads it unpinned expects the newest release.

    Raises:
        OutputError: a newer version is tagged.
    """
    versions = [tag[1:] for tag in head.tags if re.fullmatch(f"v{_VERSION}", tag, re.ASCII)]
    newest = max(versions, key=_numbers, default="0.0.0")
    if _numbers(newest) > _numbers(local.version):
        raise OutputError(
            f"{repository.name}: has {newest}, and {local.version} would take its place on main; "
            "raise the version above it"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _plan(settings: Settings, local: _Release, changes: _Changes, where: str) -> None:
    """Tell what is about to be done, or would be."""
    size = tqdm.format_sizeof(sum((local.path / path).stat().st_size for path in changes.send))
    lines = [f"{local} to {settings.repo}"]
    if any(changes):
        lines += [
            f"  commit  {len(changes.send):,} of {len(local.sha256):,} files, {size}B, {where}"
        ]
    else:
        lines += ["  commit  none, for main has all files already"]
    lines += [f"  delete  {path}" for path in changes.delete]
    lines += [f"  tag     {local.tag}"]
    if settings.dry_run:
        lines += ["a dry run: nothing was changed"]
    for line in lines:
        print(command.printable(line), file=sys.stderr)


if __name__ == "__main__":
    command.main(Settings, publish)
