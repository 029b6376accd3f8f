"""A build that is killed and started again: only what was in flight is asked again.

``ULTRA_KILLS=10`` kills it at ten moments; by default at two, which takes fewer seconds.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest

from datasets_scripts.ultrachat.settings import VERSION
from tests.conftest import ROOT
from tests.datasets_scripts.helpers import files_of
from tests.datasets_scripts.ultrachat import talkers
from tests.datasets_scripts.ultrachat.conftest import write_openings
from tests.servers.chat_api import ChatServer, Latency

KILLS = int(os.environ.get("ULTRA_KILLS", "2"))
PATIENCE = 60.0
CONCURRENCY = 8
NAME = f"ultrachat-{VERSION}"


def start(server: ChatServer, openings: Path, out: Path) -> "subprocess.Popen[bytes]":
    models = ["--user-model", "asker", "--assistant-model", "helper", "--base-url", server.url]
    where = ["--openings", str(openings), "--out", str(out), "--concurrency", str(CONCURRENCY)]
    words = [sys.executable, "-m", "datasets_scripts.ultrachat.build", *models, *where]
    environment = os.environ | {"NO_PROXY": "127.0.0.1"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet)


def kill_when(process: "subprocess.Popen[bytes]", due: Callable[[], bool]) -> int:
    """Kill it once ``due()``, unless it is through by then; returns its exit code."""
    end = time.monotonic() + PATIENCE
    while not due() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    process.kill()
    return process.wait()


def asked(server: ChatServer) -> Counter[bytes]:
    return Counter(orjson.dumps(request.body) for request in server.requests)


def has_asked(server: ChatServer, count: int) -> bool:
    return len(server.requests) >= count


def finished(out: Path) -> int:
    """Whole lines of the journal."""
    path = out / f"{NAME}.run" / "journal.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer(talkers.reply, latency=Latency(0.01, 0.5)) as server:
        yield server


@pytest.fixture(scope="module")
def openings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_openings(tmp_path_factory.mktemp("kills") / "mine.jsonl", 30)


@pytest.fixture(scope="module")
def whole(server: ChatServer, openings: Path) -> tuple[dict[str, bytes], set[bytes]]:
    """The files of an undisturbed build, and what it asked."""
    out = openings.with_name("undisturbed")
    server.requests.clear()
    with start(server, openings, out) as process:
        assert process.wait() == 0
    needed = asked(server)
    assert set(needed.values()) == {1}
    return files_of(out / NAME), set(needed)


def test_killed_at_any_moment_it_goes_on_and_gives_the_same_bytes(
    server: ChatServer, openings: Path, whole: tuple[dict[str, bytes], set[bytes]], tmp_path: Path
) -> None:
    undisturbed, needed = whole
    chance = random.Random(KILLS)
    server.requests.clear()
    lost = 0
    for number in range(KILLS):
        before, made = finished(tmp_path), len(server.requests)
        moment = made + chance.randint(1, len(needed) // (KILLS + 1))
        with start(server, openings, tmp_path) as process:
            code = kill_when(process, partial(has_asked, server, moment))
        assert code == -signal.SIGKILL, number
        assert not (tmp_path / NAME).exists()
        in_flight = len(server.requests) - made - (finished(tmp_path) - before)
        assert 0 <= in_flight <= CONCURRENCY
        lost += in_flight
    with start(server, openings, tmp_path) as process:
        assert process.wait() == 0
    assert set(asked(server)) == needed
    assert len(server.requests) == len(needed) + lost
    assert files_of(tmp_path / NAME) == undisturbed


def test_killed_while_it_writes_the_release_it_makes_it_without_a_call(
    server: ChatServer, openings: Path, whole: tuple[dict[str, bytes], set[bytes]], tmp_path: Path
) -> None:
    undisturbed, needed = whole
    partial_release = tmp_path / f"{NAME}.partial"
    server.requests.clear()
    with start(server, openings, tmp_path) as process:
        kill_when(process, partial_release.exists)
    with start(server, openings, tmp_path) as process:
        assert process.wait() == 0
    assert len(server.requests) == len(needed)
    assert files_of(tmp_path / NAME) == undisturbed
    assert not partial_release.exists()
