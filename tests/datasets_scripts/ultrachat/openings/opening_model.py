"""A writer of opening lines for the tests: deterministic, and as careless as real ones."""

import re
from collections.abc import Callable

from ultra import jsonl
from ultra.chat import Completion, Sampling, Usage
from ultra.errors import UltraError
from ultra.schema import Message

Answer = str | Completion | UltraError | None
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u")]
SPOILT = {0: "As a beginner, what is that?", 1: "Why?", 2: "Write to [your name] about it."}


def words(*seed: object, count: int) -> str:
    """Words that no other seed gives."""
    digest = int(
        jsonl.digest([str(one) for one in seed]) + jsonl.digest(["more", *map(str, seed)]), 16
    )
    found = []
    for _ in range(count):
        digest, first = divmod(digest, len(SYLLABLES))
        digest, second = divmod(digest, len(SYLLABLES))
        found.append(SYLLABLES[first] + SYLLABLES[second])
    return " ".join(found)


def reply(messages: list[Message], careless: int = 0) -> str:
    """The list that is asked for; one line in ``careless`` is spoilt, none if that is 0."""
    request = messages[-1]["content"]
    asked = re.match(r"Write (\d+) items", request)
    if asked is None:
        return f"Please write {words('detail', request, count=8)}, and make it rhyme."
    lines = []
    for number in range(int(asked[1])):
        line = f"What is {words(request, number, count=6)}?"
        draw = int(jsonl.digest([request, number])[:8], 16)
        if careless and draw % careless == 0 and "name of one subtopic" not in request:
            line = SPOILT[draw // careless % 3]
        lines.append(f"{number + 1}. {line}")
    return "Here you go:\n" + "\n".join(lines)


class OpeningModel:
    """Replies at once; a rule may answer in its place, or fail."""

    name = "writer"

    def __init__(
        self, careless: int = 0, rule: Callable[[list[Message]], Answer] = lambda messages: None
    ) -> None:
        self.careless, self.rule = careless, rule
        self.asked: list[list[Message]] = []
        self.samplings: list[Sampling] = []
        self.closed = 0

    @property
    def identity(self) -> str:
        return f"fake {self.name}"

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        self.asked.append(messages)
        self.samplings.append(sampling)
        answer = self.rule(messages)
        if isinstance(answer, UltraError):
            raise answer
        if isinstance(answer, Completion):
            return answer
        text = reply(messages, self.careless) if answer is None else answer
        return Completion(text, "stop", "writer-0613", Usage(len(messages), 1))

    async def close(self) -> None:
        self.closed += 1
