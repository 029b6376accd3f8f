"""Releases, and somebody who publishes them on a loopback Hub."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from tests.conftest import ROOT
from tests.servers.hub import Hub
from tests.servers.hub_client import hub_for
from ultra import release, schema
from ultra.hub import Settings, publish
from ultra.prompts import Prompt
from ultra.schema import Message

REPO = "org/talks"
CARD = Prompt("card.md", "---\nlicense: mit\n---\n# Talks {version}\n\n{splits}\n{steps}")
_EMPTY = {"string": "", "int64": 0, "float64": 0.0}
Row = dict[str, Any]


def row(number: int, text: str = "Answer", corpus: str = "sharegpt") -> Row:
    messages: list[Message] = [
        {"role": "user", "content": f"Question {number}"},
        {"role": "assistant", "content": text},
    ]
    columns = {name: _EMPTY[kind] for name, kind in schema.PROVENANCE[corpus].items()}
    return {"id": str(number), "root": str(number), "messages": messages, **columns}


def release_of(path: Path, rows: list[Row], version: str = "1.0.0", **made: Any) -> Path:
    with release.Writer(path, made.pop("corpus", "sharegpt")) as writer:
        for one in rows:
            writer.add("all", "train", one)
        writer.finish({"version": version, "steps": [], **made}, CARD)
    return path


def local_files(path: Path) -> dict[str, bytes]:
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_for(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return release_of(tmp_path / "talks-1.0.0", [row(1), row(2)])


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return release_of(tmp_path / "talks-1.1.0", [row(1), row(3, "New")], "1.1.0")


@pytest.fixture
def api(server: Hub) -> HfApi:
    return HfApi(server.url, server.token)


def send(server: Hub, path: Path, **options: Any) -> None:
    publish(Settings(path, REPO, **{"create": True, "endpoint": server.url, **options}))


def add_file(api: HfApi, path: str, content: bytes = b"x") -> None:
    """A commit by somebody else."""
    edit = CommitOperationAdd(path, content)
    api.create_commit(REPO, [edit], commit_message="other", repo_type="dataset")


def state(server: Hub) -> tuple[list[str], dict[str, str]]:
    return [commit.id for commit in server.commits(REPO)], server.tags(REPO)


def environment(server: Hub, home: Path, **more: str) -> dict[str, str]:
    """That of somebody who is logged in nowhere and has cached nothing."""
    return os.environ | {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_CACHE": str(home / "datasets"),
        **more,
    }


def start(server: Hub, home: Path, path: Path, *flags: str, **more: str) -> "subprocess.Popen[str]":
    """``python -m ultra.hub`` as another process, with the token for writing."""
    return subprocess.Popen(
        [sys.executable, "-m", "ultra.hub", str(path), REPO, "--create", *flags],
        cwd=ROOT,
        env=environment(server, home, **{"HF_TOKEN": server.token, **more}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(server: Hub, home: Path, path: Path, *flags: str, **more: str) -> tuple[int, str]:
    process = start(server, home, path, *flags, **more)
    said, _ = process.communicate()
    return process.returncode, said
