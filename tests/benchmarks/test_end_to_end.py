"""The three commands one after the other, as a person runs them, with the demo model."""

import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.benchmarks.fakes import files_below, read_rows


def run(command: str, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", f"benchmarks.{command}", *words]
    return subprocess.run(line, capture_output=True, text=True)


def evaluate(out: Path) -> list[subprocess.CompletedProcess[str]]:
    place = ["--out", str(out)]
    return [
        run("answer", "--model", "demo", *place),
        run("judge", "--model", "demo", "--judge", "demo", *place),
        run("leaderboard", str(out), *place),
    ]


def test_demo_is_answered_judged_and_ranked_twice_alike(tmp_path: Path) -> None:
    first = evaluate(tmp_path)
    assert [done.returncode for done in first] == [0, 0, 0]
    (judged,) = (tmp_path / "starter" / "demo").glob("judged-by-demo-????????????.jsonl")
    assert files_below(tmp_path) == [
        "leaderboard.csv",
        "leaderboard.html",
        "leaderboard.json",
        "leaderboard.md",
        "starter/demo/answers.jsonl",
        f"starter/demo/{judged.name}",
        f"starter/demo/protocol-{judged.stem[-12:]}.json",
        "starter/demo/run/answers-demo/journal.jsonl",
        "starter/demo/run/answers-demo/runs.jsonl",
        "starter/demo/run/judgments-demo/journal.jsonl",
        "starter/demo/run/judgments-demo/runs.jsonl",
    ]
    judgments = read_rows(judged)
    assert len(judgments) == 54
    assert "unscored" not in {row["verdict"] for row in judgments}
    (line,) = pd.read_csv(tmp_path / "leaderboard.csv").to_dict("records")
    assert (line["model"], line["judge"], line["baseline"]) == ("demo", "demo", "starter-baseline")
    assert (line["n"], line["unscored"], line["flip_rate"]) == (27, 0, 0)
    assert line["wins"] + line["ties"] + line["losses"] == 27
    table = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "no measure of anything" in table
    assert table in first[2].stdout

    made = {name: (tmp_path / name).read_bytes() for name in files_below(tmp_path)}
    again = evaluate(tmp_path)
    assert "0 calls made, 27 more were in" in again[0].stdout
    assert "0 calls made, 54 more were in" in again[1].stdout
    assert {name: (tmp_path / name).read_bytes() for name in made} == made


def test_a_demo_judge_is_never_used_silently(tmp_path: Path) -> None:
    run("answer", "--model", "demo", "--out", str(tmp_path))
    done = run("judge", "--model", "demo", "--out", str(tmp_path))
    assert "judge: no model is set, so the offline demo model is used" in done.stderr
    assert "--judge" in done.stderr
