"""A build's memory does not grow with its plan.

``ULTRA_MEMORY_CALLS=10000`` measures as many calls; by default 800, which takes fewer seconds.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.datasets_scripts.ultrachat.conftest import write_openings

CALLS = int(os.environ.get("ULTRA_MEMORY_CALLS", "800"))
MEASURE = r"""
import asyncio, re, sys
from pathlib import Path
from datasets_scripts.ultrachat.build import build
from datasets_scripts.ultrachat.settings import Settings
from tests.datasets_scripts.ultrachat import talkers
from ultra import models
from ultra.chat import Completion, Usage
from ultra.errors import ModelError

class Talker:
    calls = 0
    def __init__(self, name):
        self.name, self.identity = name, f"fake {name}"
    async def complete(self, messages, sampling):
        Talker.calls += 1
        await asyncio.sleep(0)
        if Talker.calls > int(sys.argv[3]):
            raise ModelError("that is enough")
        text = talkers.reply(messages)
        return Completion(text + " It goes on and on." * 50, "stop", self.name, Usage(10, 20))
    async def close(self):
        pass

models.open_model = lambda name, url="": Talker(name)
cast = {"user_model": "asker", "assistant_model": "helper"}
where = {"openings": Path(sys.argv[1]), "out": Path(sys.argv[2])}
try:
    build(Settings(n=1_000_000, concurrency=256, **where, **cast))
except ModelError:
    print(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells a process's peak")
def test_a_million_planned_dialogues_take_less_than_200_megabytes(tmp_path: Path) -> None:
    openings = write_openings(tmp_path / "mine.jsonl", 2_000)
    words = [sys.executable, "-c", MEASURE, str(openings), str(tmp_path / "out"), str(CALLS)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kilobytes = int(done.stdout.splitlines()[-1])
    journal = next(tmp_path.glob("out/*.run/journal.jsonl"))
    assert journal.read_bytes().count(b"\n") >= CALLS // 2  # others were under way at the end
    assert kilobytes < 200 * 1024
