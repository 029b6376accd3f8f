"""Judging, killed with SIGKILL again and again: no verdict is paid twice, and the file is the same.

``ULTRA_JUDGE_KILLS=10`` kills as often (default 2).
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import judgments, results, suites
from tests.benchmarks.fakes import write_rows
from tests.conftest import ROOT
from tests.servers.chat_api import ChatServer, Messages

KILLS = int(os.environ.get("ULTRA_JUDGE_KILLS", "2"))
QUESTIONS = max(6, KILLS)
CALLS = 2 * QUESTIONS
PATIENCE = 120.0
"""Seconds until a judge that shows no sign of life is taken for broken."""


class Endpoint:
    """A judge on this machine, which kills whom it answers after some more calls."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.left = -1
        self.victim: subprocess.Popen[str] | None = None

    def reply(self, messages: Messages) -> str:
        if self.left == 0 and self.victim is not None:
            os.kill(self.victim.pid, signal.SIGKILL)
            self.victim.wait()
            self.victim = None
        if self.victim is None:
            return "too late"
        self.left -= 1
        self.answered[json.dumps(messages)] += 1
        return f"reasons\n[[{'ABC'[len(messages[-1]['content']) % 3]}]]"


@pytest.fixture
def answered(tmp_path: Path) -> Path:
    """A suite, a baseline's answers, and below ``first`` and ``second`` the model's."""
    asked = [{"id": f"q{n}", "turns": ["why? " * n]} for n in range(1, QUESTIONS + 1)]
    suite = write_rows(tmp_path / "asked.jsonl", asked)
    rows = [{"id": row["id"], "model": "base", "turns": ["so"]} for row in asked]
    write_rows(tmp_path / "base.jsonl", rows)
    for out in ("first", "second"):
        folder = results.folder(tmp_path / out, suites.load(str(suite)).name, "mine")
        mine = [{**row, "model": "mine", "turns": ["because"]} for row in rows]
        write_rows(folder / results.ANSWERS, mine)
    return tmp_path


def start(folder: Path, out: str, url: str, concurrency: int) -> subprocess.Popen[str]:
    words = ["--suite", folder / "asked.jsonl", "--model", "mine", "--judge", "gpt-4"]
    words += ["--baseline", folder / "base.jsonl", "--out", folder / out]
    words += ["--base-url", url, "--concurrency", concurrency]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.judge", *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(endpoint: Endpoint, process: subprocess.Popen[str]) -> Path:
    """Let a judge come to its end; the file that it wrote."""
    endpoint.victim, endpoint.left = process, -1
    said, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    return Path(said.splitlines()[-1])


def test_a_killed_judge_goes_on_and_pays_no_verdict_twice(answered: Path) -> None:
    endpoint = Endpoint()
    with ChatServer(endpoint.reply) as server:
        for _ in range(KILLS):  # one call at a time, so that none is under way beside the last one
            endpoint.left = (CALLS - 1) // KILLS
            endpoint.victim = process = start(answered, "first", server.url, 1)
            process.communicate(timeout=PATIENCE)
            assert process.returncode == -signal.SIGKILL
            assert not list((answered / "first").rglob("judged-by-*"))
        path = finish(endpoint, start(answered, "first", server.url, 1))
        assert len(endpoint.answered) == endpoint.answered.total() == CALLS
        other = finish(endpoint, start(answered, "second", server.url, 8))
    assert path.name == other.name
    assert path.read_bytes() == other.read_bytes()
    assert "unscored" not in {row["verdict"] for row in judgments.read(path)}
