"""Loss on what the assistant says, on nothing else, and a clear word about the rest."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.training.tiny import CHATS, chat, write_release
from training import data, vocabulary
from training.data import IGNORED, Report, Source
from training.vocabulary import PAD, TURN_END, TURN_START
from ultra import release
from ultra.errors import InputError, SettingError
from ultra.schema import Message

QUIET, LOSS = False, True


def spelled(text: str, loss: bool) -> list[tuple[str, bool]]:
    """A text as the byte tokenizer splits it: control tokens whole, the rest by character."""
    return [(token, loss) for token in re.findall(r"<\|im_\w+\|>|.", text, re.DOTALL)]


def supervised_text(messages: list[Message], tokenizer: Any) -> str:
    example = data.encode(messages, tokenizer, 10_000)
    assert not isinstance(example, str)
    return str(tokenizer.decode([label for label in example[1] if label != IGNORED]))


def prompt_ids(messages: list[Message], tokenizer: Any) -> list[int]:
    encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])


def test_labels_of_a_chat_token_by_token(byte_tokenizer: Any) -> None:
    messages = [Message(role="system", content="Be kind."), *chat("Hi", "Hello!", "Bye", "Ciao")]
    example = data.encode(messages, byte_tokenizer, 10_000)
    assert not isinstance(example, str)
    ids, labels, whole = example
    assert whole == len(ids)
    assert all(label in (IGNORED, token) for token, label in zip(ids, labels, strict=True))
    found = [
        (byte_tokenizer.decode([token]), label != IGNORED)
        for token, label in zip(ids, labels, strict=True)
    ]
    assert found == [
        *spelled("<|im_start|>system\nBe kind.<|im_end|>\n", QUIET),
        *spelled("<|im_start|>user\nHi<|im_end|>\n", QUIET),
        *spelled("<|im_start|>assistant\n", QUIET),
        *spelled("Hello!<|im_end|>", LOSS),
        *spelled("\n<|im_start|>user\nBye<|im_end|>\n", QUIET),
        *spelled("<|im_start|>assistant\n", QUIET),
        *spelled("Ciao<|im_end|>", LOSS),
        *spelled("\n", QUIET),
    ]


@given(st.lists(st.text(max_size=30).map(str.strip), min_size=2, max_size=6))
@hypothesis_settings(deadline=None, database=None, max_examples=60)
def test_loss_is_on_every_answer_and_its_end_whatever_the_texts(
    code_tokenizer: Any, contents: list[str]
) -> None:
    answers = "".join(content + TURN_END for content in contents[1::2])
    assert supervised_text(chat(*contents), code_tokenizer) == answers


@pytest.mark.parametrize(
    "answer",
    [
        "Hello",
        "",
        " led by a blank",
        "\n\nled by empty lines",
        "\ttab",
        "👋🏽 wave",
        "漢字",
        pytest.param(
            "    def f(x):",
            marks=pytest.mark.xfail(
                strict=True,
                reason="the header's line break and the answer's indentation become one token, "
                "which generation never sees",
            ),
        ),
    ],
)
def test_the_prompt_of_generation_is_a_token_prefix_of_training(
    code_tokenizer: Any, answer: str
) -> None:
    messages = [Message(role="system", content="Be kind."), *chat("q1", answer, "q2", answer)]
    example = data.encode(messages, code_tokenizer, 10_000)
    assert not isinstance(example, str)
    ids, labels, _ = example
    for turn, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt = prompt_ids(messages[:turn], code_tokenizer)
            assert ids[: len(prompt)] == prompt
            assert labels[len(prompt) - 1] == IGNORED
            assert labels[len(prompt)] != IGNORED


@pytest.mark.parametrize("token", [TURN_START, TURN_END, PAD])
@pytest.mark.parametrize("turn", [0, 1])
def test_a_text_that_spells_a_control_token_is_dropped(
    byte_tokenizer: Any, token: str, turn: int
) -> None:
    messages = chat("question", "answer")
    messages[turn]["content"] += f" and {token}then"
    assert data.encode(messages, byte_tokenizer, 10_000) == "control_token_in_text"


@pytest.mark.parametrize(
    ("messages", "max_length"),
    [
        (chat("only a question"), 10_000),
        ([Message(role="system", content="only rules")], 10_000),
        (chat("ab", "cde"), 21),  # the cut falls just before the answer
    ],
)
def test_a_chat_without_loss_is_dropped(
    byte_tokenizer: Any, messages: list[Message], max_length: int
) -> None:
    assert data.encode(messages, byte_tokenizer, max_length) == "nothing_supervised"


def test_one_token_of_an_answer_is_enough_to_stay(byte_tokenizer: Any) -> None:
    example = data.encode(chat("ab", "cde"), byte_tokenizer, 22)
    assert not isinstance(example, str)
    _, labels, whole = example
    assert [label != IGNORED for label in labels] == [False] * 21 + [True]
    assert whole == 26


def test_the_report_counts_what_was_cut_and_dropped(byte_tokenizer: Any) -> None:
    # user ab: 1+5+2+2 tokens, header of the answer 11, "cde" and its end 4, line break 1: 26
    rows = Dataset.from_dict(
        {
            "messages": [
                chat("ab", "cde"),
                chat("ab", "cdefgh"),
                chat("only a question"),
                chat("ab", f"forged {TURN_END}"),
                chat("ab", f"forged {TURN_START}"),
            ]
        }
    )
    encoded, report = data.tokenise(rows, byte_tokenizer, 26)
    assert report == Report(
        examples=2,
        tokens=26 + 26,
        supervised_tokens=4 + 5,
        truncated=1,
        dropped={"control_token_in_text": 2, "nothing_supervised": 1},
    )
    assert [len(row["input_ids"]) for row in encoded] == [26, 26]
    assert encoded.column_names == ["input_ids", "labels"]


def test_dropped_chats_may_fill_the_first_batch(byte_tokenizer: Any) -> None:
    rows = Dataset.from_dict({"messages": [chat("no answer")] * 1000 + [chat("ab", "cde")]})
    encoded, report = data.tokenise(rows, byte_tokenizer, 100)
    assert len(encoded) == report.examples == 1
    assert report.dropped == {"nothing_supervised": 1000}


def test_nothing_left_is_an_error_that_counts_the_reasons(byte_tokenizer: Any) -> None:
    rows = Dataset.from_dict({"messages": [chat("only a question")] * 3})
    with pytest.raises(InputError, match="'nothing_supervised': 3"):
        data.tokenise(rows, byte_tokenizer, 100)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        pytest.param(
            "{% for m in messages %}{{ m['content'] }}{% endfor %}"
            "{% if add_generation_prompt %}assistant:{% endif %}",
            marks=pytest.mark.xfail(
                strict=True,
                raises=InputError,
                reason="'generation' is also found in add_generation_prompt",
            ),
        ),
    ],
)
def test_a_template_without_generation_marks_is_refused(template: str) -> None:
    tokenizer: Any = SimpleNamespace(chat_template=template or None)
    if template:
        rows = Dataset.from_dict({"messages": [chat("unused", "text")]})
        tokenizer = vocabulary.new_tokenizer(rows, vocabulary.NewModel())
        tokenizer.chat_template = template
    with pytest.raises(SettingError, match="generation"):
        data.tokenise(Dataset.from_dict({"messages": [CHATS[0]]}), tokenizer, 100)


def test_a_release_is_found_by_its_path(tmp_path: Path) -> None:
    path = write_release(tmp_path / "r", CHATS, demo=True)
    digest = release.read_manifest(path)["data_digest"]
    assert data.locate(str(path)) == Source("sharegpt 1.0.0", digest, demo=True)


def damage_a_row(path: Path) -> None:
    file = next(path.rglob("train-*.jsonl"))
    file.write_bytes(file.read_bytes().replace(b"tea", b"TEA", 1))


def lose_a_file(path: Path) -> None:
    next(path.rglob("train-*.jsonl")).unlink()


def add_a_file(path: Path) -> None:
    (path / "data" / "all" / "train-more.jsonl").write_text("{}\n")


def lose_the_manifest(path: Path) -> None:
    (path / "manifest.json").unlink()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damage_a_row, "wrong digest"),
        (lose_a_file, "missing from the release"),
        (add_a_file, "not listed"),
        (lose_the_manifest, "not a complete release"),
    ],
)
def test_a_damaged_release_is_refused(tmp_path: Path, harm: Any, says: str) -> None:
    path = write_release(tmp_path / "r", CHATS)
    harm(path)
    with pytest.raises(InputError, match=says):
        data.locate(str(path))


@pytest.mark.parametrize("name", ["nothing", "./there", "/no/where", "a/b/c", "data/rows.jsonl"])
def test_what_is_neither_release_nor_hub_id_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="neither a release directory nor a Hub dataset"):
        data.locate(name)


@pytest.mark.parametrize(
    "name",
    [
        "org/name",
        "org/name@main",
        pytest.param(
            "org/two words",
            marks=pytest.mark.xfail(strict=True, reason="HFValidationError, a traceback"),
        ),
    ],
)
def test_a_hub_dataset_that_cannot_be_found_is_one_line(name: str) -> None:
    with pytest.raises(InputError) as caught:
        data.locate(name)
    assert str(caught.value).startswith(f"dataset {name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "revision"),
    [
        ("org/name", None),
        ("org/name@main", "main"),
        pytest.param(
            "org/name@v1.0.0",
            "v1.0.0",
            marks=pytest.mark.xfail(
                strict=True,
                raises=InputError,
                reason="the '.0' of the tag is taken for a file's suffix",
            ),
        ),
    ],
)
def test_a_hub_dataset_is_pinned_to_the_commit_of_its_revision(
    monkeypatch: pytest.MonkeyPatch, name: str, revision: str | None
) -> None:
    asked = []

    def dataset_info(self: object, repo: str, revision: str | None) -> SimpleNamespace:
        asked.append((repo, revision))
        return SimpleNamespace(sha="0123abcd", tags=["demo"])

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
    assert data.locate(name) == Source("org/name", "0123abcd", demo=True)
    assert asked == [("org/name", revision)]


def test_rows_come_back_as_they_were_written(tiny_release: Path) -> None:
    rows = data.load(str(tiny_release), data.locate(str(tiny_release)), "", "train")
    assert list(rows["messages"]) == CHATS


def test_a_rebuilt_release_is_not_read_from_a_cache(tmp_path: Path) -> None:
    for answer in ("old", "new"):
        path = write_release(tmp_path / "r", [chat("q", answer)])
        rows = data.load(str(path), data.locate(str(path)), "all", "train")
        assert rows[0]["messages"][1]["content"] == answer
        path.rename(tmp_path / answer)


@pytest.mark.parametrize(("config", "split"), [("", "validation"), ("no-such", "train")])
def test_an_unknown_split_or_configuration_is_refused(
    tiny_release: Path, config: str, split: str
) -> None:
    source = data.locate(str(tiny_release))
    with pytest.raises(InputError, match=config or split) as caught:
        data.load(str(tiny_release), source, config, split)
    assert "\n" not in str(caught.value)


def test_a_dataset_without_messages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "no chat"}) + "\n")
    with pytest.raises(InputError, match=r"no 'messages' column.*'text'"):
        data.load(str(tmp_path), Source("rows", "0", demo=False), "", "train")
