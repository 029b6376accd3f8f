"""Contamination: the step, the account of a release, and the command."""

from pathlib import Path
from typing import Any, Literal

import orjson
import pytest

from datasets_scripts import contamination
from datasets_scripts.contamination import Settings, account, check, drop_of, sentence
from datasets_scripts.pipeline import Drop
from datasets_scripts.questions import Overlap, Question, Questions
from ultra import command
from ultra.errors import InputError
from ultra.schema import Conversation, Message

KETTLE = "Which of two kettles on one stove boils first if the smaller one has no lid at all"
SNAIL = "How far would a garden snail travel in a night if nothing stood in its way"
ASKED = Questions(
    "asked.jsonl", "0f", [Question("a", "1", (KETTLE,)), Question("b", "1", (SNAIL,))]
)


def conversation(user: str, assistant: str = "No idea.") -> Conversation:
    messages: list[Message] = [
        {"role": "user", "content": user},
        {"role": "assistant", "content": assistant},
    ]
    return Conversation("x", messages, {})


def drop(one: Conversation, n: Literal[8, 13]) -> Drop | None:
    return drop_of(ASKED.overlaps(one.messages), n)


def test_the_step_drops_at_the_length_it_is_told() -> None:
    eight = conversation("Tell me how far would a garden snail travel in winter")
    whole = conversation("Hello", f"Somebody asked: {SNAIL}!")
    assert drop(eight, 13) is None
    at_8, at_13 = drop(eight, 8), drop(whole, 13)
    assert at_8 == Drop("benchmark_overlap", "b/1: 'how far would a garden snail travel in'")
    assert isinstance(at_13, Drop)
    assert at_13.detail.startswith("b/1: 'how far would a garden snail travel in a night if")
    assert len(at_13.detail) <= 100


def test_a_conversation_of_its_own_words_is_kept_as_it_is() -> None:
    own = conversation("Why do kettles whistle?")
    assert drop(own, 8) is None


def test_the_account_counts_questions_conversations_and_roles() -> None:
    found = [
        [Overlap("a/1", 13, "user", ""), Overlap("a/1", 8, "assistant", "")],
        [Overlap("a/1", 8, "user", ""), Overlap("b/1", 8, "user", "")],
        [],
    ]
    assert account(ASKED, found) == {
        "questions": {"file": "asked.jsonl", "sha256": "0f", "count": 2},
        "conversations": {"8": 2, "13": 1},
        "by_suite": {
            "a": {
                "questions": 1,
                "found": {"8": 1, "13": 1},
                "conversations": {"8": 2, "13": 1},
            },
            "b": {
                "questions": 1,
                "found": {"8": 1, "13": 0},
                "conversations": {"8": 1, "13": 0},
            },
        },
        "by_question": {
            "a/1": {"assistant": {"8": 1}, "user": {"13": 1, "8": 2}},
            "b/1": {"user": {"8": 1}},
        },
    }


def test_the_account_does_not_depend_on_the_order_of_conversations() -> None:
    found = [
        [Overlap("b/1", 13, "user", "")],
        [Overlap("a/1", 8, "assistant", ""), Overlap("a/1", 13, "user", "")],
    ]
    assert orjson.dumps(account(ASKED, found)) == orjson.dumps(account(ASKED, found[::-1]))


def test_a_card_says_what_was_found() -> None:
    told = sentence(account(ASKED, [[Overlap("a/1", 8, "user", "")]]))
    assert told == (
        "checked against 2 questions (asked.jsonl); what stays has 1 in 1 conversations at "
        "8 words, 0 in 0 conversations at 13 words"
    )


def write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    rows = [{"id": "1", "suite": "a", "turns": [KETTLE]}, {"id": "1", "suite": "b", "text": SNAIL}]
    return write(tmp_path / "asked.jsonl", *rows)


def release_of(path: Path, *texts: str) -> Path:
    """A release, as far as its reader looks, with the same rows in another configuration."""
    rows = [{"messages": [{"role": "user", "content": text}]} for text in texts]
    entries = []
    for config in ("all", "chunked"):
        name = f"data/{config}/train-00000-of-00001.jsonl"
        write(path / name, *rows)
        entries.append({"path": name, "bytes": 1, "sha256": ""})
    manifest = {"splits": {"chunked": {}, "all": {}}, "files": entries}
    (path / "manifest.json").write_bytes(orjson.dumps(manifest))
    return path


def test_the_command_reads_releases_and_files_and_shows_the_worst_questions_first(
    tmp_path: Path, asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = release_of(tmp_path / "sharegpt-1.0.0", f"Q: {SNAIL}", "Hello there", SNAIL)
    turns = [{"role": "user", "content": KETTLE}, {"role": "assistant", "content": KETTLE}]
    file = write(tmp_path / "more.jsonl", {"messages": turns})
    out = tmp_path / "report.json"
    found = check(Settings(asked, [release, file], out))
    shown = capsys.readouterr().out.splitlines()
    assert found["conversations"] == {"8": 3, "13": 3}
    assert orjson.loads(out.read_bytes()) == found
    assert [line.split() for line in shown if line.startswith(("a ", "b ", "all "))] == [
        ["a", "1", "1", "1", "1", "1"],
        ["b", "1", "1", "1", "2", "2"],
        ["all", "2", "2", "2", "3", "3"],
    ]
    assert [line.split()[:4] for line in shown if line.startswith(("a/", "b/"))] == [
        ["a/1", "2", "2", "assistant,"],
        ["b/1", "2", "2", "user"],
    ]
    assert shown[-1] == str(out)


def test_the_command_says_little_if_nothing_is_found(
    tmp_path: Path, asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(Settings(asked, [release_of(tmp_path / "release", "Hello there")]))
    assert "it begins" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "row", [{}, {"messages": "x"}, {"messages": [{"role": "user"}]}, {"messages": [1]}]
)
def test_a_row_without_messages_is_named(tmp_path: Path, asked: Path, row: Any) -> None:
    file = write(tmp_path / "rows.jsonl", {"messages": []}, row)
    with pytest.raises(InputError, match=r"rows\.jsonl: row 2 has no 'messages'"):
        check(Settings(asked, [file]))


def test_a_folder_that_is_no_release_is_refused(tmp_path: Path, asked: Path) -> None:
    with pytest.raises(InputError, match="not a complete release"):
        check(Settings(asked, [tmp_path]))


def test_paths_need_no_flag() -> None:
    settings = command.parse(Settings, ["one", "two", "--questions", "asked.jsonl"])
    assert settings == Settings(Path("asked.jsonl"), [Path("one"), Path("two")])
    assert contamination.NOT_CHECKED == "not checked"
