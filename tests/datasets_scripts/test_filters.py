"""Role repair and empty turns."""

from copy import deepcopy

import pytest

from datasets_scripts.filters import no_empty_turn, repair_roles
from datasets_scripts.pipeline import Drop
from tests.datasets_scripts.helpers import conversation, talk
from ultra.schema import Conversation


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("u1 a2", "u1 a2"),
        ("u1 a2 u3 a4", "u1 a2 u3 a4"),
        ("a1 u2 a3", "u2 a3"),
        ("a1 a2 u3 a4", "u3 a4"),
        ("u1 a2 u3", "u1 a2"),
        ("a1 u2 a3 u4", "u2 a3"),
        ("s1 u2 a3", "s1 u2 a3"),
        ("s1 a2 u3 a4 u5", "s1 u3 a4"),
    ],
)
@pytest.mark.parametrize("doubled_turns", ["drop", "merge"])
def test_what_stands_outside_question_and_answer_is_cut(
    before: str, after: str, doubled_turns: str
) -> None:
    step = repair_roles("drop" if doubled_turns == "drop" else "merge")
    repaired = step(conversation(before))
    assert isinstance(repaired, Conversation)
    assert repaired.messages == talk(after)
    cut = sum(change.endswith("_cut") for change in repaired.changes)
    assert cut == len(before.split()) - len(after.split()) == len(repaired.changes)


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("u1 u2 a3", "doubled_turn"),
        ("u1 a2 a3", "doubled_turn"),
        ("u1 a2 u3 u4", "doubled_turn"),
        ("u1 s2 a3", "system_turn_inside"),
        ("s1 s2 u3 a4", "system_turn_inside"),
        ("u1 a2 s3", "system_turn_inside"),
        ("", "no_answered_question"),
        ("u1", "no_answered_question"),
        ("a1", "no_answered_question"),
        ("a1 u2", "no_answered_question"),
        ("s1", "no_answered_question"),
        ("s1 u2", "no_answered_question"),
    ],
)
def test_what_cannot_be_repaired_is_dropped(before: str, reason: str) -> None:
    assert repair_roles("drop")(conversation(before)) == Drop(reason)


@pytest.mark.parametrize(
    ("before", "contents"),
    [
        ("u1 u2 a3", ["u1\n\nu2", "a3"]),
        ("u1 a2 a3 a4 u5 a6", ["u1", "a2\n\na3\n\na4", "u5", "a6"]),
        ("u1 a2 u3 u4", ["u1", "a2"]),
        ("a1 a2 u3 a4", ["u3", "a4"]),
        ("s1 u2 u3 a4", ["s1", "u2\n\nu3", "a4"]),
    ],
)
def test_doubled_turns_can_be_joined_by_an_empty_line(before: str, contents: list[str]) -> None:
    repaired = repair_roles("merge")(conversation(before))
    assert isinstance(repaired, Conversation)
    assert [turn["content"] for turn in repaired.messages] == contents


def test_merging_does_not_invent_an_answer() -> None:
    assert repair_roles("merge")(conversation("u1 u2")) == Drop("no_answered_question")


@pytest.mark.parametrize("words", ["a1 u2 u3 a4 u5", "s1 u2 a3"])
def test_repair_leaves_its_input_as_it_was(words: str) -> None:
    given = conversation(words, views=7)
    before = deepcopy(given)
    repaired = repair_roles("merge")(given)
    assert given == before
    assert isinstance(repaired, Conversation)
    assert (repaired.id, repaired.provenance) == (given.id, given.provenance)


@pytest.mark.parametrize("nothing", ["", " ", "\n\t ", "\u3000\u00a0"])
def test_a_turn_without_text_drops_the_conversation(nothing: str) -> None:
    given = conversation("u1 a2 u3 a4")
    assert no_empty_turn(given) is given
    given.messages[3]["content"] = nothing
    assert no_empty_turn(given) == Drop("empty_turn", "turn 4, assistant")


def test_an_empty_system_turn_counts_too() -> None:
    messages = talk("s1 u2 a3")
    messages[0]["content"] = ""
    assert no_empty_turn(Conversation("x", messages, {})) == Drop("empty_turn", "turn 1, system")
