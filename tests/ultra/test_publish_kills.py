"""Publishing, killed with SIGKILL at any moment and run again, seen by a reader all the while.

``ULTRA_PUBLISH_KILLS=20`` kills as often at random moments (default 5). When it kills is random;
what it asserts holds whatever the moment.
"""

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from tests.servers.hub import Fault, Hub
from tests.ultra.conftest import REPO, release_of, row, run, start
from ultra import release
from ultra.errors import InputError

KILLS = int(os.environ.get("ULTRA_PUBLISH_KILLS", "5"))
PATIENCE = 60.0
"""Seconds until a publisher that shows no sign of life is taken for broken."""


class Reader:
    """Somebody who loads ``main`` and each tag again and again, and verifies what is new there."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.api, self.folder = HfApi(hub.url, hub.token), folder
        self.wrong: list[str] = []
        self.seen: dict[str, str] = {}
        """The version that each commit holds."""
        self.tags: dict[str, str] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def look(self) -> None:
        with self._lock:
            refs = self.api.list_repo_refs(REPO, repo_type="dataset")
            for branch in refs.branches:
                self._load(branch.target_commit)
            for tag in refs.tags:
                if self.tags.setdefault(tag.name, tag.target_commit) != tag.target_commit:
                    self.wrong.append(f"{tag.name} moved")
                if self._load(tag.target_commit) != tag.name.removeprefix("v"):
                    self.wrong.append(f"{tag.name} is on {self._load(tag.target_commit)}")

    def _load(self, commit: str) -> str:
        if commit not in self.seen:
            folder = self.api.snapshot_download(
                REPO, repo_type="dataset", revision=commit, cache_dir=self.folder / commit
            )
            self.seen[commit] = version_in(Path(folder), self.wrong)
        return self.seen[commit]

    def _run(self) -> None:
        while not self._over.wait(0.01):
            self.look()

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def version_in(folder: Path, wrong: list[str]) -> str:
    """The version of a whole release; "" in a repository that was just made."""
    if [path.name for path in folder.iterdir()] == [".gitattributes"]:
        return ""
    try:
        return str(release.verify(folder)["version"])
    except InputError as error:
        wrong.append(str(error))
        return "broken"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with Hub(tmp_path / "hub") as hub:
        HfApi(hub.url, hub.token).create_repo(REPO, repo_type="dataset")
        yield hub


def several_files(path: Path, number: int) -> Path:
    """Version ``1.<number>.0``, of which some files are new, some gone and some as before."""
    rows = [row(one) for one in range(number % 3 + 3)] + [row(100 + number)]
    return release_of(path, rows, f"1.{number}.0")


def finish(hub: Hub, home: Path, path: Path) -> None:
    code, said = run(hub, home, path)
    assert code == 0, said


def kill_when(publisher: "subprocess.Popen[str]", due: Any) -> None:
    """Kill it once ``due()``; it may be through by then, which is one of the moments."""
    end = time.monotonic() + PATIENCE
    while not due() and publisher.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    publisher.kill()
    publisher.communicate()


def asked_by_publisher(hub: Hub) -> list[str]:
    """What no reader asks for, and what tells how far a publisher is."""
    own = ("/whoami-v2", "/preupload/", "/validate-yaml", "/commit/", "/tag/")
    return [request.path for request in hub.requests if any(part in request.path for part in own)]


def expect(hub: Hub, reader: Reader, releases: int) -> None:
    """One commit and one tag for each release, all of them whole, whoever looked and when."""
    reader.look()
    assert reader.wrong == []
    versions = [f"1.{number}.0" for number in range(releases)]
    assert [reader._load(commit.id) for commit in hub.commits(REPO)] == [*versions[::-1], ""]
    assert hub.tags(REPO) == {f"v{reader.seen[one.id]}": one.id for one in hub.commits(REPO)[:-1]}


def test_killed_at_random_moments_nobody_ever_sees_half_a_release(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "SHARD_BYTES", 1)
    chance = random.Random(KILLS)
    home = tmp_path / "home"
    with Reader(hub, tmp_path / "reader") as reader:
        finish(hub, home, several_files(tmp_path / "1.0.0", 0))
        requests = len(asked_by_publisher(hub))
        for number in range(1, KILLS + 1):
            path = several_files(tmp_path / f"1.{number}.0", number)
            count = len(asked_by_publisher(hub)) + chance.randint(1, requests)
            publisher = start(hub, home, path)
            kill_when(publisher, lambda count=count: len(asked_by_publisher(hub)) >= count)
            reader.look()
            finish(hub, home, path)
        expect(hub, reader, KILLS + 1)


@pytest.mark.parametrize("path", [".*/preupload/.*", ".*/commit/.*", ".*/tag/.*"])
def test_killed_while_the_hub_is_at_work_on_its_request(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(release, "SHARD_BYTES", 1)
    home, newer = tmp_path / "home", several_files(tmp_path / "1.1.0", 1)
    with Reader(hub, tmp_path / "reader") as reader:
        finish(hub, home, several_files(tmp_path / "1.0.0", 0))
        fault = Fault("POST", path, "slow", seconds=0.5)
        hub.faults.append(fault)
        kill_when(start(hub, home, newer), lambda: fault not in hub.faults)
        reader.look()
        finish(hub, home, newer)  # the Hub may do only now what the killed one asked for
        expect(hub, reader, 2)
