"""Chat models for the tests: answers by a rule, and a record of what was asked."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ultra import jsonl
from ultra.chat import Completion, Sampling, Usage
from ultra.errors import UltraError
from ultra.schema import Message

Answer = Completion | UltraError
Rule = Callable[[list[Message]], Answer | None]


@dataclass
class FakeChat:
    """Says something that depends on the whole request, unless the rule says otherwise."""

    name: str
    rule: Rule = lambda messages: None
    asked: list[list[Message]] = field(default_factory=list)
    samplings: list[Sampling] = field(default_factory=list)
    closed: int = 0

    @property
    def identity(self) -> str:
        return f"fake {self.name}"

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        self.asked.append(messages)
        self.samplings.append(sampling)
        digest = jsonl.digest([self.name, messages, sampling.seed])
        for _ in range(int(digest[0], 16)):  # calls overtake each other
            await asyncio.sleep(0)
        answer = self.rule(messages)
        if isinstance(answer, UltraError):
            raise answer
        usage = Usage(len(messages), 1)
        return answer or Completion(
            f"{self.name} says {digest[:8]}, is that so?", "stop", f"{self.name}-0613", usage
        )

    async def close(self) -> None:
        self.closed += 1
