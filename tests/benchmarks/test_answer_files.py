"""The command that takes answers from other tools and gives them ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import published, results
from benchmarks.answer import Settings, answer
from benchmarks.answer_files import Export, Import, export_answers, import_answers
from tests.benchmarks.fakes import files_below, read_rows, write_rows
from tests.conftest import ROOT
from ultra.errors import InputError, OutputError


@pytest.fixture
def benchmarks(golden: Path) -> Path:
    return golden.parent / "benchmarks"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Answers to two of three questions of ``small.jsonl``, in AlpacaEval's form."""
    write_rows(
        tmp_path / "small.jsonl", [{"id": f"q{n}", "turns": [f"Why {n}?"]} for n in range(3)]
    )
    rows = [{"instruction": f"Why {n}?", "output": "So.", "generator": "m"} for n in range(2)]
    return write_rows(tmp_path / "outputs.json", rows)


@pytest.mark.parametrize("name", ["alpaca-13b", "gpt35", "vicuna-13b"])
def test_the_published_answers_to_vicuna_are_taken_whole(
    golden: Path, benchmarks: Path, tmp_path: Path, name: str
) -> None:
    file = golden / f"vicuna/answer/answer_{name}.jsonl"
    path = import_answers(Import(file, "vicuna_80", benchmarks_dir=benchmarks, out=tmp_path))
    answers = results.read_answers(path)
    theirs = {str(row["question_id"]): row for row in read_rows(file)}
    assert len(answers) == 80
    assert {id: row["turns"] for id, row in answers.items()} == {
        id: [row["text"]] for id, row in theirs.items()
    }
    again = tmp_path / "again.jsonl"
    export_answers(Export(path, "vicuna_80", "vicuna", benchmarks_dir=benchmarks, out=again))
    assert {str(row["question_id"]): row["text"] for row in read_rows(again)} == {
        id: row["text"] for id, row in theirs.items()
    }


def test_the_reference_of_alpaca_eval_is_taken_whole_and_given_back(
    benchmarks: Path, tmp_path: Path
) -> None:
    file = benchmarks / "alpaca_eval/alpaca_eval_text_davinci_003_baseline.json"
    path = import_answers(Import(file, "alpaca_eval", benchmarks_dir=benchmarks, out=tmp_path))
    assert len(results.read_answers(path)) == 805
    assert path == tmp_path / "alpaca_eval/text_davinci_003/answers.jsonl"
    out = tmp_path / "model_outputs.json"
    export_answers(Export(path, "alpaca_eval", benchmarks_dir=benchmarks, out=out))
    assert published.rows(out) == json.loads(file.read_text(encoding="utf-8"))


def test_taking_the_same_again_changes_nothing_and_others_are_not_overwritten(
    outputs: Path, tmp_path: Path
) -> None:
    suite, out = str(tmp_path / "small.jsonl"), tmp_path / "results"
    settings = Import(outputs, suite, allow_missing=True, out=out)
    path = import_answers(settings)
    before = path.read_bytes()
    assert import_answers(settings).read_bytes() == before
    other = write_rows(
        tmp_path / "o.json", [{**row, "output": "No."} for row in read_rows(outputs)]
    )
    with pytest.raises(OutputError, match="other answers of this model are there"):
        import_answers(Import(other, suite, allow_missing=True, out=out))
    assert path.read_bytes() == before
    named = import_answers(Import(other, suite, name="../n", allow_missing=True, out=out))
    assert named.parent.parent == path.parent.parent
    assert {row["model"] for row in read_rows(named)} == {"../n"}


def test_a_model_of_the_same_name_does_not_overwrite_imported_answers(
    outputs: Path, tmp_path: Path
) -> None:
    suite, out = str(tmp_path / "small.jsonl"), tmp_path / "results"
    path = import_answers(Import(outputs, suite, name="demo", allow_missing=True, out=out))
    before = path.read_bytes()
    with pytest.raises(OutputError, match="holds imported answers; choose another --out"):
        answer(Settings(model="demo", suite=suite, out=out))
    assert path.read_bytes() == before


def test_a_refused_file_leaves_nothing(outputs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 question of 3 without an answer, the first is 'q2'"):
        import_answers(Import(outputs, str(tmp_path / "small.jsonl"), out=tmp_path / "results"))
    assert files_below(tmp_path) == ["outputs.json", "small.jsonl"]


def test_unanswered_questions_are_left_out_on_request_only(tmp_path: Path, outputs: Path) -> None:
    rows = [
        {"id": "q0", "model": "m", "turns": ["So."]},
        {"id": "q1", "model": "m", "turns": [], "error": "no"},
    ]
    answers, suite = write_rows(tmp_path / "answers.jsonl", rows), str(tmp_path / "small.jsonl")
    out = tmp_path / "out.json"
    with pytest.raises(InputError, match=r"2 of 3 questions have no answer; .* --allow-missing"):
        export_answers(Export(answers, suite, out=out))
    assert not out.exists()
    export_answers(Export(answers, suite, allow_missing=True, out=out))
    assert [row["instruction"] for row in json.loads(out.read_text())] == ["Why 0?"]


def test_the_command_ends_in_one_line(tmp_path: Path, outputs: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.answer_files", *map(str, words)],
            cwd=ROOT,
            env=os.environ,
            capture_output=True,
            text=True,
        )

    suite, out = tmp_path / "small.jsonl", tmp_path / "results"
    done = run("import", outputs, "--suite", suite, "--allow-missing", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 of 3 questions answered: ")
    failed = run("import", outputs, "--suite", suite, "--out", out)
    assert failed.returncode == 2
    assert len(failed.stderr.splitlines()) == 1
    assert "import" in run("--help").stdout
