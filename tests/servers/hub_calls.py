"""What passes between the loopback Hub and its endpoints, and who may do what."""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import yaml

from tests.servers.hub_store import Repository

Json = dict[str, Any]
NAME = r"\w[\w.-]*/\w[\w.-]*?"
"""A pattern of owner/name."""


@dataclass(frozen=True)
class Site:
    """What all calls share. The lock is held by whoever moves a ref."""

    folder: Path
    url: str
    lfs: bool
    lock: threading.Lock = field(default_factory=threading.Lock)

    def path(self, kind: str, name: str) -> Path:
        return self.folder / kind / f"{name}.git"


@dataclass(frozen=True)
class Call:
    """A request whose token, if any, is known: ``role`` is "write", "read" or empty."""

    site: Site
    role: str
    headers: Message
    query: dict[str, list[str]]
    body: bytes

    @property
    def json(self) -> Json:
        parsed: Json = json.loads(self.body)
        return parsed


@dataclass(frozen=True)
class Answer:
    """A response; its length is told by whoever sends it."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class HubError(Exception):
    """An error as the Hub words it, with the code by which clients tell it from others."""

    def __init__(
        self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        said = {"X-Error-Message": ascii(message)[1:-1]} | ({"X-Error-Code": code} if code else {})
        self.answer = as_json({"error": message}, status, {**said, **(headers or {})})


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    shape = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
    return Answer(json.dumps(value, default=str).encode(), status, shape)  # a card may hold dates


def require_write(call: Call) -> None:
    if not call.role:
        raise HubError(401, "Invalid username or password.")
    if call.role != "write":
        raise HubError(403, "Forbidden: you must use a write token to upload to a repository.")


def card_data(card: str) -> Any:
    """The YAML at the head of a README.md, which need not be what the Hub accepts.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    block = re.match(r"\ufeff?---\r?\n(.*?\n)?---\s*(\n|$)", card, re.DOTALL)
    return (yaml.safe_load(block[1] or "") if block else None) or {}


def readable(call: Call, kind: str, name: str) -> Repository:
    found = Repository(call.site.path(kind, name))
    if not found.folder.is_dir() or (found.private and not call.role):
        # Whoever may not see a repository is not told whether it is there.
        raise HubError(404 if call.role else 401, "Repository not found", "RepoNotFound")
    return found


def writable(call: Call, kind: str, name: str) -> Repository:
    found = readable(call, kind, name)
    require_write(call)
    return found


def commit_of(repository: Repository, revision: str) -> str:
    try:
        return repository.resolve(revision)
    except KeyError:
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound") from None


def web_prefix(kind: str) -> str:
    """What stands before the name of a repository in the address of its page."""
    return "" if kind == "models" else f"{kind}/"
