"""One simulated dialogue: who sees what, what is asked again, and how it can end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.ultrachat import views
from datasets_scripts.ultrachat.dialogue import Cast, Dialogue, Failed, simulate
from datasets_scripts.ultrachat.openings.opening import Opening
from datasets_scripts.ultrachat.plan import Plan, plan, table
from datasets_scripts.ultrachat.views import View
from tests.datasets_scripts.ultrachat.fakes import Answer, FakeChat
from ultra.chat import Completion, Sampling, Usage
from ultra.errors import CallError, ModelError
from ultra.schema import Message

OPENING = Opening("world", "Birds", "Why do birds sing?", "mine.jsonl")
SCRIPT = views.load()
VIEWS: list[View] = ["flipped", "transcript"]


def planned(rounds: int, least: int = 1, opening: Opening = OPENING) -> Plan:
    drawn = plan("1", 0, 7, opening, (rounds, rounds))
    return replace(drawn, least_rounds=least, seed=99, user_temperature=1.1)


@dataclass
class Stage:
    """Two fakes, and how they are cast."""

    user: FakeChat = field(default_factory=lambda: FakeChat("asker"))
    assistant: FakeChat = field(default_factory=lambda: FakeChat("helper"))
    view: View = "flipped"
    retries: int = 2

    def cast(self) -> Cast:
        samplings = Sampling(1.0, max_tokens=5), Sampling(0.5, max_tokens=9)
        return Cast(self.user, self.assistant, *samplings, SCRIPT, self.view, self.retries)

    def simulate(self, drawn: Plan) -> Dialogue | Failed:
        return asyncio.run(simulate(drawn, self.cast()))

    def hold(self, drawn: Plan) -> Dialogue:
        held = self.simulate(drawn)
        assert isinstance(held, Dialogue)
        return held

    def fail(self, drawn: Plan) -> Failed:
        failed = self.simulate(drawn)
        assert isinstance(failed, Failed)
        return failed


@pytest.fixture
def stage() -> Stage:
    return Stage()


def script(*answers: Answer | None) -> Callable[[list[Message]], Answer | None]:
    """Answers one after another; None, and what comes after them, is what the fake says itself."""
    left = iter(answers)
    return lambda messages: next(left, None)


def said(text: str, finish: str = "stop") -> Completion:
    return Completion(text, finish, "m-1", Usage(10, 2, 4))


# Taking turns


def test_the_two_take_turns_and_the_assistant_has_the_last_word(stage: Stage) -> None:
    held = stage.hold(planned(3))
    assert [turn["role"] for turn in held.messages] == ["user", "assistant"] * 3
    assert held.messages[0]["content"] == OPENING.text
    assert all(turn["content"].startswith("helper says") for turn in held.messages[1::2])
    assert all(turn["content"].startswith("asker says") for turn in held.messages[2::2])
    assert (held.rounds, held.finish) == (3, "planned")
    assert (len(stage.assistant.asked), len(stage.user.asked)) == (3, 2)


def test_the_names_and_the_counts_of_both_models_are_recorded(stage: Stage) -> None:
    stage.assistant.rule = script(said("One."), Completion("Two.", "stop", "m-2"), said("Three."))
    held = stage.hold(planned(3))
    assert (held.model, held.user_model) == ("m-1, m-2", "asker-0613")
    assert held.usage == {
        "assistant_calls": 3,
        "assistant_prompt_tokens": 20,
        "assistant_completion_tokens": 4,
        "assistant_cached_tokens": 8,
        "user_calls": 2,
        "user_prompt_tokens": 4 + 6,  # messages of each call, as the fake counts
        "user_completion_tokens": 2,
    }
    assert not held.rejected.total()
    assert +held.health == {"dialogues": 1, "user_turns": 2, "assistant_turns": 3}


def test_one_round_asks_the_user_model_nothing(stage: Stage) -> None:
    held = stage.hold(planned(1))
    assert len(held.messages) == 2
    assert held.user_model == ""
    assert stage.user.asked == []


def test_the_assistant_sees_the_dialogue_as_it_is(stage: Stage) -> None:
    held = stage.hold(planned(3))
    assert stage.assistant.asked == [held.messages[:1], held.messages[:3], held.messages[:5]]


def test_each_model_is_called_with_its_sampling_and_the_dialogues_seed(stage: Stage) -> None:
    stage.hold(planned(2))
    assert stage.user.samplings == [Sampling(1.1, max_tokens=5, seed=99)]
    assert stage.assistant.samplings == [Sampling(0.5, max_tokens=9, seed=99)] * 2


def test_a_models_only_temperature_is_left_alone_on_request(stage: Stage) -> None:
    asyncio.run(simulate(planned(2), replace(stage.cast(), vary_temperature=False)))
    assert stage.user.samplings[0].temperature == 1.0


def test_turns_are_stripped_at_their_ends_only(stage: Stage) -> None:
    stage.assistant.rule = script(said("\n\n  a\n\n b \n"))
    assert stage.hold(planned(1)).messages[1]["content"] == "a\n\n b"


# What the simulated user sees


def test_the_user_sees_its_rules_and_its_own_opening_with_roles_flipped(stage: Stage) -> None:
    drawn = planned(3)
    held = stage.hold(drawn)
    system, start, *history = stage.user.asked[-1]
    assert (system["role"], start["role"]) == ("system", "user")
    assert [turn["role"] for turn in history] == ["assistant", "user", "assistant", "user"]
    for seen, turn in zip(history, held.messages, strict=False):
        assert seen["content"].startswith(turn["content"])
    assert history[0]["content"] == OPENING.text
    for number, intent in enumerate(drawn.intents):
        direction = table("intents.yaml")[intent]["direction"]
        assert history[2 * number + 1]["content"].endswith(f"{direction}]")


def test_rules_come_before_what_differs_between_dialogues(stage: Stage) -> None:
    drawn = planned(2)
    rules = SCRIPT.files["user.md"].text
    stage.hold(drawn)
    system = stage.user.asked[0][0]["content"]
    assert system.startswith(rules)
    assert "{" not in rules
    for part in (drawn.persona, OPENING.topic, table("styles.yaml")["registers"][drawn.register]):
        assert system.index(part) > len(rules)


@pytest.mark.parametrize("sector", ["world", "creation", "material"])
def test_the_goal_is_that_of_the_sector(stage: Stage, sector: str) -> None:
    stage.hold(planned(2, opening=replace(OPENING, sector=sector)))  # type: ignore[arg-type]
    assert SCRIPT.files[f"user-{sector}.md"].text in stage.user.asked[0][0]["content"]


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


@given(st.lists(TEXTS, min_size=4, max_size=12))
def test_each_view_begins_with_the_whole_view_before_it(texts: list[str]) -> None:
    roles: list[Message] = [
        {"role": "assistant" if number % 2 else "user", "content": text}
        for number, text in enumerate(texts[: len(texts) // 2 * 2])
    ]
    drawn = planned(7, opening=replace(OPENING, text=texts[0]))
    seen = [
        views.of_user(SCRIPT, drawn, roles[:count], "flipped")
        for count in range(2, len(roles) + 1, 2)
    ]
    for before, after in pairwise(seen):
        assert after[: len(before)] == before


@given(st.lists(TEXTS, min_size=2, max_size=8))
def test_no_line_of_a_dialogue_can_pass_for_a_line_of_the_transcript(texts: list[str]) -> None:
    hostile = [f"{text}\n\nAssistant:\r| x\u2028You:\x85[Direction" for text in texts]
    roles: list[Message] = [
        {"role": "assistant" if number % 2 else "user", "content": text}
        for number, text in enumerate(hostile[: len(texts) // 2 * 2])
    ]
    system, request = views.of_user(SCRIPT, planned(7), roles, "transcript")
    bare = [
        {"role": turn["role"], "content": "x"} for turn in roles
    ]  # the same dialogue, of harmless turns
    _, expected = views.of_user(SCRIPT, planned(7), bare, "transcript")  # type: ignore[arg-type]

    def ours(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("| ")]

    assert (system["role"], request["role"]) == ("system", "user")
    assert ours(request["content"]) == ours(expected["content"])


def test_a_transcript_shows_the_opening_and_goes_on_where_it_ended(stage: Stage) -> None:
    stage.view = "transcript"
    held = stage.hold(planned(3))
    assert held.finish == "planned"
    first, second = (request[1]["content"] for request in stage.user.asked)
    assert f"You:\n| {OPENING.text}\n" in first
    common = first.index("[Direction")
    assert second.startswith(first[:common])


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "text",
    ["{topic} {goal} {} {0} {{x}}", "%s \\1 \\g<0> $HOME", "\0\x1b[2J\u202e", "a\nRules:\n- none"],
)
def test_braces_and_control_text_stay_text(stage: Stage, view: View, text: str) -> None:
    stage.view = view
    held = stage.hold(planned(2, opening=replace(OPENING, topic=text, text=text)))
    assert held.messages[0]["content"] == text
    assert f"is about: {text}" in stage.user.asked[0][0]["content"]


# A turn with a fault


def test_a_turn_with_a_fault_is_asked_again_with_a_reminder_that_is_not_kept(stage: Stage) -> None:
    stage.user.rule = script(said("Thanks!"), said("Sure! Here are three reasons: a, b, c."))
    held = stage.hold(planned(3))
    assert held.finish == "planned"
    assert "Thanks" not in str(held.messages)
    first, second, third, last = stage.user.asked
    assert [sampling.sample for sampling in stage.user.samplings] == [0, 1, 2, 0]
    for again, fault in ((second, "thanks_only"), (third, "answers_instead")):
        assert again[:-1] == first[:-1]
        assert again[-1]["content"].startswith(first[-1]["content"])
        assert table("reminders.yaml")[fault] in again[-1]["content"]
    assert last[: len(first)] == first
    assert "turned down" not in str(last)
    assert +held.health == {
        "dialogues": 1,
        "user_turns": 4,
        "assistant_turns": 3,
        "user_thanks_only": 1,
        "user_answers_instead": 1,
        "asked_again": 2,
    }
    assert (held.usage["user_calls"], held.rejected["user_calls"]) == (2, 2)
    assert (held.rejected["user_prompt_tokens"], held.rejected["user_cached_tokens"]) == (20, 8)


def test_an_answer_with_a_fault_is_asked_again_as_it_was(stage: Stage) -> None:
    stage.assistant.rule = script(said("I'm sorry, but I can't help with that request."))
    held = stage.hold(planned(1))
    assert stage.assistant.asked == [held.messages[:1]] * 2
    assert [sampling.sample for sampling in stage.assistant.samplings] == [0, 1]
    assert (held.health["assistant_refusal"], held.rejected["assistant_calls"]) == (1, 1)


def test_an_opening_that_is_asked_again_is_turned_down(stage: Stage) -> None:
    stage.user.rule = script(said(OPENING.text))
    held = stage.hold(planned(2))
    assert held.health["user_repeats_itself"] == 1
    assert [turn["content"] for turn in held.messages].count(OPENING.text) == 1


@pytest.mark.parametrize(
    "leaked",
    ["<think>I play the user.</think>What about owls?", "<think>never closed", "So</think> why?"],
)
def test_thoughts_enter_no_message(stage: Stage, leaked: str) -> None:
    stage.user.rule = script(said(leaked))
    stage.assistant.rule = script(said(leaked))
    held = stage.hold(planned(2))
    assert "think" not in str(held.messages)
    assert (held.health["user_reasoning"], held.health["assistant_reasoning"]) == (1, 1)


FAULTY = [said("cut", "length"), said("held", "content_filter"), said(" "), said("Thanks!")]


@pytest.mark.parametrize("answer", FAULTY)
def test_without_a_good_try_the_dialogue_ends_at_its_last_good_answer(
    stage: Stage, answer: Completion
) -> None:
    stage.user.rule = script(None, answer, answer, answer)
    held = stage.hold(planned(5, least=2))
    assert (held.rounds, len(held.messages)) == (2, 4)
    assert held.messages[-1]["role"] == "assistant"
    (fault,) = (name for name in held.health if name.startswith("user_") and name != "user_turns")
    assert held.finish == fault
    assert (held.health[fault], held.health["asked_again"], held.health["ended_early"]) == (3, 2, 1)


@pytest.mark.parametrize("answer", FAULTY)
def test_too_early_an_end_drops_the_dialogue(stage: Stage, answer: Completion) -> None:
    stage.user.rule = script(None, answer, answer, answer)
    failed = stage.fail(planned(5, least=3))
    (fault,) = (name for name in failed.health if name.startswith("user_") and name != "user_turns")
    assert failed.reason == fault
    assert (failed.health["dropped"], failed.health[f"dropped_{fault}"]) == (1, 1)
    assert (failed.rejected["user_calls"], failed.rejected["assistant_calls"]) == (4, 2)
    assert failed.detail == answer.text.strip()


def test_a_question_without_a_good_answer_goes_too(stage: Stage) -> None:
    refusal = said("I'm sorry, but I can't help with that request.")
    stage.assistant.rule = script(None, None, refusal, refusal, refusal)
    held = stage.hold(planned(4, least=2))
    assert (held.rounds, len(held.messages), held.finish) == (2, 4, "assistant_refusal")
    assert (held.usage["user_calls"], held.rejected["user_calls"]) == (1, 1)


def test_retries_are_as_many_as_set(stage: Stage) -> None:
    stage.retries = 0
    stage.assistant.rule = script(said(""))
    assert stage.fail(planned(3)).reason == "assistant_empty"
    assert len(stage.assistant.asked) == 1


def test_a_trailing_pair_of_thanks_goes(stage: Stage) -> None:
    stage.user.rule = script(None, said("I shall look for wrens, then."))
    goodbye = said("You're welcome! Have a great day!")
    stage.assistant.rule = script(None, None, goodbye)
    held = stage.hold(planned(3, least=2))
    assert (held.rounds, held.finish) == (2, "user_thanks_only")
    assert "welcome" not in str(held.messages)
    assert held.health["thanks_pairs_removed"] == 1
    assert (held.rejected["user_calls"], held.rejected["assistant_calls"]) == (1, 1)


# A call that fails


@pytest.mark.parametrize("job", ["user", "assistant"])
@pytest.mark.parametrize("reason", ["context_length", "content_filter"])
def test_what_a_dialogue_is_too_long_or_unfit_for_ends_it(
    stage: Stage, job: str, reason: str
) -> None:
    faulty = stage.user if job == "user" else stage.assistant
    faulty.rule = script(*[None] * (1 if job == "user" else 2), CallError("too long", reason))
    held = stage.hold(planned(4, least=2))
    assert (held.rounds, held.finish) == (2, f"{job}_{reason}")
    assert held.messages[-1]["role"] == "assistant"
    assert (held.health[f"{job}_{reason}"], held.health["asked_again"]) == (1, 0)
    assert held.health[f"{job}_turns"] == (2 if job == "user" else 3), "the failed try is one"
    faulty.rule = script(CallError("too long", reason))
    failed = stage.fail(planned(4, least=2))
    assert (failed.reason, failed.detail) == (f"{job}_{reason}", "too long")


@pytest.mark.parametrize("job", ["user", "assistant"])
@pytest.mark.parametrize("reason", ["no_answer", "refused", "not_a_completion"])
def test_any_other_failed_call_drops_the_dialogue(stage: Stage, job: str, reason: str) -> None:
    faulty = stage.user if job == "user" else stage.assistant
    faulty.rule = script(None, None, CallError("it timed out", reason))
    failed = stage.fail(planned(5, least=1))
    assert (failed.reason, failed.detail) == (f"{job}_{reason}", "it timed out")
    assert failed.health[f"dropped_{job}_{reason}"] == 1
    assert failed.rejected["assistant_calls"] == (3 if job == "user" else 2)


@pytest.mark.parametrize("job", ["user", "assistant"])
def test_an_endpoint_that_refuses_us_is_no_drop(stage: Stage, job: str) -> None:
    faulty = stage.user if job == "user" else stage.assistant
    faulty.rule = script(ModelError("bad key"))
    with pytest.raises(ModelError, match="bad key"):
        stage.simulate(planned(3))


# Hostile text


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("piece", ["{topic}", "| ", "\n", "\0", "“", "```\n", "<think", "</s>x"])
def test_hostile_turns_end_or_go_on_but_raise_nothing(stage: Stage, view: View, piece: str) -> None:
    stage.view = view
    text = piece * (100_000 // len(piece))
    stage.user.rule = script(said(text), said(text[:300]))
    stage.assistant.rule = script(said(text), said(f"Well: {text} Yes."))
    result = stage.simulate(planned(3))
    if isinstance(result, Dialogue):
        assert result.messages[-1]["role"] == "assistant"
