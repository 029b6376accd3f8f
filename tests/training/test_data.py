"""``python -m training.data``: what a model would be trained on, shown, counted, exported."""

import copy
import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.test_commands import fails, run
from tests.training.tiny import chat
from training import data
from ultra import command, jsonl
from ultra.errors import InputError, OutputError, SettingError

LACKS = r"<\|end_of_turn\|>.*set tokens\.end_of_turn"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizers") / "bytes"
    byte_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two conversations of 25 tokens, 3 of them with loss, and a row that has none."""
    path = tmp_path / "rows.jsonl"
    lines: list[dict[str, Any]] = [{"messages": chat("Hi", "Yo")}]
    lines += [{"messages": chat("Hi", "No"), "weight": 0.5}, {"messages": None}]
    jsonl.write(path, lines)
    return path


def done(*words: object) -> None:
    data.run(command.parse(data.Settings, [*map(str, words)]))


def test_an_example_is_shown_token_by_token(
    tokenizer: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done("--tokenizer", tokenizer, "--dataset", rows, "--show", 1, "--micro-batches", 2)
    assert capsys.readouterr().out.splitlines() == [
        "2 examples of 3 conversations, 50 tokens, 12% with loss, longest 25; "
        "0 split, 0 cut, dropped: no_conversation 1",
        "in steps of 128 dialogues and 2 micro-batches: packed, 0.0% lost to uneven ones; "
        "grouped, 0.0% lost to padding",
        "",
        "example 0: 25 tokens",
        "position      id  weight  token",
        '       0       1       0  "<|im_start|>"',
        '       1      87       0  "u"',
        '       2      85       0  "s"',
        '       3      71       0  "e"',
        '       4      84       0  "r"',
        '       5     201       0  "\\n"',
        '       6      42       0  "H"',
        '       7      75       0  "i"',
        '       8       2       0  "<|im_end|>"',
        '       9     201       0  "\\n"',
        '      10       1       0  "<|im_start|>"',
        '      11      67       0  "a"',
        '      12      85       0  "s"',
        '      13      85       0  "s"',
        '      14      75       0  "i"',
        '      15      85       0  "s"',
        '      16      86       0  "t"',
        '      17      67       0  "a"',
        '      18      80       0  "n"',
        '      19      86       0  "t"',
        '      20     201       0  "\\n"',
        '      21      59       1  "Y"',
        '      22      81       1  "o"',
        '      23       2       1  "<|im_end|>"',
        '      24     201       0  "\\n"',
    ]


def test_weights_are_shown_and_no_more_examples_than_there_are(
    tokenizer: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done("--tokenizer", tokenizer, "--dataset", rows, "--show", 9)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("example")] == [
        "example 0: 25 tokens",
        "example 1: 25 tokens",
    ]
    assert lines[-4:-1] == [
        '      21      48     0.5  "N"',
        '      22      81     0.5  "o"',
        '      23       2     0.5  "<|im_end|>"',
    ]


def test_a_hostile_text_stays_on_its_lines(
    byte_tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = copy.deepcopy(byte_tokenizer)
    hostile.add_tokens(["\u202e", "\u2028", "\x1b[31m", "\x7f", "\x9b"])
    hostile.save_pretrained(tmp_path / "hostile")
    text = "\x1b[31m\u202e\u2028\x7f\x9b\r\n\x1b\0"
    jsonl.write(tmp_path / "a.jsonl", [{"messages": chat(text, text)}])
    done("--tokenizer", tmp_path / "hostile", "--dataset", tmp_path / "a.jsonl", "--show", 1)
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    head, shown = out[: out.index("token\n")], out[out.index("token\n") + 6 :]
    assert f"example 0: {len(shown.splitlines())} tokens" in head
    tokens = [line.split("  ")[-1] for line in shown.splitlines()]
    escaped = ["\\u001b[31m", "\\u202e", "\\u2028", "\\x7f", "\\x9b", "\\r", "\\n", "\\u001b"]
    assert tokens[6:15] == [f'"{one}"' for one in [*escaped, "\\u0000"]]


def test_the_report_is_one_json_object_and_all_that_stdout_has(
    tokenizer: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--tokenizer", tokenizer, "--dataset", rows, "--json", "--show", 1, "--overflow"]
    words += ["truncate", "--max-length", 23, "--export-tokenised", tmp_path / "out"]
    ran = run("training.data", *words, HF_DATASETS_CACHE=str(tmp_path / "cache"))
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "conversations": 3,
        "examples": 2,
        "tokens": 46,
        "supervised_tokens": 4,
        "truncated": 2,
        "split": 0,
        "longest": 23,
        "weighted": True,
        "dropped": {"no_conversation": 1},
        "batches": {"packed": 1.0, "grouped": 1.0},
    }
    assert ran.stdout.count("\n") == 1
    assert '      22      81       1  "o"' in ran.stderr
    assert str(tmp_path / "out" / "own.train.parquet") in ran.stderr


def test_batches_are_counted_as_training_makes_them(
    tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # 30, 25, 25 and 25 tokens: packed 55 + 50, grouped 2 * 30 + 2 * 25.
    chats = [chat("Hi", "Hello!!"), *[chat("Hi", "Yo")] * 3]
    jsonl.write(tmp_path / "a.jsonl", [{"messages": one} for one in chats])
    words = ["--dataset", tmp_path / "a.jsonl", "--step", 4, "--micro-batches", 2]
    done("--tokenizer", tokenizer, *words, "--json")
    batches = json.loads(capsys.readouterr().out)["batches"]
    assert batches == {"packed": 105 / (2 * 55), "grouped": 105 / 110}


def test_examples_are_exported_under_the_name_of_the_template(
    tokenizer: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--tokenizer", tokenizer, "--dataset", rows, "--export-tokenised", tmp_path / "out"]
    words += ["--template", "openchat_code", "--tokens.end-of-turn", "<|end_of_turn|>"]
    done(*words)
    names = [f"openchat_code.train.{ending}" for ending in ("json", "text.json", "parquet")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert capsys.readouterr().out.splitlines()[-3:] == [
        str(tmp_path / "out" / name) for name in names
    ]
    assert json.loads((tmp_path / "out" / names[1]).read_text()) == [
        f"User:Hi<|end_of_turn|>Assistant:{answer}<|end_of_turn|>" for answer in ("Yo", "No")
    ]
    with pytest.raises(OutputError, match="is there already"):
        done(*words)


def test_several_datasets_are_mixed(
    tokenizer: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text(f"mix:\n- {{dataset: {rows}, weight: 2}}\n- dataset: {rows}\n")
    done("--tokenizer", tokenizer, "--config", config)
    assert capsys.readouterr().out.startswith("6 examples of 9 conversations, ")


def test_tokens_that_a_template_writes_are_named_by_flags(
    tokenizer: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--tokenizer", tokenizer, "--dataset", rows, "--template", "llama3"]
    with pytest.raises(SettingError, match=LACKS.replace("end_of_turn\\|", "eot_id\\|", 1)):
        done(*words)
    words += ["--tokens.end-of-turn", "<|eot_id|>"]
    with pytest.raises(SettingError, match=r"<\|end_header_id\|>, <\|start_.*tokens\.extra"):
        done(*words)
    done(*words, "--tokens.extra", '["<|start_header_id|>", "<|end_header_id|>"]')
    assert capsys.readouterr().out.startswith("2 examples")


def test_a_template_without_marks_or_tokens_is_refused(
    tokenizer: Path, rows: Path, tmp_path: Path
) -> None:
    words = ["--tokenizer", tokenizer, "--dataset", rows, "--template"]
    bare = tmp_path / "bare.jinja"
    bare.write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    with pytest.raises(SettingError, match=r"no \{% generation %\} marks"):
        done(*words, bare)
    with pytest.raises(SettingError, match=LACKS):
        done(*words, "openchat")
    with pytest.raises(SettingError, match=r"template cahtml: .*chatml"):
        done(*words, "cahtml")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "dataset: name a release directory"),
        (["--dataset", "x", "--micro-batches", "0"], "micro_batches: 0"),
        (["--dataset", "x", "--step", "8"], "micro_batches: 16 is not from 1 to step"),
        (["--dataset", "x", "--carry", "-1"], "carry: -1"),
        (["--dataset", "x", "--max-length", "1"], "max_length: 1"),
        (["--dataset", "x", "--overflow", "wrap"], "overflow"),
    ],
)
def test_settings_that_cannot_be_are_refused(words: list[str], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        command.parse(data.Settings, ["--tokenizer", "t", *words])


def test_a_tokenizer_that_is_not_there_is_refused(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}/none"):
        done("--tokenizer", tmp_path / "none", "--dataset", rows)


def test_an_error_is_one_line(tokenizer: Path) -> None:
    words = ["training.data", "--tokenizer", tokenizer, "--dataset"]
    assert "overflow" in fails(*map(str, words), "x", "--overflow", "wrap")
    missing = fails(*map(str, words), "./no/where")
    assert "no/where: not there, as it is neither a release directory nor" in missing
