import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.speed import harness
from tests.speed.harness import Cost, Row, RunError

BURN = "import time\nwhile time.process_time() < 0.4: pass\n"
FILL = "filled = bytearray(100_000_000)\n"
START = "import subprocess, sys\nsubprocess.{how}([sys.executable, '-c', {code!r}])\n"


def measure(code: str, folder: Path) -> Cost:
    return harness.measure([sys.executable, "-c", code], folder)


def test_a_child_and_its_own_children_count(tmp_path: Path) -> None:
    assert measure(BURN, tmp_path / "child").cpu_s >= 0.4
    assert measure(BURN + START.format(how="call", code=BURN), tmp_path / "both").cpu_s >= 0.8


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_a_child_that_nobody_waited_for_counts(tmp_path: Path) -> None:
    assert measure(START.format(how="Popen", code=BURN), tmp_path / "run").cpu_s >= 0.4


def test_peak_memory_is_that_of_the_largest_process(tmp_path: Path) -> None:
    assert measure("pass", tmp_path / "idle").peak_mb < 100
    assert measure(FILL, tmp_path / "child").peak_mb >= 100
    both = measure(FILL + START.format(how="call", code=FILL), tmp_path / "both")
    assert 100 <= both.peak_mb < 200


def test_peak_memory_of_whoever_measures_does_not_count(tmp_path: Path) -> None:
    filled = b"x" * 300_000_000
    assert measure("pass", tmp_path / "run").peak_mb < 100
    assert filled


def test_a_run_starts_in_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "run" / "release").mkdir(parents=True)
    measure("print('first'); print('last')", tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {harness.LOG, "cost.json"}
    assert harness.last_line(tmp_path / "run") == "last"


@pytest.mark.parametrize(
    ("code", "status"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_a_run_that_fails_names_its_log(code: str, status: int, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"status {status}; what it said is in .*log.txt"):
        measure(code, tmp_path / "run")


def test_a_command_that_is_not_there_fails(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no-such-program: ended with status 1; .*log\.txt"):
        harness.measure([tmp_path / "no-such-program"], tmp_path / "run")


POOL = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def burn(_):
    filled = bytearray(100_000_000)
    exec({burn!r})

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    pool.submit(burn, None)
    pool.shutdown(wait=False)
    exec({burn!r})
    raise SystemExit(0)
"""


def test_a_parent_and_its_workers_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pooled.py").write_text(POOL.format(burn=BURN))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    total, parent, workers = harness.measure_apart("pooled", [], tmp_path / "run")
    assert workers.cpu_s >= 0.4
    assert parent.cpu_s >= 0.4
    assert total.cpu_s == pytest.approx(parent.cpu_s + workers.cpu_s)
    assert workers.peak_mb >= 100 > parent.peak_mb


def test_a_module_without_workers_has_none_to_tell_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alone.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RunError, match="alone: did all in its own process"):
        harness.measure_apart("alone", [], tmp_path / "run")


def test_sides_take_turns() -> None:
    order: list[str] = []

    def side(name: str) -> int:
        order.append(name)
        return len(order)

    runs = {"peer": lambda: side("peer"), "ours": lambda: side("ours")}
    assert harness.in_turn(runs, 2) == {"peer": [1, 3], "ours": [2, 4]}
    assert order == ["peer", "ours", "peer", "ours"]


def test_medians_and_the_spread_of_pairs() -> None:
    slow, fast = [Cost(20, 5), Cost(90, 7), Cost(30, 6)], [Cost(2, 1), Cost(3, 1), Cost(6, 1)]
    assert harness.typical(slow) == Cost(30, 6)
    assert harness.spread(slow, fast) == "5.0 to 30.0"
    assert harness.spread(slow[:1], fast[:1]) == ""


def test_a_peer_lives_in_an_environment_of_its_own_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "peers"
    python = harness.peer_python(folder, [])
    measured = harness.measure([python, "-c", "import sys; print(sys.prefix)"], tmp_path / "run")
    assert measured.cpu_s > 0
    assert harness.last_line(tmp_path / "run") == str(folder)
    assert "pytest" not in harness.versions(python)
    (folder / "left").touch()
    assert harness.peer_python(folder, []) == python
    assert (folder / "left").exists()


def test_another_list_of_packages_makes_the_environment_anew(tmp_path: Path) -> None:
    folder = tmp_path / "peers"
    harness.peer_python(folder, [])
    (folder / "left").touch()
    for _ in range(2):  # what failed is not taken for done
        with pytest.raises(RunError, match=r"pip install --no-index no-such-package: .*log\.txt"):
            harness.peer_python(folder, [["--no-index", "no-such-package"]])
    assert not (folder / "left").exists()


ROWS = [
    Row("pages", "peer", cpu_s=158.5, per_s=63, peak_mb=204),
    Row("pages", "ratio", value=19.24, unit="x", target="at least 18"),
]


def test_the_table_shows_a_result_beside_its_target(capsys: pytest.CaptureFixture[str]) -> None:
    harness.print_table(ROWS)
    head, _, section, peer, ratio = capsys.readouterr().out.splitlines()
    assert "CPU s" in head
    assert section.strip() == "PAGES"
    assert peer.split() == ["peer", "158.50", "63", "204"]
    assert ratio.split() == ["ratio", "19.2", "x", "at", "least", "18"]


def test_what_was_found_is_written_with_the_machine(tmp_path: Path) -> None:
    harness.save(tmp_path / "out" / "found.json", ROWS, {"machine": harness.machine()})
    found = json.loads((tmp_path / "out" / "found.json").read_bytes())
    assert found["rows"][1]["value"] == 19.24
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["libraries"]["PyYAML"] == yaml.__version__
