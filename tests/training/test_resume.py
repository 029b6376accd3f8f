"""A run that is killed at any moment and started again ends as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.training.test_sft import contents, weights, with_trainer
from tests.training.tiny import chat, settings, write_release
from training import checkpoint as checkpoints
from training import sft
from training.sft import Settings
from training.trainer import COMPLETE
from ultra.errors import OutputError
from ultra.local_chat import RECORD

HANGS = """
import sys, time
from pathlib import Path
import torch
from transformers import Trainer
from training import checkpoint, sft
from ultra import command

def hang(*_, **__):
    print("hangs", flush=True)
    time.sleep(3600)

def torn(self, folder):
    Path(folder, "optimizer.pt").write_bytes(b"half of an optim")
    hang()

where, step, calls = sys.argv.pop(1), Trainer.training_step, []
write = Trainer._save_optimizer_and_scheduler

def training_step(*args, **kwargs):
    calls.append(1)
    if where == "step" and len(calls) == 11:
        hang()
    return step(*args, **kwargs)

Trainer.training_step = training_step
if where == "write":
    Trainer._save_optimizer_and_scheduler = lambda self, folder: (
        torn(self, folder) if len(calls) == 8 else write(self, folder)
    )
if where == "end":
    checkpoint.save = hang
command.main(sft.Settings, sft.train, sft.RECIPES)
"""


def kill(where: str, folder: Path, release: Path, processes: int = 1) -> Settings:
    """Start a run like the shared checkpoint's, and kill it where it hangs."""
    chosen = settings(folder, release, folder / "model")
    script = folder / "hangs.py"
    script.write_text(HANGS)
    words = [str(script), where, "--config", str(folder / "tiny.yaml"), "--dataset", str(release)]
    if processes > 1:
        words = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={processes}",
            *words,
        ]
        words += ["--trainer.per_device_train_batch_size", "1"]
    process = subprocess.Popen(
        [sys.executable, *words, "--out", str(chosen.out)],
        cwd=ROOT,
        env={**os.environ, "HF_DATASETS_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with process.stdout as printed:
        assert any("hangs" in line for line in printed)  # two may say it in one line
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.send_signal(signal.SIGKILL)
    process.wait()
    assert not chosen.out.exists()
    return chosen


@pytest.fixture(scope="module")
def killed(tiny_release: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """Settings of a run, and what it left behind when it was killed at its eleventh step."""
    chosen = kill("step", tmp_path_factory.mktemp("killed"), tiny_release)
    return chosen, Path(f"{chosen.out}.run")


@pytest.fixture
def tiny(tmp_path: Path, tiny_release: Path) -> Settings:
    """The settings of the shared checkpoint, for a place of one's own."""
    return settings(tmp_path, tiny_release, tmp_path / "model")


def history(done: Path) -> list[dict[str, float]]:
    return list(json.loads((done / RECORD).read_text())["losses"])


@pytest.mark.parametrize("left_out", ["nothing", "the mark of the newest"])
def test_a_killed_run_goes_on_to_the_same_weights_and_losses(
    killed: tuple[Settings, Path],
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    left_out: str,
) -> None:
    chosen, left = killed
    run = shutil.copytree(left, tmp_path / "model.run")
    assert {path.name for path in run.iterdir()} == {"checkpoint-4", "checkpoint-8", RECORD}
    if left_out != "nothing":
        (run / "checkpoint-8" / COMPLETE).unlink()
    done = sft.train(replace(chosen, out=tmp_path / "model"))
    assert weights(done) == weights(checkpoint)
    assert history(done) == history(checkpoint)
    logged = capsys.readouterr().out.count("{'loss'")  # once in four steps
    assert logged == (1 if left_out == "nothing" else 2)
    assert not run.exists()


@pytest.mark.parametrize("where", ["write", "end"])
def test_a_kill_while_something_is_written_changes_nothing(
    where: str, tiny_release: Path, checkpoint: Path, tmp_path: Path
) -> None:
    chosen = kill(where, tmp_path, tiny_release)
    newest = {"write": "checkpoint-4", "end": "checkpoint-12"}[where]
    assert checkpoints.last_whole(Path(f"{chosen.out}.run")) == f"{chosen.out}.run/{newest}"
    done = sft.train(chosen)
    assert weights(done) == weights(checkpoint)
    assert history(done) == history(checkpoint)


def torchrun(
    chosen: Settings, release: Path, folder: Path, *more: str, module: str = "training.sft"
) -> Path:
    """The same run on two processes, each with half of a step."""
    words = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        module,
    ]
    words += ["--config", str(folder / "tiny.yaml"), "--dataset", str(release)]
    words += ["--trainer.per_device_train_batch_size", "1", "--out", str(chosen.out), *more]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "HF_DATASETS_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == str(chosen.out)
    return chosen.out


def test_two_processes_learn_what_one_does_also_after_a_kill_in_a_later_epoch(
    tiny_release: Path, checkpoint: Path, tmp_path: Path
) -> None:
    chosen = kill("step", tmp_path, tiny_release, processes=2)
    assert checkpoints.last_whole(Path(f"{chosen.out}.run")) == f"{chosen.out}.run/checkpoint-8"
    done = torchrun(chosen, tiny_release, tmp_path)
    undisturbed = torchrun(replace(chosen, out=tmp_path / "other"), tiny_release, tmp_path)
    assert weights(done) == weights(undisturbed)
    assert history(done) == history(undisturbed)
    for one, two in zip(history(checkpoint), history(done), strict=True):
        assert two == {"step": one["step"], "loss": pytest.approx(one["loss"], abs=1e-6)}


@pytest.mark.parametrize("change", ["trainer", "dataset"])
def test_what_an_other_run_left_is_not_resumed_from(
    killed: tuple[Settings, Path], tiny: Settings, tmp_path: Path, change: str
) -> None:
    if change == "trainer":
        chosen = with_trainer(tiny, learning_rate=1.0e-3)
    else:
        others = [chat(f"What is {n} and {n}?", f"It is {2 * n}.") for n in range(12)]
        chosen = replace(tiny, dataset=str(write_release(tmp_path / "other", others)))
    run = Path(shutil.copytree(killed[1], f"{chosen.out}.run"))
    before = contents(run)
    with pytest.raises(OutputError, match="holds an unfinished run"):
        sft.train(chosen)
    assert contents(run) == before
    assert not chosen.out.exists()


def test_another_number_of_processes_does_not_go_on_from_there(
    killed: tuple[Settings, Path], tmp_path: Path
) -> None:
    chosen = replace(killed[0], out=tmp_path / "model")
    run = Path(shutil.copytree(killed[1], f"{chosen.out}.run"))
    record = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps({**record, "processes": 8}))
    with pytest.raises(OutputError, match="another number of processes"):
        sft.train(chosen)
