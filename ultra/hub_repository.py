"""A dataset repository on the Hugging Face Hub, through the Hub's own client.

It is looked at and changed here; what goes into it, and whether it may, is decided in ``hub.py``.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tqdm import tqdm

from ultra import __version__
from ultra.errors import OutputError, SettingError, UltraError

if TYPE_CHECKING:  # importing the client costs half a second that --help does not need
    from huggingface_hub import CommitOperationAdd, RepoFile

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt, as huggingface_hub waits between single requests."""
_LONGEST_WAIT = 300.0
"""Seconds; a rate limit of the Hub lasts no longer (huggingface.co/docs/hub/rate-limits)."""
_BATCH = 32
"""Files that are uploaded between two steps of the progress bar."""
_BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
"""Without a rate: how fast small files go, which are in the commit, cannot be seen."""
_AGAIN = "nothing is lost, run the same command again"


class Head(NamedTuple):
    """The newest commit of ``main``, and the names of all tags."""

    commit: str
    private: bool
    tags: list[str]


class Commit(NamedTuple):
    """What one commit shall do: files to add or replace by their path there, files to delete."""

    add: Mapping[str, Path]
    delete: list[str]
    title: str
    description: str


class Repository:
    """One repository, as a token sees it; ``endpoint`` is that of the environment if empty."""

    def __init__(self, name: str, endpoint: str, token: str) -> None:
        from huggingface_hub import HfApi

        self.name, self._token = name, token
        self._api = HfApi(endpoint.rstrip("/") or None, token, "ultra", __version__)

    def require_writer(self) -> None:
        """Refuse a token that can only read; of a fine-grained one, only the commit will tell.

        Raises:
            SettingError: the token can only read.
        """
        token = self._api.whoami(cache=True).get("auth", {}).get("accessToken", {})
        if token.get("role") == "read":
            raise SettingError(self._may_not_write)

    def head(self) -> Head | None:
        """Where ``main`` and the tags are; None if there is no repository that the token sees."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self._api.dataset_info(self.name)
            refs = self._api.list_repo_refs(self.name, repo_type="dataset")
        except RepositoryNotFoundError:
            return None
        return Head(str(info.sha), bool(info.private), [tag.name for tag in refs.tags])

    def create(self, private: bool) -> None:
        """Make it, with nothing in it but what the Hub puts there."""
        self._api.create_repo(self.name, repo_type="dataset", private=private, exist_ok=True)

    def tree(self, revision: str) -> "dict[str, RepoFile]":
        """Size and digest of all files of a commit or tag."""
        from huggingface_hub import RepoFile

        entries = self._api.list_repo_tree(
            self.name, recursive=True, revision=revision, repo_type="dataset"
        )
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}

    def read(self, path: str, commit: str) -> bytes:
        """The content of a small file; nothing of it stays in the client's cache."""
        with TemporaryDirectory() as folder:
            file = self._api.hf_hub_download(
                self.name, path, repo_type="dataset", revision=commit, cache_dir=folder
            )
            return Path(file).read_bytes()

    def commit(self, changes: Commit, parent: str) -> str:
        """Make one commit after ``parent``; returns its id.

        ``upload_folder`` would make several commits. Large files go from the disk to the Hub's
        store in pieces before the commit; small ones are in the commit, and so in memory.

        Raises:
            OutputError: ``main`` is not at ``parent`` any more.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError

        adds = [CommitOperationAdd(there, here) for there, here in changes.add.items()]
        deletes = [CommitOperationDelete(path, is_folder=False) for path in changes.delete]
        total = sum(add.upload_info.size for add in adds)
        with tqdm(
            total=total, desc="upload", unit="B", unit_scale=True, bar_format=_BAR, disable=None
        ) as bar:
            self._upload(adds, bar)
            bar.set_description("commit")
            try:
                return self._api.create_commit(
                    self.name,
                    [*adds, *deletes],
                    commit_message=changes.title,
                    commit_description=changes.description,
                    repo_type="dataset",
                    parent_commit=parent,
                ).oid
            except HfHubHTTPError as error:
                if _status(error) == 412:
                    raise self._explain(error) from None
                raise

    def _upload(self, adds: "list[CommitOperationAdd]", bar: "tqdm[NoReturn]") -> None:
        """Send what is too large for a commit; the client shows a bar of its own for each file."""
        for start in range(0, len(adds), _BATCH):
            batch = adds[start : start + _BATCH]
            self._api.preupload_lfs_files(
                self.name,
                batch,
                repo_type="dataset",
                gitignore_content="#\n",  # one in the repository would leave files out
            )
            bar.set_postfix_str(f"{start + len(batch):,}/{len(adds):,} files", refresh=False)
            bar.update(sum(add.upload_info.size for add in batch))

    def tag(self, name: str, commit: str) -> None:
        """Give a commit a tag; one that is there is left where it is."""
        self._api.create_tag(
            self.name, tag=name, revision=commit, repo_type="dataset", exist_ok=True
        )

    def persist(self, attempt: Callable[[], None]) -> None:
        """Attempt something until the Hub answers, waiting as long as it asks for.

        A request whose answer was lost may have been carried out: ``attempt`` looks anew.

        Raises:
            UltraError: the Hub refuses, or did not answer the last attempt either.
        """
        from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # httpx2, so far

        for wait in (*WAITS, None):
            try:
                attempt()
                return
            except (httpx.HTTPError, OSError, RuntimeError, ValueError) as error:
                if _is_ours(error):
                    raise
                if wait is None or not _may_pass(error):
                    raise self._explain(error) from None  # what the Hub says may hold the token
                wait = max(wait, _asked_to_wait(error))
                print(f"{self._silent}; trying again in {wait:.0f} s", file=sys.stderr)
                time.sleep(wait)

    def _explain(self, error: Exception) -> UltraError:
        """An error of the client's as one line with the way out, without the token."""
        from huggingface_hub.errors import OfflineModeIsEnabled

        if isinstance(error, OfflineModeIsEnabled):
            return SettingError("HF_HUB_OFFLINE is set, and so nothing can be published; unset it")
        text = getattr(error, "server_message", None) or str(error)
        said = " ".join(text.replace(self._token, "***").split())
        match _status(error):
            case 401:
                return SettingError(
                    f"{self._api.endpoint}: does not accept the token; make one that may write at "
                    f"{self._api.endpoint}/settings/tokens ({said})"
                )
            case 403:
                return SettingError(f"{self._may_not_write} ({said})")
            case 412:
                return OutputError(f"{self.name}: somebody else changed it meanwhile; {_AGAIN}")
            case _ if _may_pass(error):
                return OutputError(f"{self._silent}; {_AGAIN} later ({said})")
        return OutputError(f"{self.name}: the Hub refuses it ({said})")

    @property
    def _may_not_write(self) -> str:
        return (
            f"{self.name}: the token may not write there; "
            f"make one that may at {self._api.endpoint}/settings/tokens"
        )

    @property
    def _silent(self) -> str:
        return f"{self._api.endpoint}: does not answer as it should"


def _is_ours(error: Exception) -> bool:
    """Whether it is about a file on this machine."""
    return isinstance(error, OSError) and error.filename is not None


def _cause(error: Exception) -> BaseException:
    """What went wrong with a request: the client wraps some of it, such as a failed upload."""
    wrapped = isinstance(error, RuntimeError | FileNotFoundError) and error.__cause__
    return wrapped or error


def _status(error: Exception) -> int:
    """The HTTP status that the Hub answered, 0 if it did not."""
    response = getattr(_cause(error), "response", None)
    return 0 if response is None else int(response.status_code)


def _may_pass(error: Exception) -> bool:
    """Whether a later attempt may go better: overload, a cut connection, half an answer."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    if status := _status(error):
        return status in (408, 429) or status >= 500
    passing = (httpx.TransportError, RuntimeError, json.JSONDecodeError)
    return isinstance(_cause(error), passing)


def _asked_to_wait(error: Exception) -> float:
    """Seconds that the Hub asks for, at most as many as a rate limit lasts."""
    response = getattr(_cause(error), "response", None)
    asked = "" if response is None else response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_WAIT) if asked.isdecimal() else 0.0
