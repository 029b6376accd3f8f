"""What becomes of a conversation that is longer than the context."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from training.conversations import Dialogue
from training.encoding import Encoder, Example

Overflow = Literal["split", "truncate", "drop"]


class Fitted:
    """Examples that fit, and the account of what did not.

    ``dropped`` counts conversations, or parts of split ones, by reason; ``truncated`` are examples
    that lost their end, ``split`` the conversations of which several examples were made.
    """

    def __init__(self) -> None:
        self.conversations = 0
        self.examples: list[Example] = []
        self.dropped: dict[str, int] = {}
        self.truncated = 0
        self.split = 0

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def add(self, example: Example) -> bool:
        """Take an example in, if something in it is learned: the first token is never predicted."""
        if not example.weights[1:].any():
            self.drop("nothing_supervised")
            return False
        self.examples.append(example)
        return True


def fit(
    dialogues: Sequence[Dialogue],
    encoder: Encoder,
    max_length: int,
    overflow: Overflow,
    carry: int = 0,
) -> Fitted:
    """Encode conversations into examples of at most ``max_length`` tokens.

    Args:
        dialogues: The conversations.
        encoder: Tokenizer and template.
        max_length: Tokens that an example may have.
        overflow: ``split`` makes several examples of a long conversation, cut between rounds;
            ``truncate`` cuts its end off; ``drop`` leaves it out.
        carry: Rounds before a cut that the next example begins with, without loss on them; fewer
            if its own first round would not fit behind them.
    """
    fitted = Fitted()
    known: dict[str, list[int]] = {}
    for dialogue, example in zip(dialogues, encoder.encode(dialogues, known), strict=True):
        if isinstance(example, str):
            fitted.drop(example)
        elif len(example.ids) <= max_length:
            fitted.add(example)
        elif overflow == "drop":
            fitted.drop("too_long")
        elif overflow == "truncate":
            fitted.truncated += fitted.add(_truncated(example, max_length))
        else:
            before = len(fitted.examples)
            for piece in _split(dialogue, encoder, max_length, carry, known):
                if isinstance(piece, str):
                    fitted.drop(piece)
                elif fitted.add(_truncated(piece, max_length)):
                    fitted.truncated += len(piece.ids) > max_length
            fitted.split += len(fitted.examples) > before + 1
    return fitted


def _truncated(example: Example, max_length: int) -> Example:
    """Cut at the end, and then what is left there without loss, which nothing is learned from."""
    if len(example.ids) <= max_length:
        return example
    learned = np.flatnonzero(example.weights[:max_length])
    end = int(learned[-1]) + 1 if len(learned) else 0
    return Example(example.ids[:end], example.weights[:end])


def rounds(dialogue: Dialogue) -> tuple[list[int], list[list[int]]]:
    """Message numbers of the system messages at the beginning, and of each round after them.

    A round is what comes up to and with the assistant's answers to it.
    """
    roles = [turn["role"] for turn in dialogue.messages]
    start = next((at for at, role in enumerate(roles) if role != "system"), len(roles))
    found: list[list[int]] = []
    for at in range(start, len(roles)):
        if not found or (roles[at] != "assistant" and roles[at - 1] == "assistant"):
            found.append([])
        found[-1].append(at)
    return list(range(start)), found


def _split(
    dialogue: Dialogue, encoder: Encoder, max_length: int, carry: int, known: dict[str, list[int]]
) -> list[Example | str]:
    """Examples of as many rounds as fit, none lost: one too long by itself stands alone."""
    system, all_rounds = rounds(dialogue)
    if not all_rounds:
        system, all_rounds = [], [system]

    def part(before: int, start: int, end: int) -> Example | str:
        return encoder.encode([_part(dialogue, system, all_rounds, (before, start, end))], known)[0]

    def fits(example: Example | str) -> bool:
        return not isinstance(example, str) and len(example.ids) <= max_length

    pieces: list[Example | str] = []
    start = 0
    while start < len(all_rounds):
        carried = range(max(0, start - carry), start)
        before = next((one for one in carried if fits(part(one, start, start + 1))), start)
        end, beyond, step = start + 1, len(all_rounds) + 1, 1
        while end + step < beyond and fits(part(before, start, end + step)):
            end, step = end + step, 2 * step
        beyond = min(beyond, end + step)
        while beyond - end > 1:  # the longest that fits is between them
            middle = (end + beyond) // 2
            end, beyond = (middle, beyond) if fits(part(before, start, middle)) else (end, middle)
        pieces.append(part(before, start, end))
        start = end
    return pieces


def _part(
    dialogue: Dialogue, system: list[int], all_rounds: list[list[int]], cut: tuple[int, int, int]
) -> Dialogue:
    """Rounds from ``cut[0]`` up to ``cut[2]``, without loss on what an earlier part has, too."""
    before, start, end = cut
    carried = {at for one in all_rounds[before:start] for at in one}
    carried |= {*system} if start else set()
    chosen = [*system, *(at for one in all_rounds[before:end] for at in one)]
    return Dialogue(
        [dialogue.messages[at] for at in chosen],
        [0.0 if at in carried else dialogue.weights[at] for at in chosen],
        dialogue.condition,
    )
