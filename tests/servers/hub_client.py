"""The real clients of a Hub, each in a process with a home of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.servers.hub import Hub
from ultra import hub_repository

Server = subprocess.Popen[str]
CARD = """---
license: mit
configs:
- config_name: all
  default: true
  version: VERSION
  data_files:
  - {split: train, path: data/train-*.jsonl}
dataset_info:
- config_name: all
  features:
  - {name: id, dtype: string}
  - {name: content, dtype: string}
---
# Dialogues
"""
TEXTS = [
    "line\u2028separator",
    'quo"te \\ back',
    "new\nline\r\n",
    "\U0001f44d\U0001f3fd é",
    "x" * 2**20,
]

PREAMBLE = """
import json, sys
from huggingface_hub import CommitOperationAdd as Add, HfApi
from huggingface_hub.errors import HfHubHTTPError
api, dataset = HfApi(), {"repo_type": "dataset"}

def status(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except HfHubHTTPError as error:
        return [type(error).__name__, error.response.status_code]
    except Exception as error:
        return [type(error).__name__, 0]
    return "fine"

def commit(repo, files, parent=None, token=None):
    additions = [Add(path, content.encode()) for path, content in files.items()]
    return api.create_commit(
        repo, additions, commit_message="more", parent_commit=parent, token=token, **dataset
    ).oid
"""


@contextmanager
def hub_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub for the code of this process, with a token and no waits between tries."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(folder / "no-token"))
    monkeypatch.setattr(hub_repository, "WAITS", (0.0, 0.0))
    with Hub(folder / "hub") as server:
        monkeypatch.setenv("HF_TOKEN", server.token)
        yield server


def rows(version: str) -> list[dict[str, str]]:
    return [{"id": f"{version}-{n}", "content": text} for n, text in enumerate(TEXTS)]


def release(version: str) -> dict[str, str]:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(version)]
    data = {"data/train-0.jsonl": "".join(lines[:2]), "data/train-1.jsonl": "".join(lines[2:])}
    return {"README.md": CARD.replace("VERSION", version), **data}


def environment(url: str, home: Path, **more: str) -> dict[str, str]:
    ours = {name: text for name, text in os.environ.items() if not name.startswith("HF_")}
    quiet = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK", "NO_COLOR")
    return {
        **ours,
        **dict.fromkeys(quiet, "1"),
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "NO_PROXY": "127.0.0.1",
        "HF_TOKEN": Hub.token,
        **more,
    }


def client(url: str, home: Path, script: str, *arguments: str, **more: str) -> Any:
    """What a script says in JSON at its end."""
    ran = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script, *arguments],
        env=environment(url, home, **more),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def ask(
    hub: Hub, method: str, path: str, body: str = "", **headers: str
) -> tuple[HTTPResponse, bytes]:
    """Ask without any of the clients."""
    connection = HTTPConnection("127.0.0.1", hub.server_port)
    connection.request(method, path, body.encode(), headers)
    answer = connection.getresponse()
    body_back = answer.read()
    connection.close()
    return answer, body_back


@contextmanager
def process(module: str, *arguments: str, python: str = sys.executable) -> Iterator[Server]:
    """A server in a process of its own, which is ended at the end."""
    command = [python, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server
        finally:
            server.kill()
