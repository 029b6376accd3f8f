# ruff: noqa: RUF001 (marks of other scripts are a matter of this file)
"""Faulty turns are told from good ones, and no text is too odd or too long to be looked at."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts.ultrachat import detectors, measure_detectors
from datasets_scripts.ultrachat.detectors import ASSISTANT_FAULTS, USER_FAULTS
from datasets_scripts.ultrachat.openings.opening import Opening, Sector
from datasets_scripts.ultrachat.plan import Plan, plan, table
from tests.conftest import ROOT
from ultra import jsonl
from ultra.chat import Completion
from ultra.errors import InputError
from ultra.schema import Message

TURNS = Path(__file__).parent / "turns.jsonl"
"""Turns of our own writing, and what is wrong with them."""

OPENING = "Why do birds sing in the morning?"
BEFORE: list[Message] = [
    {"role": "user", "content": OPENING},
    {"role": "assistant", "content": "To hold a territory, and to find a mate."},
]


def planned(opening: str = OPENING, material: str = "") -> Plan:
    sector: Sector = "material" if material else "world"
    return plan("1", 0, 0, Opening(sector, "", opening, "f", material=material))


def fault_of(text: str, before: list[Message] = BEFORE) -> str | None:
    return detectors.user_fault(text, before, planned(before[0]["content"]))


# Precision and recall


def test_the_detectors_find_what_is_wrong_and_little_else() -> None:
    found = list(measure_detectors.judged(TURNS))
    assert len(found) > 400
    scores = measure_detectors.scores(found)
    names = {f"user {fault}" for fault in USER_FAULTS if fault not in ("length", "content_filter")}
    assert names | {f"assistant {fault}" for fault in ASSISTANT_FAULTS} < set(scores)
    for name, score in scores.items():
        assert score.precision >= 0.95, name
        assert score.recall >= 0.9, name
    assert scores["user any"].precision >= 0.99
    assert scores["user any"].recall >= 0.97


def test_the_command_prints_precision_and_recall_of_each_detector(tmp_path: Path) -> None:
    missed = {"part": "user", "fault": "stage_talk", "turn": "And at night?", "before": ["a?", "b"]}
    good = {"part": "assistant", "fault": "", "turn": "Yes."}
    file = tmp_path / "turns.jsonl"
    file.write_bytes(jsonl.dump(missed) + jsonl.dump(good))
    module = [sys.executable, "-m", "datasets_scripts.ultrachat.measure_detectors"]
    done = subprocess.run(
        [*module, str(file), "--show"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["user", "stage_talk", "1", "1.000", "0.000"] in lines
    assert "user: stage_talk, told good: And at night?" in done.stdout


@pytest.mark.parametrize(
    "row", [{}, {"part": "user"}, {"part": "user", "turn": 1, "before": ["a"]}]
)
def test_a_line_that_is_no_turn_is_named(row: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    file.write_bytes(orjson.dumps(row))
    with pytest.raises(InputError, match=r"turns\.jsonl: turn 1"):
        list(measure_detectors.judged(file))


def test_every_fault_of_a_user_has_a_reminder() -> None:
    assert set(table("reminders.yaml")) == set(USER_FAULTS)


# What depends on what stands before


def test_assent_is_an_answer_where_something_was_asked() -> None:
    asked: list[Message] = [*BEFORE[:1], {"role": "assistant", "content": "Shall I go on?"}]
    assert fault_of("Okay.") == "thanks_only"
    assert fault_of("Okay.", asked) is None
    assert fault_of("Okay, thanks.", asked) == "thanks_only"


def test_a_turn_is_held_against_all_that_the_user_said() -> None:
    said = "Is the air at dawn really calmer than in the evening?"
    later: list[Message] = [
        *BEFORE,
        {"role": "user", "content": said},
        {"role": "assistant", "content": "Yes, mostly."},
        {"role": "user", "content": "And in the mountains?"},
        {"role": "assistant", "content": "There the wind turns at dawn."},
    ]
    assert fault_of(said) is None
    assert fault_of(said, later) == "repeats_itself"
    assert fault_of(OPENING, later) == "repeats_itself"


def test_what_was_quoted_or_is_code_is_no_copy() -> None:
    answer = "The air is calm at dawn, so a song carries further than at any other time of day."
    before: list[Message] = [*BEFORE[:1], {"role": "assistant", "content": answer}]
    assert fault_of(answer, before) == "copies_assistant"
    assert fault_of(f'"{answer}" Who measured that?', before) is None
    assert fault_of(f"> {answer}\n\nWho measured that?", before) is None
    assert fault_of(f"```\n{answer}\n```\nwhy", before) is None


def test_the_language_is_that_of_the_instruction_not_of_the_text_it_is_about() -> None:
    material = "Die Mühle an der Orr lief bis 1911 mit Wasser, dann kam ein Gasmotor."
    opening = f"{material}\n\nSummarise this text in one English sentence, please."
    before: list[Message] = [{"role": "user", "content": opening}, BEFORE[1]]
    drawn = planned(opening, material)
    assert detectors.user_fault("And what does it say about the barges?", before, drawn) is None
    german = "Und was steht darin über die Lastkähne auf dem Fluss?"
    assert detectors.user_fault(german, before, drawn) == "wrong_language"


def test_a_longer_turn_is_too_long_where_a_shorter_one_was_planned() -> None:
    text = "And what do the owls do in the meantime, in that old barn of ours? " * 6
    short, long = ({**planned().__dict__, "length": name} for name in ("words", "paragraph"))
    assert detectors.user_fault(text, BEFORE, Plan(**short)) == "too_long"
    assert detectors.user_fault(text, BEFORE, Plan(**long)) is None


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_how_a_completion_ended_counts_before_what_it_says(reason: str) -> None:
    assert detectors.assistant_fault(Completion("", reason, "m")) == reason
    assert detectors.finish_fault(Completion("Why?", reason, "m")) == reason


def test_another_finish_reason_is_no_fault() -> None:
    assert detectors.assistant_fault(Completion("Yes.", "eos", "m")) is None


@pytest.mark.parametrize(
    ("answer", "goodbye"),
    [
        (
            "You're welcome! If you have any more questions, feel free to ask. Have a great day!",
            True,
        ),
        ("不客气！如果您还有其他问题，欢迎随时提问。", True),
        ("Gern geschehen! Viel Erfolg mit dem Garten.", True),
        ("You're welcome! One more thing: the hens sing too.", False),
        ("Great! Then the next step is the roof.", False),
        ("Yes.", False),
        ("", False),
    ],
)
def test_an_answer_that_only_returns_thanks_is_told(answer: str, goodbye: bool) -> None:
    assert detectors.is_goodbye(answer) is goodbye


# Hostile text

PIECES = ["a", "\n", "`", "```\n", "“", "'a", "<think>", "user:\n", "1. x\n", "thanks, ", "**", "|"]
PIECES += ["\0", "\ud83d", "谢", "🙂", "i(", "</s> ", "as an ai ", "\u202e", "{topic}", "\\g<0>"]


@given(st.text(st.characters(), max_size=200), st.text(max_size=200))
def test_any_text_is_looked_at(text: str, before: str) -> None:
    messages: list[Message] = [
        {"role": "user", "content": before},
        {"role": "assistant", "content": text},
    ]
    assert detectors.user_fault(text, messages, planned(before)) in {None, *USER_FAULTS}
    assert detectors.assistant_fault(Completion(text, "stop", "m")) in {None, *ASSISTANT_FAULTS}
    detectors.is_goodbye(text)


@pytest.mark.parametrize("piece", PIECES)
def test_a_text_of_many_pieces_comes_to_an_end(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    before: list[Message] = [{"role": "user", "content": text}, BEFORE[1]]
    assert fault_of(text) in ("too_long", "empty")
    assert fault_of(text[:20_000]) in {None, *USER_FAULTS}
    assert fault_of(text[:400]) in {None, *USER_FAULTS}
    assert fault_of("And what about the owls?", before) in {None, "wrong_language"}
    assert detectors.assistant_fault(Completion(text, "stop", "m")) in {None, *ASSISTANT_FAULTS}
