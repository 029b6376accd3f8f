"""Builds that are killed, interrupted or hindered at some moment, and the builds after them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from datasets_scripts.sharegpt.build import VERSION
from tests.conftest import ROOT
from tests.datasets_scripts.helpers import files_of, page, row
from ultra import release

NAME = f"sharegpt-{VERSION}"
PAGES = 18
PIECES = PAGES // 2 + 1
"""Two pages a piece, and a dump."""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="processes are looked for in /proc"
)
PLAIN = "banners: keep\nrefusals: none\nlanguages: false\npersonal_data: 'off'\nnumbering: keep\n"
PLAIN += "encoding: keep\nnear_duplicates: 0.0\ntest_share: 0.2\n"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    rows = [row(f"id{n}", f"question {n}", "answer", f"more {n}", "yes") for n in range(30)]
    for number in range(PAGES):
        (folder / f"{number:02}.html").write_bytes(page(rows[number]))
    (folder / "dump.json").write_bytes(orjson.dumps(rows[10:]))
    return folder


class Run:
    """A build in processes of its own: a session, which ends when the test does."""

    def __init__(
        self, raw: Path, out: Path, ends: str = "", workers: int = 1, settings: str = PLAIN
    ) -> None:
        self.out = out
        out.mkdir(exist_ok=True)
        (out / "worked").unlink(missing_ok=True)
        config = raw.parent / f"{raw.name}.yaml"
        config.write_text(settings)
        flags = [f"--config={config}", f"--raw={raw}", f"--out={out}", f"--workers={workers}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.datasets_scripts.sharegpt.runner", *flags],
            cwd=ROOT,
            env=os.environ | {"BUILD_OUT": str(out), "BUILD_ENDS": ends},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns the exit code and what it said on stderr."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said

    def worked_on(self) -> list[str]:
        """Keys of the pieces that were worked on."""
        log = self.out / "worked"
        return log.read_text().split() if log.exists() else []

    def alive(self) -> list[str]:
        """Processes of its session that still run."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # ended just now
                continue
            if fields[3] == str(self.process.pid) and fields[0] not in "ZX":
                found.append(stat.parent.name)
        return found


Start = Callable[..., Run]


@pytest.fixture
def start(raw: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a build into one folder; whatever still runs at the end of the test is killed."""
    runs: list[Run] = []

    def begin(ends: str = "", workers: int = 1, settings: str = PLAIN) -> Run:
        runs.append(Run(raw, tmp_path / "out", ends, workers, settings))
        return runs[-1]

    yield begin
    for run in runs:
        for process in run.alive():
            os.kill(int(process), signal.SIGKILL)
        run.process.communicate()


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that other processes will make true, or fail."""
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The release of a build that nothing hindered."""
    run = Run(raw, tmp_path_factory.mktemp("whole"))
    assert run.end() == (0, "")
    assert len(set(run.worked_on())) == len(run.worked_on()) == PIECES
    assert not (run.out / f"{NAME}.run").exists()
    return files_of(run.out / NAME)


def names_in(out: Path) -> set[str]:
    return {path.name for path in out.iterdir()} - {"worked", "go"}


@pytest.mark.parametrize(
    ("ends", "finished"), [("result 1", 1), ("result 4", 4), (f"result {PIECES}", PIECES)]
)
def test_a_killed_build_goes_on_where_it_was(
    ends: str, finished: int, start: Start, whole: dict[str, bytes]
) -> None:
    first = start(ends)
    assert first.end()[0] == -signal.SIGKILL
    done = first.worked_on()
    assert len(done) == finished
    assert names_in(first.out) == {f"{NAME}.run"}
    second = start()
    assert second.end() == (0, "")
    assert len(second.worked_on()) == PIECES - finished
    assert not set(second.worked_on()) & set(done)
    assert files_of(second.out / NAME) == whole
    assert names_in(second.out) == {NAME}


@pytest.mark.parametrize(
    ("ends", "left"),
    [("release", {f"{NAME}.run", f"{NAME}.partial"}), ("named", {f"{NAME}.run", NAME})],
)
def test_a_build_killed_near_its_end_works_on_nothing_again(
    ends: str, left: set[str], start: Start, whole: dict[str, bytes]
) -> None:
    first = start(ends)
    assert first.end()[0] == -signal.SIGKILL
    assert names_in(first.out) == left
    second = start()
    assert second.end() == (0, "")
    assert second.worked_on() == []
    assert files_of(second.out / NAME) == whole
    assert names_in(second.out) == {NAME}


def test_a_build_may_be_killed_again_and_again(start: Start, whole: dict[str, bytes]) -> None:
    keys: list[str] = []
    for _ in range(3):
        run = start("result 3")
        assert run.end()[0] == -signal.SIGKILL
        keys += run.worked_on()
    last = start()
    assert last.end() == (0, "")
    keys += last.worked_on()
    assert len(keys) == len(set(keys)) == PIECES
    assert files_of(last.out / NAME) == whole


def test_a_torn_result_is_made_again(start: Start, whole: dict[str, bytes]) -> None:
    first = start("result 5")
    first.end()
    file = first.out / f"{NAME}.run" / "pieces"
    file.write_bytes(file.read_bytes()[:-7])
    second = start()
    assert second.end() == (0, "")
    assert len(second.worked_on()) == PIECES - 4
    assert files_of(second.out / NAME) == whole


def test_with_other_settings_a_build_begins_anew(start: Start, whole: dict[str, bytes]) -> None:
    start("result 5").end()
    other = start(settings=PLAIN.replace("test_share: 0.2", "test_share: 0.0"))
    assert other.end() == (0, "")
    assert len(other.worked_on()) == PIECES
    assert list(release.verify(other.out / NAME)["splits"]["all"]) == ["train"]


@pytest.mark.parametrize("whom", ["parent", "all"])
def test_no_worker_outlives_its_killed_parent(
    whom: str, start: Start, whole: dict[str, bytes]
) -> None:
    first = start("wait", workers=2)
    until(lambda: len(first.worked_on()) >= 5)  # two of them are waited for
    assert len(first.alive()) >= 3
    kill = os.killpg if whom == "all" else os.kill
    kill(first.process.pid, signal.SIGKILL)
    assert first.end()[0] == -signal.SIGKILL
    until(lambda: not first.alive())
    second = start(workers=2)
    assert second.end() == (0, "")
    assert files_of(second.out / NAME) == whole
    assert names_in(second.out) == {NAME}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_build_says_one_line_and_goes_on(
    workers: int, start: Start, whole: dict[str, bytes]
) -> None:
    first = start("wait", workers=workers)
    until(lambda: len(first.worked_on()) >= 3 + workers)
    os.killpg(first.process.pid, signal.SIGINT)
    (first.out / "go").touch()
    code, said = first.end()
    assert code == 130
    assert said == "interrupted: nothing is lost; run the same command again\n"
    until(lambda: not first.alive())
    done = first.worked_on()
    second = start(workers=workers)
    assert second.end() == (0, "")
    assert len(second.worked_on()) < PIECES
    assert len(done) + len(second.worked_on()) >= PIECES
    assert files_of(second.out / NAME) == whole


def test_an_interruption_while_workers_start_says_one_line(start: Start) -> None:
    run = start("start", workers=2)
    assert run.end() == (130, "interrupted: nothing is lost; run the same command again\n")
    until(lambda: not run.alive())


def test_two_builds_at_once_keep_out_of_each_others_way(
    start: Start, whole: dict[str, bytes]
) -> None:
    first = start("wait")
    until(lambda: len(first.worked_on()) >= 4)
    second = start()
    code, said = second.end()
    assert code == 2
    assert said.startswith("error: ")
    assert f"{NAME}.run: another run is writing to it" in said
    assert said.count("\n") == 1
    (first.out / "go").touch()
    assert first.end() == (0, "")
    assert files_of(first.out / NAME) == whole


def test_a_worker_that_dies_is_one_clear_line_and_the_next_build_goes_on(
    start: Start, whole: dict[str, bytes]
) -> None:
    first = start("worker", workers=2)
    code, said = first.end()
    assert code == 2
    assert said.startswith("error: a worker process died")
    assert said.count("\n") == 1
    until(lambda: not first.alive())
    second = start(workers=2)
    assert second.end() == (0, "")
    assert files_of(second.out / NAME) == whole
