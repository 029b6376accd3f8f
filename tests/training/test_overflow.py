"""Nothing that fits is lost of a conversation that does not, and what is lost is counted."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.training.tiny import chat
from training.conversations import Dialogue
from training.encoding import Encoder, Example
from training.overflow import Fitted, Overflow, fit, rounds
from ultra.schema import Message

RULES = Message(role="system", content="rules")  # 18 tokens of a byte each
# A user's message of n letters is 8 + n tokens, the assistant's 13 + n, the last without loss.


def plain(messages: list[Message]) -> Dialogue:
    return Dialogue(messages, [None] * len(messages))


def long_chat(count: int) -> list[Message]:
    """Rounds of 25 tokens, each with an answer of its own."""
    return chat(*(f"{side}{n}" for n in range(count) for side in "qa"))


def texts(fitted: Fitted, tokenizer: Any) -> list[tuple[str, str]]:
    """Each example, and what of it has a loss."""
    return [
        (tokenizer.decode(ids), tokenizer.decode(ids[weights > 0]))
        for ids, weights in fitted.examples
    ]


def counts(fitted: Fitted) -> tuple[int, int, int, dict[str, int]]:
    return len(fitted.examples), fitted.split, fitted.truncated, fitted.dropped


@pytest.mark.parametrize("overflow", ["split", "truncate", "drop"])
def test_what_fits_stays_as_it_is(byte_tokenizer: Any, overflow: Overflow) -> None:
    dialogues = [plain(chat("ab", "cde")), plain([*chat("ab", "c"), *chat("d")])]
    encoder = Encoder(byte_tokenizer)
    fitted = fit(dialogues, encoder, 33, overflow)
    for example, whole in zip(fitted.examples, encoder.encode(dialogues), strict=True):
        assert not isinstance(whole, str)
        assert [one.tolist() for one in example] == [one.tolist() for one in whole]
    assert counts(fitted) == (2, 0, 0, {})


# FastChat's split_long_conversation.py loses the last round of such lengths.
@pytest.mark.parametrize(("max_length", "lengths"), [(100, [100]), (99, [50, 50]), (50, [50, 50])])
def test_the_last_round_is_kept(byte_tokenizer: Any, max_length: int, lengths: list[int]) -> None:
    messages = chat("a" * 2, "b" * 27, "c" * 2, "d" * 27)  # 10, 40, 10 and 40 tokens
    fitted = fit([plain(messages)], Encoder(byte_tokenizer), max_length, "split")
    assert [len(one.ids) for one in fitted.examples] == lengths
    said = "".join(loss for _, loss in texts(fitted, byte_tokenizer))
    assert said == "b" * 27 + "<|im_end|>" + "d" * 27 + "<|im_end|>"
    assert counts(fitted) == (len(lengths), len(lengths) > 1, 0, {})


def test_a_split_chat_is_cut_between_rounds_and_each_part_has_the_rules(
    byte_tokenizer: Any,
) -> None:
    messages = [RULES, Message(role="system", content="more!"), *long_chat(5)]
    fitted = fit([plain(messages)], Encoder(byte_tokenizer), 18 + 18 + 50, "split")
    start = "<|im_start|>system\nrules<|im_end|>\n<|im_start|>system\nmore!<|im_end|>\n"
    parts = [(0, 2), (2, 4), (4, 5)]
    assert texts(fitted, byte_tokenizer) == [
        (
            start
            + "".join(
                f"<|im_start|>user\nq{n}<|im_end|>\n<|im_start|>assistant\na{n}<|im_end|>\n"
                for n in range(*part)
            ),
            "".join(f"a{n}<|im_end|>" for n in range(*part)),
        )
        for part in parts
    ]
    assert counts(fitted) == (3, 1, 0, {})


def test_rules_that_have_a_weight_are_learned_in_the_first_part_alone(byte_tokenizer: Any) -> None:
    dialogue = Dialogue([RULES, *long_chat(2)], [1.0, None, None, None, None])
    fitted = fit([dialogue], Encoder(byte_tokenizer), 18 + 25, "split")
    losses = [loss for _, loss in texts(fitted, byte_tokenizer)]
    assert losses == ["rules<|im_end|>a0<|im_end|>", "a1<|im_end|>"]


def said_and_heard(fitted: Fitted, tokenizer: Any) -> list[tuple[list[str], list[str]]]:
    """Of each example of :func:`long_chat` the answers in it, and those with a loss."""
    parts = texts(fitted, tokenizer)
    return [
        (
            [f"a{n}" for n in range(10) if f"assistant\na{n}<" in whole],
            loss.split("<|im_end|>")[:-1],
        )
        for whole, loss in parts
    ]


def test_carried_rounds_come_again_without_loss(byte_tokenizer: Any) -> None:
    fitted = fit([plain([RULES, *long_chat(5)])], Encoder(byte_tokenizer), 18 + 75, "split", 1)
    assert said_and_heard(fitted, byte_tokenizer) == [
        (["a0", "a1", "a2"], ["a0", "a1", "a2"]),
        (["a2", "a3", "a4"], ["a3", "a4"]),
    ]
    assert all("rules" in whole for whole, _ in texts(fitted, byte_tokenizer))


def test_rounds_are_carried_only_as_far_as_the_next_one_fits(byte_tokenizer: Any) -> None:
    turns = long_chat(5)
    turns[5]["content"] = "a2" + "b" * 30  # 55 tokens: with one other round, and not with two
    turns[7]["content"] = "a3" + "c" * 51  # 76 tokens: with none
    fitted = fit([plain(turns)], Encoder(byte_tokenizer), 80, "split", 2)
    found = said_and_heard(fitted, byte_tokenizer)
    assert [loss for _, loss in found] == [
        ["a0", "a1"],
        ["a2" + "b" * 30],
        ["a3" + "c" * 51],
        ["a4"],
    ]
    whole = [text for text, _ in texts(fitted, byte_tokenizer)]
    assert [text.count("<|im_start|>assistant") for text in whole] == [2, 2, 1, 1]
    assert "q1" in whole[1]


def test_a_round_that_is_too_long_by_itself_is_cut_and_counted(byte_tokenizer: Any) -> None:
    messages = chat("a", "b", "long", "c" * 100, "d", "e")
    fitted = fit([plain(messages)], Encoder(byte_tokenizer), 50, "split")
    assert [loss for _, loss in texts(fitted, byte_tokenizer)] == [
        "b<|im_end|>",
        "c" * 27,  # after 12 tokens of the question and 11 of the answer's beginning
        "e<|im_end|>",
    ]
    assert counts(fitted) == (3, 1, 1, {})


def test_a_question_that_is_too_long_drops_its_round_alone(byte_tokenizer: Any) -> None:
    messages = chat("a", "b", "long" * 20, "c", "d", "e")
    fitted = fit([plain(messages)], Encoder(byte_tokenizer), 50, "split")
    assert [loss for _, loss in texts(fitted, byte_tokenizer)] == ["b<|im_end|>", "e<|im_end|>"]
    assert counts(fitted) == (2, 1, 0, {"nothing_supervised": 1})


def test_one_example_that_is_left_makes_no_split_chat(byte_tokenizer: Any) -> None:
    fitted = fit([plain(chat("a", "b", "c" * 40))], Encoder(byte_tokenizer), 50, "split")
    assert counts(fitted) == (1, 0, 0, {"nothing_supervised": 1})


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("", ([], [])),
        ("s", ([0], [])),
        ("sua", ([0], [[1, 2]])),
        ("ssuaua", ([0, 1], [[2, 3], [4, 5]])),
        ("aua", ([], [[0], [1, 2]])),
        ("uuaau", ([], [[0, 1, 2, 3], [4]])),
        ("uasua", ([], [[0, 1], [2, 3, 4]])),
        ("usua", ([], [[0, 1, 2, 3]])),
    ],
)
def test_rounds_end_with_the_answers_to_them(
    roles: str, expected: tuple[list[int], list[list[int]]]
) -> None:
    names = {"s": "system", "u": "user", "a": "assistant"}
    messages: Any = [{"role": names[role], "content": ""} for role in roles]
    assert rounds(plain(messages)) == expected


def test_truncation_cuts_at_the_length_and_what_is_not_learned_before_it(
    byte_tokenizer: Any,
) -> None:
    encoder = Encoder(byte_tokenizer)
    # 50 tokens, of which the rounds have 25; the loss of the first ends one before that.
    dialogue = plain(long_chat(2))
    for max_length, length in [(49, 49), (48, 48), (47, 47), (46, 24), (25, 24), (22, 22)]:
        fitted = fit([dialogue], encoder, max_length, "truncate")
        assert [len(one.ids) for one in fitted.examples] == [length]
        assert counts(fitted) == (1, 0, 1, {})
    assert counts(fit([dialogue], encoder, 21, "truncate")) == (0, 0, 0, {"nothing_supervised": 1})


def test_long_chats_may_be_dropped(byte_tokenizer: Any) -> None:
    dialogues = [plain(long_chat(count)) for count in (1, 2, 3)]
    fitted = fit(dialogues, Encoder(byte_tokenizer), 50, "drop")
    assert counts(fitted) == (2, 0, 0, {"too_long": 1})


@pytest.mark.parametrize("overflow", ["split", "truncate", "drop"])
def test_a_chat_without_loss_is_dropped(byte_tokenizer: Any, overflow: Overflow) -> None:
    dialogues = [
        plain(chat("only a question")),
        plain([RULES]),
        Dialogue(chat("a", "silent"), [None, 0.0]),
    ]
    fitted = fit(dialogues, Encoder(byte_tokenizer), 1000, overflow)
    assert counts(fitted) == (0, 0, 0, {"nothing_supervised": 3})


def test_the_first_token_alone_is_nothing_to_learn() -> None:
    fitted, ids = Fitted(), np.arange(3, dtype=np.int32)
    assert not fitted.add(Example(ids, np.array([1, 0, 0], np.float32)))
    assert fitted.add(Example(ids, np.array([0, 0, 0.5], np.float32)))
    assert counts(fitted) == (1, 0, 0, {"nothing_supervised": 1})


def test_what_a_template_refuses_is_dropped_by_part(
    byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = (
        "{{ raise_exception('no') if messages[0]['content'] == 'q2' }}"
        + byte_tokenizer.chat_template
    )
    monkeypatch.setattr(byte_tokenizer, "chat_template", refuses)
    fitted = fit([plain(long_chat(5))], Encoder(byte_tokenizer), 50, "split")
    losses = [loss for _, loss in texts(fitted, byte_tokenizer)]
    assert losses == ["a0<|im_end|>a1<|im_end|>", "a3<|im_end|>a4<|im_end|>"]
    assert counts(fitted) == (2, 1, 0, {"template_refuses": 1})


class Counting:
    """Makes 31 tokens of each round without encoding it, and counts the messages in all calls."""

    messages = 0

    def encode(self, dialogues: list[Dialogue], known: dict[str, list[int]]) -> list[Example]:
        self.messages += sum(len(one.messages) for one in dialogues)
        sizes = [31 * (len(one.messages) // 2) for one in dialogues]
        return [Example(np.zeros(n, np.int32), np.ones(n, np.float32)) for n in sizes]


@pytest.mark.parametrize("max_length", [62, 2048, 31_000])
def test_a_chat_of_two_thousand_rounds_is_split_in_work_that_grows_with_its_length(
    max_length: int,
) -> None:
    encoder: Any = Counting()
    messages = long_chat(2000)
    fitted = fit([plain(messages)], encoder, max_length, "split")
    assert len(fitted.examples) == -(-2000 // (max_length // 31))
    assert sum(len(one.ids) for one in fitted.examples) == 31 * 2000
    assert encoder.messages < 15 * len(messages)


def test_no_text_is_encoded_twice_to_find_where_to_cut(
    byte_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encoder = Encoder(byte_tokenizer)
    real: Any = encoder._plain

    class Watched:
        def encode_batch_fast(self, texts: list[str], **more: Any) -> Any:
            asked.extend(texts)
            return real.encode_batch_fast(texts, **more)

    monkeypatch.setattr(encoder, "_plain", Watched())
    fitted = fit([plain(long_chat(50))], encoder, 500, "split")
    assert len(fitted.examples) == 3
    assert len(asked) == len({*asked})
    assert sum(f"a{n}" in asked for n in range(50)) == 50


TURNS = st.tuples(
    st.sampled_from(["user", "user", "assistant", "assistant", "system"]),
    st.text(max_size=12) | st.sampled_from(["long " * 12, "<|im_end|>", " "]),
    st.sampled_from([None, None, 0.0, 0.5]),
)


@given(st.lists(TURNS, min_size=1, max_size=12), st.integers(25, 120), st.integers(0, 2))
@hypothesis_settings(deadline=None, database=None, max_examples=100)
def test_what_fits_is_learned_once_and_in_order_whatever_the_chat(
    byte_tokenizer: Any, turns: list[tuple[Any, str, float | None]], max_length: int, carry: int
) -> None:
    messages = [Message(role=role, content=content) for role, content, _ in turns]
    dialogue = Dialogue(messages, [weight for _, _, weight in turns])
    encoder = Encoder(byte_tokenizer)
    fitted = fit([dialogue], encoder, max_length, "split", carry)
    expected = [
        pair
        for one in _alone(dialogue)
        for example in encoder.encode([one])
        for pair in learned(Example(*(side[:max_length] for side in example)))  # type: ignore[arg-type]
    ]
    assert [pair for one in fitted.examples for pair in learned(one)] == expected
    for ids, weights in fitted.examples:
        assert len(ids) == len(weights) <= max_length
        assert weights[1:].any()
    assert fitted.examples or fitted.dropped


def _alone(dialogue: Dialogue) -> list[Dialogue]:
    """Each round behind the system messages, whose weights count in the first."""
    system, found = rounds(dialogue)
    messages, weights = dialogue.messages, dialogue.weights
    return [
        Dialogue(
            [messages[at] for at in (*system, *one)],
            [weights[at] if at in one or not number else 0.0 for at in (*system, *one)],
        )
        for number, one in enumerate(found or [[]])
    ]


def learned(example: Example) -> list[tuple[int, float]]:
    """Ids and weights of the tokens that have a loss."""
    pairs = zip(example.ids.tolist(), example.weights.tolist(), strict=True)
    return [pair for pair in pairs if pair[1]]
