"""Every command as a person meets it: quick help, one clear line for bad input, exit code 2."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datasets_scripts.sharegpt import build as sharegpt
from datasets_scripts.ultrachat import settings as ultrachat
from tests.conftest import ROOT

SHAREGPT = "datasets_scripts.sharegpt.build"
ULTRACHAT = "datasets_scripts.ultrachat.build"
COMMANDS = (
    SHAREGPT,
    ULTRACHAT,
    "training.sft",
    "benchmarks.answer",
    "benchmarks.judge",
    "benchmarks.leaderboard",
    "benchmarks.report",
    "datasets_scripts.ultrachat.openings.make",
)
SMALL_COMMANDS = (
    "datasets_scripts.sharegpt.markdown",
    "datasets_scripts.contamination",
    "datasets_scripts.export",
    "ultra.release",
    "benchmarks.suites",
    "benchmarks.answer_files",
    "benchmarks.publish",
    "benchmarks.score",
    "training.data",
    "training.delta",
    "training.chat",
)
HEAVY = ("torch", "transformers", "datasets", "openai", "pyarrow")


def run(module: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def fails(module: str, *words: object, **environment: str) -> str:
    """Run a command that must fail with exit code 2; returns its one line of error."""
    done = run(module, *words, **environment)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1, done.stderr
    assert done.stderr.splitlines()[-1] == errors[0]
    return errors[0]


@pytest.mark.parametrize("module", COMMANDS + SMALL_COMMANDS)
def test_help_loads_nothing_heavy(module: str) -> None:
    done = _help_with_modules(module)
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
    loaded = set(done.stderr.split())
    assert not loaded & (set(HEAVY) - ({"pyarrow"} if "leaderboard" in module else set()))


def _help_with_modules(module: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module --help`` and list the loaded packages on stderr."""
    code = (
        "import atexit, runpy, sys;"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        f"sys.argv = ['x', '--help']; runpy.run_module({module!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("module", COMMANDS)
def test_an_unknown_key_names_the_nearest_one(module: str, tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("uot: somewhere\n")
    words = ["x"] if "leaderboard" in module else []
    assert "did you mean 'out'?" in fails(module, *words, "--config", config)
    assert "did you mean 'out'?" in fails(module, *words, "--uot", "x")


def test_raw_input_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken.json"
    broken.write_text('[{"id": "a", "conversations": [')
    out = tmp_path / "out"
    assert "no such file or folder" in fails(SHAREGPT, "--raw", tmp_path / "none", "--out", out)
    assert "holds no .html" in fails(SHAREGPT, "--raw", tmp_path / "empty", "--out", out)
    assert not out.exists()
    assert "truncated (breaks off after 0" in fails(SHAREGPT, "--raw", broken, "--out", out)
    assert [path.name for path in out.iterdir()] == [f"sharegpt-{sharegpt.VERSION}.dropped.jsonl"]


def test_a_release_in_the_way_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(SHAREGPT, "--out", out).returncode == 0
    assert "already built" in run(SHAREGPT, "--out", out).stdout
    error = fails(SHAREGPT, "--out", out, "--test-share", "0.5")
    assert "already complete, with other configuration" in error


def test_a_damaged_release_is_not_trained_on(tmp_path: Path) -> None:
    assert run(SHAREGPT, "--out", tmp_path).returncode == 0
    release = tmp_path / f"sharegpt-{sharegpt.VERSION}"
    shard = next(release.glob("data/all/train-*.jsonl"))
    shard.write_bytes(shard.read_bytes().replace(b"pan", b"pot", 1))
    words = ["--config", "tiny-cpu", "--out", tmp_path / "checkpoint"]
    assert "wrong digest" in fails("training.sft", "--dataset", release, *words)
    (release / "manifest.json").unlink()
    assert "not a complete release" in fails("training.sft", "--dataset", release, *words)
    shutil.rmtree(release)
    assert "neither a release" in fails("training.sft", "--dataset", release, *words)
    assert not (tmp_path / "checkpoint").exists()


def test_unknown_names(tmp_path: Path) -> None:
    out = ["--out", tmp_path]
    unknown = fails("training.sft", "--config", "tiny-gpu", "--dataset", "x", *out)
    assert "no recipe of that name (" in unknown
    assert "tiny-cpu" in unknown
    assert "suite startre: unknown" in fails("benchmarks.answer", "--suite", "startre", *out)
    assert "no checkpoint there" in fails("benchmarks.answer", "--model", "./nowhere", *out)
    assert "no answers there" in fails("benchmarks.judge", "--model", "demo", *out)
    assert "no judgments there" in fails("benchmarks.leaderboard", tmp_path, *out)


def test_endpoints_that_cannot_be_used(tmp_path: Path) -> None:
    words = ["--user-model", "m", "--assistant-model", "m", "--out", tmp_path]
    assert "OPENAI_API_KEY" in fails(ULTRACHAT, *words)
    down = fails(ULTRACHAT, *words, "--base-url", "http://127.0.0.1:9/v1")
    assert "model m at http://127.0.0.1:9/v1: cannot be reached (" in down
    secret = fails(ULTRACHAT, *words, "--base-url", "http://anna:secret@127.0.0.1:9/v1")
    assert "OPENAI_API_KEY" in secret
    assert "secret" not in secret
    assert not (tmp_path / f"ultrachat-{ultrachat.VERSION}").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_the_demo_model_is_never_chosen_silently(tmp_path: Path) -> None:
    done = run(ULTRACHAT, "--out", tmp_path)
    assert "the offline demo model is used" in done.stderr
    assert "--user-model" in done.stderr
    done = run("benchmarks.answer", "--out", tmp_path)
    assert "the offline demo model is used" in done.stderr
