"""One simulated dialogue: what is planned, who sees what, and how it can fail."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.pipeline import Drop
from datasets_scripts.ultrachat.build import HERE
from datasets_scripts.ultrachat.dialogue import Cast, Dialogue, Plan, plan, simulate
from datasets_scripts.ultrachat.openings import GOALS, Opening
from tests.datasets_scripts.ultrachat.fakes import Answer, FakeChat
from ultra import prompts
from ultra.chat import Completion, Sampling
from ultra.errors import CallError, ModelError
from ultra.schema import Message

OPENING = Opening("world", "Birds", "Why do birds sing?", "mine.jsonl")


def cast_of(user: FakeChat, assistant: FakeChat) -> Cast:
    return Cast(
        user,
        assistant,
        Sampling(1.0, max_tokens=5),
        Sampling(0.5, max_tokens=9),
        prompts.load(HERE / "prompts" / "user.md"),
        prompts.load(HERE / "prompts" / "start.md"),
    )


@pytest.fixture
def user() -> FakeChat:
    return FakeChat("asker")


@pytest.fixture
def assistant() -> FakeChat:
    return FakeChat("helper")


@pytest.fixture
def hold(user: FakeChat, assistant: FakeChat) -> Callable[..., Dialogue | Drop]:
    """Hold a dialogue of some rounds between the two."""

    def run(rounds: int, opening: Opening = OPENING) -> Dialogue | Drop:
        return asyncio.run(simulate(Plan(7, opening, rounds, 99), cast_of(user, assistant)))

    return run


# The plan

SEEDS = st.integers(min_value=0, max_value=2**40)


@given(SEEDS, st.integers(0, 10**9), st.integers(1, 9), st.integers(0, 9))
def test_a_plan_stays_in_its_bounds_and_is_drawn_again_alike(
    seed: int, index: int, low: int, more: int
) -> None:
    drawn = plan("1", seed, index, OPENING, (low, low + more))
    assert drawn == plan("1", seed, index, OPENING, (low, low + more))
    assert low <= drawn.rounds <= low + more
    assert 0 <= drawn.seed < 2**31
    assert (drawn.index, drawn.opening) == (index, OPENING)


def test_plans_differ_by_recipe_seed_and_index() -> None:
    one = plan("1", 0, 0, OPENING, (3, 7))
    others = [plan(*key, OPENING, (3, 7)) for key in (("2", 0, 0), ("1", 1, 0), ("1", 0, 1))]
    assert len({one.seed, *(other.seed for other in others)}) == 4


def test_every_number_of_rounds_is_drawn_about_as_often() -> None:
    drawn = [plan("1", 0, index, OPENING, (3, 7)).rounds for index in range(2000)]
    assert {rounds: 300 < drawn.count(rounds) < 500 for rounds in set(drawn)} == dict.fromkeys(
        range(3, 8), True
    )


# Who sees what


def test_the_two_take_turns_and_the_assistant_has_the_last_word(
    hold: Callable[..., Dialogue], user: FakeChat, assistant: FakeChat
) -> None:
    held = hold(3)
    assert [turn["role"] for turn in held.messages] == ["user", "assistant"] * 3
    assert held.messages[0]["content"] == OPENING.text
    assert all(turn["content"].startswith("helper says") for turn in held.messages[1::2])
    assert all(turn["content"].startswith("asker says") for turn in held.messages[2::2])
    assert (len(assistant.asked), len(user.asked)) == (3, 2)


def test_the_names_and_the_counts_of_both_models_are_recorded(
    hold: Callable[..., Dialogue],
) -> None:
    held = hold(3)
    assert (held.model, held.user_model) == ("helper-0613", "asker-0613")
    assert held.usage == {
        "calls": 5,
        "prompt_tokens": (1 + 3 + 5) + (4 + 6),  # messages of each call, as the fake counts
        "completion_tokens": 5,
    }


def test_one_round_asks_the_user_model_nothing(
    hold: Callable[..., Dialogue], user: FakeChat
) -> None:
    held = hold(1)
    assert len(held.messages) == 2
    assert held.user_model == ""
    assert user.asked == []


def test_the_assistant_sees_the_dialogue_as_it_is(
    hold: Callable[..., Dialogue], assistant: FakeChat
) -> None:
    held = hold(3)
    assert assistant.asked == [held.messages[:1], held.messages[:3], held.messages[:5]]


def test_the_simulated_user_sees_instructions_and_its_own_opening_with_roles_flipped(
    hold: Callable[..., Dialogue], user: FakeChat
) -> None:
    held = hold(3)
    system, start, *history = user.asked[-1]
    assert system["role"] == "system"
    assert OPENING.topic in system["content"]
    assert GOALS["world"] in system["content"]
    assert start["role"] == "user"
    assert start["content"] == prompts.load(HERE / "prompts" / "start.md").text
    assert [turn["role"] for turn in history] == ["assistant", "user", "assistant", "user"]
    assert [turn["content"] for turn in history] == [turn["content"] for turn in held.messages[:4]]


def test_each_model_is_called_with_its_sampling_and_the_dialogues_seed(
    hold: Callable[..., Dialogue], user: FakeChat, assistant: FakeChat
) -> None:
    hold(2)
    assert user.samplings == [Sampling(1.0, max_tokens=5, seed=99)]
    assert assistant.samplings == [Sampling(0.5, max_tokens=9, seed=99)] * 2


@pytest.mark.parametrize("sector", GOALS)
def test_the_goal_follows_the_sector(
    hold: Callable[..., Dialogue], user: FakeChat, sector: Any
) -> None:
    hold(2, Opening(sector, "", "Hello?", "f"))
    assert GOALS[sector] in user.asked[0][0]["content"]


@pytest.mark.parametrize(
    "text",
    ["{topic} {goal} {} {0} {{x}}", "%s \\1 \\g<0> $HOME", "\0\x1b[2J\u202e", "a\nRules:\n- none"],
)
def test_braces_and_control_text_stay_text(
    hold: Callable[..., Dialogue], user: FakeChat, text: str
) -> None:
    held = hold(2, Opening("world", text, text, "f"))
    assert held.messages[0]["content"] == text
    assert f"is about: {text}\n" in user.asked[0][0]["content"]
    assert user.asked[0][2]["content"] == text


def test_turns_are_stripped_at_their_ends_only(
    hold: Callable[..., Dialogue], assistant: FakeChat
) -> None:
    assistant.rule = lambda messages: Completion("\n\n  a\n\n b \n", "stop", "m")
    assert hold(1).messages[1]["content"] == "a\n\n b"


# How it fails


def on_call(number: int, answer: Answer) -> Callable[[list[Message]], Answer | None]:
    calls = iter(range(1, 1000))
    return lambda messages: answer if next(calls) == number else None


@pytest.mark.parametrize("job", ["user", "assistant"])
@pytest.mark.parametrize(
    ("answer", "drop"),
    [
        (Completion("", "stop", "m"), Drop("{}_empty", "finish_reason stop")),
        (Completion(" \n", "length", "m"), Drop("{}_empty", "finish_reason length")),
        (Completion("text", "length", "m"), Drop("{}_length")),
        (Completion("text", "content_filter", "m"), Drop("{}_content_filter")),
        (CallError("no answer"), Drop("call_failed", "no answer")),
    ],
)
def test_a_turn_that_cannot_stand_drops_the_dialogue_at_once(
    hold: Callable[..., Drop],
    user: FakeChat,
    assistant: FakeChat,
    job: str,
    answer: Answer,
    drop: Drop,
) -> None:
    faulty = user if job == "user" else assistant
    faulty.rule = on_call(2, answer)
    assert hold(5) == Drop(drop.reason.format(job), drop.detail)
    assert len(faulty.asked) == 2
    assert len(user.asked) + len(assistant.asked) == (4 if job == "user" else 3)


def test_another_finish_reason_is_no_fault(
    hold: Callable[..., Dialogue], assistant: FakeChat
) -> None:
    assistant.rule = lambda messages: Completion("text", "eos", "m")
    assert len(hold(2).messages) == 4


def test_an_endpoint_that_refuses_us_is_not_a_drop(
    hold: Callable[..., Dialogue], user: FakeChat
) -> None:
    user.rule = on_call(1, ModelError("bad key"))
    with pytest.raises(ModelError, match="bad key"):
        hold(3)
