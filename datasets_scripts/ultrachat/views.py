"""The dialogue as the simulated user sees it.

``flipped``: its instructions, then the history with the roles flipped. Some endpoints demand that a
user speaks first, so a short instruction stands before the simulated user's opening; without it the
opening would have to go, and the simulated user would ask it again. After each answer stands the
direction for the turn that follows, in the same message, as some chat templates demand that roles
alternate, and in every later view too: so each view begins with the whole view before it, and a
server that caches prefixes computes only what is new. The rules come first and what differs
between dialogues after them, which makes the rules a prefix of all dialogues of a sector.

``transcript``: for models that refuse to have spoken as somebody else. One message holds the
dialogue, each line of it behind ``| ``, so that no text can pass for another turn or for the end.

A reminder is added to the end of the last message of one request and stands in no later one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from datasets_scripts.ultrachat.plan import PROMPTS, Plan, table
from ultra import prompts
from ultra.prompts import Prompt
from ultra.schema import Message, Role

View = Literal["flipped", "transcript"]

_NO_TOPIC = "what you open it with"
_FLIPPED: dict[Role, Role] = {"user": "assistant", "assistant": "user"}
_SPEAKERS: dict[Role, str] = {"user": "You", "assistant": "Assistant"}


@dataclass(frozen=True)
class Script:
    """The files of ``prompts/`` that make the simulated user, by name."""

    files: dict[str, Prompt]

    @property
    def digests(self) -> dict[str, str]:
        """The hex sha256 of each file, for the manifest: they decide plans and turns."""
        return {name: prompt.digest for name, prompt in sorted(self.files.items())}

    def fill(self, name: str, **slots: str) -> str:
        """Put values into the slots of a file, in one pass."""
        return self.files[name].fill(slots)


def load() -> Script:
    """Read the prompts of the simulated user, and the tables from which it is drawn."""
    paths = [*PROMPTS.glob("user*.md"), PROMPTS / "start.md"]
    tables = ("intents.yaml", "personas.yaml", "reminders.yaml", "styles.yaml")
    return Script(
        {path.name: prompts.load(path) for path in [*paths, *(PROMPTS / name for name in tables)]}
    )


def of_user(
    script: Script, plan: Plan, messages: Sequence[Message], view: View, fault: str = ""
) -> list[Message]:
    """What is sent to the simulated user for its next turn; the last message is an answer.

    ``fault`` is what was wrong with its last try at this turn, if there was one.
    """
    seen = _transcript if view == "transcript" else _flipped
    request = [_instructions(script, plan), *seen(script, plan, messages)]
    if fault:
        reminder = script.fill("user-reminder.md", fault=table("reminders.yaml")[fault])
        last = request[-1]
        request[-1] = {"role": last["role"], "content": f"{last['content']}\n\n{reminder}"}
    return request


def _instructions(script: Script, plan: Plan) -> Message:
    styles = table("styles.yaml")
    part = script.fill(
        "user-part.md",
        persona=plan.persona,
        register=styles["registers"][plan.register],
        length=styles["lengths"][plan.length],
        topic=plan.opening.topic or _NO_TOPIC,
    )
    rules = script.fill("user.md"), script.fill(f"user-{plan.opening.sector}.md")
    return {"role": "system", "content": "\n\n".join((*rules, part))}


def _direction(script: Script, plan: Plan, turn: int) -> str:
    """What the simulated user's turn does; ``turn`` 0 is the one after the first answer."""
    intent = table("intents.yaml")[plan.intents[turn]]
    return script.fill("user-direction.md", intent=intent["direction"])


def _flipped(script: Script, plan: Plan, messages: Sequence[Message]) -> list[Message]:
    view: list[Message] = [{"role": "user", "content": script.fill("start.md")}]
    for number, turn in enumerate(messages):
        content = turn["content"]
        if turn["role"] == "assistant":
            content = f"{content}\n\n{_direction(script, plan, number // 2)}"
        view.append({"role": _FLIPPED[turn["role"]], "content": content})
    return view


def _transcript(script: Script, plan: Plan, messages: Sequence[Message]) -> list[Message]:
    turns = (f"{_SPEAKERS[turn['role']]}:\n{_quoted(turn['content'])}" for turn in messages)
    direction = _direction(script, plan, len(messages) // 2 - 1)
    text = script.fill("user-transcript.md", transcript="\n\n".join(turns), direction=direction)
    return [{"role": "user", "content": text}]


def _quoted(text: str) -> str:
    """A text with ``| `` before each line, whatever ends its lines."""
    return "\n".join(f"| {line}" for line in text.splitlines() or [""])
