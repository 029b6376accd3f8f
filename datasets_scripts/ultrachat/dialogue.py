"""One simulated dialogue: a user model and an assistant model take turns after an opening line."""

from collections import Counter
from dataclasses import dataclass, replace

import xxhash

from datasets_scripts.pipeline import Drop
from datasets_scripts.ultrachat.openings import GOALS, Opening
from ultra.chat import ChatModel, Completion, Sampling
from ultra.errors import CallError
from ultra.prompts import Prompt
from ultra.schema import Message, Role


@dataclass(frozen=True)
class Plan:
    """What is decided about a dialogue before it begins, from the recipe's seed and its index."""

    index: int
    opening: Opening
    rounds: int
    seed: int


@dataclass(frozen=True)
class Cast:
    """The two parts: models, sampling, and what the simulated user is told."""

    user: ChatModel
    assistant: ChatModel
    user_sampling: Sampling
    assistant_sampling: Sampling
    user_prompt: Prompt
    start_prompt: Prompt


@dataclass(frozen=True)
class Dialogue:
    """A finished dialogue, and what it took."""

    messages: list[Message]
    model: str
    user_model: str
    usage: Counter[str]


def plan(recipe: str, seed: int, index: int, opening: Opening, rounds: tuple[int, int]) -> Plan:
    """Draw what a dialogue will be: the same on any machine, for any number of dialogues."""
    draw = xxhash.xxh3_64_intdigest(f"{recipe}\0{seed}\0{index}".encode())
    low, high = rounds
    return Plan(index, opening, low + draw % (high - low + 1), (draw >> 32) % 2**31)


async def simulate(plan: Plan, cast: Cast) -> Dialogue | Drop:
    """Hold the planned number of rounds, ending with the assistant; or say why it failed.

    Raises:
        ModelError: an endpoint refuses us altogether.
    """
    messages: list[Message] = [{"role": "user", "content": plan.opening.text}]
    said: list[Completion] = []
    asked: list[Completion] = []
    while True:
        try:
            sampling = replace(cast.assistant_sampling, seed=plan.seed)
            said.append(await cast.assistant.complete(messages, sampling))
            fault = _fault("assistant", said[-1])
            messages = [*messages, {"role": "assistant", "content": said[-1].text.strip()}]
            if fault is None and len(said) < plan.rounds:
                sampling = replace(cast.user_sampling, seed=plan.seed)
                asked.append(await cast.user.complete(_user_view(messages, plan, cast), sampling))
                fault = _fault("user", asked[-1])
                messages = [*messages, {"role": "user", "content": asked[-1].text.strip()}]
        except CallError as error:
            return Drop("call_failed", str(error))
        if fault is not None:
            return fault
        if len(said) == plan.rounds:
            break
    usage = Counter[str](
        calls=len(said) + len(asked),
        prompt_tokens=sum(one.usage.prompt_tokens for one in said + asked),
        completion_tokens=sum(one.usage.completion_tokens for one in said + asked),
    )
    return Dialogue(messages, said[-1].model, asked[-1].model if asked else "", usage)


def _user_view(messages: list[Message], plan: Plan, cast: Cast) -> list[Message]:
    """The dialogue as the simulated user sees it.

    Its instructions, then the history with the roles flipped, its own opening kept. Some endpoints
    demand that a user speaks first, so a short instruction stands before the opening; without it
    the opening would have to go, and the simulated user would ask it again.
    """
    goal = GOALS[plan.opening.sector]
    rules = cast.user_prompt.fill({"topic": plan.opening.topic or "as you opened it", "goal": goal})
    flipped: dict[Role, Role] = {"user": "assistant", "assistant": "user"}
    history: list[Message] = [
        {"role": flipped[turn["role"]], "content": turn["content"]} for turn in messages
    ]
    return [
        {"role": "system", "content": rules},
        {"role": "user", "content": cast.start_prompt.text},
        *history,
    ]


def _fault(job: str, completion: Completion) -> Drop | None:
    """Why a turn cannot stand in a dialogue, or None."""
    if not completion.text.strip():
        return Drop(f"{job}_empty", f"finish_reason {completion.finish_reason}")
    if completion.finish_reason in ("length", "content_filter"):
        return Drop(f"{job}_{completion.finish_reason}")
    return None
