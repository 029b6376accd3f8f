"""Examples are made once, whole or not at all, and the report accounts for every conversation."""

import copy
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from tests.training.tiny import chat
from training import sources, tokenised
from training.encoding import Encoder
from training.sources import Part
from training.tokenised import Report, Shape
from training.vocabulary import TURN_END, TURN_START
from ultra import jsonl
from ultra.errors import InputError, SettingError

# A round of the byte tokenizer has 21 tokens and a byte of each letter; its loss, the answer's + 1.
ROWS = [{"messages": chat(f"q{n}", f"a{n}")} for n in range(7)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what is made lies."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "ultra-tokenised"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    jsonl.write(tmp_path / "rows.jsonl", ROWS)
    return tmp_path / "rows.jsonl"


def tokenise(
    path: Path, tokenizer: Any, shape: Shape | None = None, seed: int = 0, **part: Any
) -> tuple[Any, Report]:
    one = Part(str(path), **part)
    located = [(one, sources.locate(str(path)))]
    return tokenised.tokenise(located, tokenizer, shape or Shape(100), seed)


def texts(examples: Any, tokenizer: Any) -> list[str]:
    """What has a loss in each example."""
    rows = examples.with_format("numpy")
    return [tokenizer.decode(row["input_ids"][row["weights"] > 0]) for row in rows]


def test_the_report_counts_what_was_cut_and_dropped(tmp_path: Path, byte_tokenizer: Any) -> None:
    conversations = [
        chat("ab", "cde"),  # 26 tokens, the last of them a line break
        chat("ab", "cdefgh"),
        chat("only a question"),
        chat("ab", TURN_END),  # spelled out, 10 tokens
        None,
        [{"role": "assistant", "content": None}],
    ]
    jsonl.write(tmp_path / "a.jsonl", [{"messages": one} for one in conversations])
    examples, report = tokenise(tmp_path / "a.jsonl", byte_tokenizer, Shape(26, "truncate"))
    assert report == Report(
        conversations=6,
        examples=3,
        tokens=26 + 26 + 26,
        supervised_tokens=4 + 5 + 5,
        truncated=2,
        longest=26,
        dropped={"no_conversation": 2, "nothing_supervised": 1},
    )
    assert list(report.dropped) == sorted(report.dropped)
    assert report.line() == (
        "3 examples of 6 conversations, 78 tokens, 18% with loss, longest 26; "
        "0 split, 2 cut, dropped: no_conversation 2, nothing_supervised 1"
    )
    assert examples.column_names == ["input_ids", "weights"]
    assert [(len(row["input_ids"]), len(row["weights"])) for row in examples] == [(26, 26)] * 3
    assert texts(examples, byte_tokenizer) == [f"cde{TURN_END}", "cdefg", "<|im_"]


def test_a_split_chat_is_several_examples(tmp_path: Path, byte_tokenizer: Any) -> None:
    jsonl.write(tmp_path / "a.jsonl", [{"messages": chat("a", "b", "c", "d", "e", "f")}])
    examples, report = tokenise(tmp_path / "a.jsonl", byte_tokenizer, Shape(46, "split"))
    assert report == Report(1, 2, 69, 6, split=1, longest=46)
    assert texts(examples, byte_tokenizer) == [f"b{TURN_END}d{TURN_END}", f"f{TURN_END}"]
    _, report = tokenise(tmp_path / "a.jsonl", byte_tokenizer, Shape(46, "split", carry=1))
    assert report == Report(1, 2, 92, 6, split=1, longest=46)
    with pytest.raises(InputError, match="dropped: too_long 1"):
        tokenise(tmp_path / "a.jsonl", byte_tokenizer, Shape(46, "drop"))


def test_nothing_left_is_an_error_that_counts_the_reasons(
    tmp_path: Path, byte_tokenizer: Any
) -> None:
    rows = [{"messages": one} for one in (None, chat("only a question"), None)]
    jsonl.write(tmp_path / "a.jsonl", rows)
    for _ in ("made", "found"):
        with pytest.raises(InputError, match="dropped: no_conversation 2, nothing_supervised 1"):
            tokenise(tmp_path / "a.jsonl", byte_tokenizer)


def test_dropped_chats_may_fill_the_first_batch(
    tmp_path: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenised, "_BATCH", 3)
    rows = [{"messages": chat("no answer")}] * 6 + [{"messages": chat("a", "b")}]
    jsonl.write(tmp_path / "a.jsonl", rows)
    examples, report = tokenise(tmp_path / "a.jsonl", byte_tokenizer)
    assert len(examples) == report.examples == 1
    assert report.dropped == {"nothing_supervised": 6}


@pytest.mark.parametrize(("weight", "weighted"), [(None, False), (0, False), (1, False), (2, True)])
def test_other_weights_than_0_and_1_are_noticed(
    tmp_path: Path, byte_tokenizer: Any, weight: int | None, weighted: bool
) -> None:
    messages = chat("q", "a", "r", "b")
    rows = [{"messages": [*messages[:1], {**messages[1], "weight": weight}, *messages[2:]]}]
    jsonl.write(tmp_path / "a.jsonl", rows)
    examples, report = tokenise(tmp_path / "a.jsonl", byte_tokenizer)
    assert report.weighted is weighted
    first = weight if weight is not None else 1
    assert sum(examples[0]["weights"]) == 2 * first + 2
    assert report.supervised_tokens == (4 if first else 2)


def test_each_example_counts_its_weight_whatever_its_length_if_asked_for(
    tmp_path: Path, byte_tokenizer: Any
) -> None:
    rows = [{"messages": chat("q", "a" * n), "weight": 0.5 + n} for n in range(1, 60, 7)]
    jsonl.write(tmp_path / "a.jsonl", rows)
    examples, report = tokenise(tmp_path / "a.jsonl", byte_tokenizer, Shape(loss="sequence"))
    for given, row in zip(rows, examples.with_format("numpy"), strict=True):
        assert row["weights"][1:].sum() == pytest.approx(given["weight"], rel=1e-6)
        assert len({*row["weights"].tolist()}) == 2
    assert report.weighted


def test_parts_follow_one_another_each_as_often_as_its_weight(
    tmp_path: Path, data: Path, byte_tokenizer: Any
) -> None:
    jsonl.write(tmp_path / "more.jsonl", [{"conversations": [{"from": "gpt", "value": "more"}]}])
    parts = [Part(str(data)), Part(str(tmp_path / "more.jsonl"), 2.0)]
    located = [(part, sources.locate(part.dataset)) for part in parts]
    examples, _ = tokenised.tokenise(located, byte_tokenizer, Shape(100))
    answers = [f"a{n}" for n in range(7)] + ["more"] * 2
    assert texts(examples, byte_tokenizer) == [f"{one}{TURN_END}" for one in answers]


def test_what_was_made_is_found_without_looking_at_the_data(
    data: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, report = tokenise(data, byte_tokenizer)
    for owner, name in ((Encoder, "encode"), (sources, "load"), (tokenised, "fitted")):
        monkeypatch.setattr(owner, name, None)
    again, found = tokenise(data, byte_tokenizer)
    assert found == report
    assert again.to_dict() == first.to_dict()


def another_template(tokenizer: Any) -> None:
    tokenizer.chat_template += "{{ 'x' }}"


def another_token(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"bos_token": TURN_START})


def another_vocabulary(tokenizer: Any) -> None:
    tokenizer.add_tokens(["tea"])


@pytest.mark.parametrize("change", [another_template, another_token, another_vocabulary])
def test_another_tokenizer_makes_its_own_examples(
    data: Path, cache: Path, byte_tokenizer: Any, change: Callable[[Any], None]
) -> None:
    tokenise(data, byte_tokenizer)
    changed = copy.deepcopy(byte_tokenizer)
    change(changed)
    tokenise(data, changed)
    assert len(list(cache.iterdir())) == 2


def test_other_settings_and_other_data_make_their_own_examples(
    data: Path, cache: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = [Shape(99), Shape(100, "drop"), Shape(100, carry=1), Shape(100, loss="sequence")]
    others: list[dict[str, Any]] = [{"shape": shape} for shape in shapes]
    others += [{"seed": 1}, {"weight": 0.5}, {"split": "train[:3]"}]
    for number, other in enumerate([{}, *others], 1):
        for _ in ("made", "found"):
            tokenise(data, byte_tokenizer, **other)
            assert len(list(cache.iterdir())) == number
    jsonl.write(data, ROWS[:2])
    examples, _ = tokenise(data, byte_tokenizer)
    assert len(examples) == 2
    monkeypatch.setattr(tokenised, "VERSION", tokenised.VERSION + 1)
    tokenise(data, byte_tokenizer)
    assert len(list(cache.iterdir())) == len(others) + 3


def test_what_a_killed_run_left_is_never_used_and_swept_up(
    data: Path, cache: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tokenised.fitted
    with monkeypatch.context() as patch:
        patch.setattr(tokenised, "_BATCH", 3)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a killed process tidies nothing

        def killed(rows: list[Any], *rest: Any) -> Any:
            if rows[0]["messages"][0]["content"] == "q6":
                raise KeyboardInterrupt
            return made(rows, *rest)

        patch.setattr(tokenised, "fitted", killed)
        with pytest.raises(KeyboardInterrupt):
            tokenise(data, byte_tokenizer)
    (left,) = cache.iterdir()
    assert left.suffix == ".partial"
    assert (left / "examples.arrow").stat().st_size
    examples, report = tokenise(data, byte_tokenizer)
    assert len(examples) == report.examples == 7
    (found,) = cache.iterdir()
    assert found != left


def test_an_error_leaves_nothing(
    data: Path, cache: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenised, "fitted", None)
    with pytest.raises(TypeError):
        tokenise(data, byte_tokenizer)
    assert not list(cache.iterdir())


def test_of_two_that_make_the_same_at_once_both_have_it(
    data: Path, cache: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tokenised.fitted
    inner: list[Any] = []

    def interrupted(*arguments: Any) -> Any:
        if not inner:
            inner.append(None)
            inner[0] = tokenise(data, byte_tokenizer)  # from its beginning to its end
            assert len(list(cache.iterdir())) == 2  # ours was not swept up
        return made(*arguments)

    monkeypatch.setattr(tokenised, "fitted", interrupted)
    examples, report = tokenise(data, byte_tokenizer)
    assert examples.to_dict() == inner[0][0].to_dict()
    assert report == inner[0][1]
    assert len(list(cache.iterdir())) == 1


def test_examples_do_not_depend_on_how_many_are_encoded_at_once(
    data: Path, byte_tokenizer: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for size in (1, 3, 500):
        monkeypatch.setattr(tokenised, "_BATCH", size)
        examples, report = tokenise(data, byte_tokenizer)
        found.append((examples.to_dict(), report))
        shutil.rmtree(cache)
    assert found[0] == found[1] == found[2]
    assert np.shape(found[0][0]["input_ids"]) == (7, 25)


def test_no_more_than_two_batches_are_in_memory(
    data: Path, byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tokenised.fitted
    seen: list[weakref.ref[Any]] = []
    living: list[int] = []

    def watched(*arguments: Any) -> Any:
        living.append(sum(one() is not None for one in seen))
        one = made(*arguments)
        seen.append(weakref.ref(one))
        return one

    monkeypatch.setattr(tokenised, "fitted", watched)
    monkeypatch.setattr(tokenised, "_BATCH", 1)
    tokenise(data, byte_tokenizer)
    assert len(living) == 7
    assert max(living) <= 1  # the one that was just written


def test_a_template_without_marks_is_refused_before_data_is_looked_at(
    byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    monkeypatch.setattr(byte_tokenizer, "chat_template", bare)
    with pytest.raises(SettingError, match="generation"):
        tokenised.tokenise([], byte_tokenizer, Shape())


@pytest.mark.parametrize(
    ("wrong", "says"), [({"max_length": 1}, "max_length: 1"), ({"carry": -1}, "carry: -1")]
)
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, int], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        Shape(**wrong)  # type: ignore[arg-type]
