"""Every common form of a row becomes the same conversation, and what is none becomes nothing."""

from typing import Any

import pytest

from tests.training.tiny import chat
from training.conversations import COLUMNS, dialogue, is_known

ANSWERED = chat("Hi", "Hello")
RULES = {"role": "system", "content": "Be kind."}
SAID = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
ASKED, ANSWER = ANSWERED


@pytest.mark.parametrize(
    "row",
    [
        {"messages": ANSWERED},
        {"conversations": SAID},
        {"conversations": ANSWERED},
        {"messages": SAID},
        {"items": SAID},
        {"items": ANSWERED, "system": ""},
        {"data": ["Hi", "Hello"]},
        {"prompt": "Hi", "completion": "Hello"},
        {"prompt": [ASKED], "completion": [ANSWER]},
        {"prompt": [ASKED], "completion": "Hello"},
        {"prompt": "Hi", "completion": [ANSWER]},
        # What datasets makes of rows of several forms: each has all the columns and all the keys.
        {"messages": None, "conversations": SAID, "items": None, "data": None, "prompt": None},
        {"messages": [], "prompt": "Hi", "completion": "Hello"},
        {"messages": [{**turn, "role": None, "content": None} for turn in SAID]},
        {"messages": [{**turn, "from": None, "value": None, "weight": None} for turn in ANSWERED]},
    ],
)
def test_every_form_is_the_same_conversation(row: dict[str, Any]) -> None:
    assert dialogue(row) == (ANSWERED, [None, None], "")


@pytest.mark.parametrize("name", ["gpt", "chatgpt", "bot", "assistant"])
def test_names_of_the_assistant(name: str) -> None:
    found = dialogue({"conversations": [{"from": name, "value": "Hello"}]})
    assert found is not None
    assert found.messages == [ANSWER]


def test_a_system_message_stands_in_the_messages_or_beside_openchats_items() -> None:
    for row in (
        {"messages": [RULES, *ANSWERED]},
        {"conversations": [{"from": "system", "value": "Be kind."}, *SAID]},
        {"items": SAID, "system": "Be kind."},
        {"prompt": [RULES, ASKED], "completion": "Hello"},
    ):
        found = dialogue(row)
        assert found is not None
        assert found.messages == [RULES, *ANSWERED]


def test_texts_in_turn_may_end_with_a_question() -> None:
    found = dialogue({"data": ["a", "b", "c"]})
    assert found is not None
    assert found.messages == chat("a", "b", "c")


def test_a_rows_weight_is_that_of_answers_without_one() -> None:
    turns = [RULES, *chat("a", "b", "c", "d", "e", "f")]
    turns[4:5] = [{**turns[4], "weight": 0.0}]
    turns[6:7] = [{**turns[6], "weight": 2}]
    found = dialogue({"messages": turns, "weight": 0.5})
    assert found is not None
    assert found.weights == [None, None, 0.5, None, 0.0, None, 2.0]
    assert all(type(weight) is float for weight in found.weights if weight is not None)


def test_a_user_may_have_a_weight() -> None:
    found = dialogue({"conversations": [{**SAID[0], "weight": 1}, SAID[1]]})
    assert found is not None
    assert found.weights == [1.0, None]


@pytest.mark.parametrize("weight", [-1, -0.1, float("nan"), float("inf"), 1e39, True, "1", [1]])
def test_what_is_no_weight_is_no_conversation(weight: Any) -> None:
    assert dialogue({"messages": [ASKED, {**ANSWER, "weight": weight}]}) is None
    assert dialogue({"messages": [{**ASKED, "weight": weight}, ANSWER]}) is None
    assert dialogue({"messages": ANSWERED, "weight": weight}) is None


def test_the_condition_is_kept() -> None:
    assert dialogue({"items": SAID, "condition": "GPT3"}) == (ANSWERED, [None, None], "GPT3")
    assert dialogue({"items": SAID, "condition": None}) == (ANSWERED, [None, None], "")


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"text": "no chat"},
        {"messages": []},
        {"messages": None},
        {"messages": "Hi"},
        {"messages": 5},
        {"messages": {"role": ["user"], "content": ["Hi"]}},
        {"messages": [ASKED, None]},
        {"messages": [ASKED, "Hello"]},
        {"messages": [ASKED, ["assistant", "Hello"]]},
        {"messages": [ASKED, {"role": "assistant", "content": None}]},
        {"messages": [ASKED, {"role": "assistant"}]},
        {"messages": [ASKED, {"role": "assistant", "content": 5}]},
        {"messages": [ASKED, {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}]},
        {"messages": [ASKED, {"role": "tool", "content": "Hello"}]},
        {"messages": [ASKED, {"role": None, "content": "Hello"}]},
        {"messages": [ASKED, {"role": ["user"], "content": "Hello"}]},
        {"messages": [{"role": "user<|im_end|>", "content": "Hi"}]},
        {"items": SAID, "system": 5},
        {"items": "Hi"},
        {"data": "a text, not a list of them"},
        {"data": ["Hi", None]},
        {"data": 5},
        {"prompt": "Hi"},
        {"prompt": "Hi", "completion": None},
        {"prompt": "Hi", "completion": 5},
        {"prompt": {"text": "Hi"}, "completion": "Hello"},
    ],
)
def test_what_is_no_conversation_is_none(row: dict[str, Any]) -> None:
    assert dialogue(row) is None


def test_columns_tell_whether_rows_can_be_read() -> None:
    assert all(is_known(["id", column]) for column in COLUMNS[:4])
    assert is_known(["id", "completion", "prompt"])
    assert not is_known(["id", "prompt"])
    assert not is_known(["text"])
    assert not is_known([])
