"""Steps that any corpus can use: what a conversation must look like to be kept."""

from itertools import pairwise
from typing import Literal

from datasets_scripts.pipeline import Drop, Step
from ultra.schema import Conversation, Message


def repair_roles(doubled_turns: Literal["drop", "merge"]) -> Step:
    """Bring turns into the order user, assistant, user, assistant, after an optional system turn.

    Leading assistant turns and a trailing unanswered user turn are cut. Two turns of one role in a
    row drop the conversation, or are joined by an empty line, as ``doubled_turns`` says.
    """

    def step(conversation: Conversation) -> Conversation | Drop:
        messages = conversation.messages
        system = messages[:1] if messages and messages[0]["role"] == "system" else []
        turns = messages[len(system) :]
        if any(turn["role"] == "system" for turn in turns):
            return Drop("system_turn_inside")
        changes: list[str] = []
        while turns and turns[0]["role"] == "assistant":
            turns = turns[1:]
            changes.append("leading_answer_cut")
        if doubled_turns == "merge":
            merged = _merge(turns)
            changes += ["turn_merged"] * (len(turns) - len(merged))
            turns = merged
        if any(one["role"] == two["role"] for one, two in pairwise(turns)):
            return Drop("doubled_turn")
        if turns and turns[-1]["role"] == "user":
            turns = turns[:-1]
            changes.append("trailing_question_cut")
        if not turns:
            return Drop("no_answered_question")
        changes = conversation.changes + changes
        return Conversation(conversation.id, system + turns, conversation.provenance, changes)

    return step


def _merge(turns: list[Message]) -> list[Message]:
    merged: list[Message] = []
    for turn in turns:
        if merged and merged[-1]["role"] == turn["role"]:
            content = f"{merged[-1]['content']}\n\n{turn['content']}"
            merged[-1] = {"role": turn["role"], "content": content}
        else:
            merged.append(turn)
    return merged


def no_empty_turn(conversation: Conversation) -> Conversation | Drop:
    """Drop a conversation in which somebody says nothing."""
    for number, turn in enumerate(conversation.messages, 1):
        if not turn["content"].strip():
            return Drop("empty_turn", f"turn {number}, {turn['role']}")
    return conversation
