"""What a judge model says of a sample of the dialogues: coherence, helpful, honest, harmless.

The sample is chosen by hash, so more of it includes what less of it did. A verdict is four last
lines, in their order, and nothing else; what does not end so is unscored and counted by its reason.
A judge that fails never stands in the way of a release.
"""

import heapq
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import xxhash

from ultra import prompts
from ultra.chat import ChatModel, Sampling
from ultra.engine import Session
from ultra.errors import CallError, UltraError
from ultra.prompts import Prompt
from ultra.schema import Message

SCALES: dict[str, tuple[str, ...]] = {
    "coherence": tuple(map(str, range(1, 11))),
    "helpful": ("0", "0.5", "1"),
    "honest": ("0", "0.5", "1"),
    "harmless": ("0", "0.5", "1"),
}
"""What is graded, and the only ways to write a grade."""
SAMPLING = Sampling(temperature=0.0, max_tokens=512)

_PROMPTS = Path(__file__).parent / "prompts"
_CUT = ("length", "content_filter")


@dataclass(frozen=True)
class Judge:
    """Who judges, and what it is told."""

    model: ChatModel
    system: Prompt
    request: Prompt

    @classmethod
    def of(cls, model: ChatModel) -> "Judge":
        """Give a model the part, with the prompts that ship.

        Raises:
            InputError: they are not there.
        """
        system, request = (_PROMPTS / f"judge_{part}.md" for part in ("system", "request"))
        return cls(model, prompts.load(system), prompts.load(request))

    def messages(self, row: dict[str, Any]) -> list[Message]:
        """The request for one row. The code is one that no text of the dialogue can have known."""
        code = xxhash.xxh3_64_hexdigest(orjson.dumps(row["messages"]))
        turns = (f"{turn['role'].upper()}: {turn['content']}" for turn in row["messages"])
        asked = self.request.fill({"code": code, "dialogue": "\n\n".join(turns)})
        return [
            {"role": "system", "content": self.system.text},
            {"role": "user", "content": asked},
        ]


def read(text: str) -> dict[str, float] | str:
    """The grades of a verdict, or why it is unscored: ``no_verdict`` or ``out_of_range``."""
    lines = [line.strip() for line in text.strip().splitlines()[-len(SCALES) :]]
    pairs = [line.split(": ") for line in lines]
    if [name for name, *_ in pairs] != list(SCALES) or any(len(pair) != 2 for pair in pairs):
        return "no_verdict"
    if any(grade not in SCALES[name] for name, grade in pairs):
        return "out_of_range"
    return {name: float(grade) for name, grade in pairs}


def sample(lines: Iterable[bytes], size: int) -> list[dict[str, Any]]:
    """The rows of the ``size`` lines with the smallest hashes, in that order."""
    keyed = ((xxhash.xxh3_128_digest(line), line) for line in lines)
    return [orjson.loads(line) for _, line in heapq.nsmallest(size, keyed)]


async def judge(session: Session, judge: Judge, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Ask for a verdict on each row; returns the account for the manifest.

    ``coherence`` is the mean from 1 to 10, the other three are means from 0 to 1, over the
    ``scored`` dialogues; ``unscored`` counts the others by reason.
    """
    totals, unscored, names = Counter[str](), Counter[str](), set[str]()

    async def work(row: dict[str, Any]) -> None:
        try:
            said = await judge.model.complete(judge.messages(row), SAMPLING)
        except UltraError as error:
            unscored[error.reason if isinstance(error, CallError) else "judge_stopped"] += 1
            return
        names.add(said.model)
        cut = said.finish_reason in _CUT
        verdict = said.finish_reason if cut else read(said.text)
        if isinstance(verdict, str):
            unscored[verdict] += 1
        else:
            totals.update({name: round(2 * grade) for name, grade in verdict.items()})
            totals["scored"] += 1

    if session.limits.batch:
        with suppress(UltraError):  # what ails the batch, the calls that follow will tell
            await session.fill(judge.model, ((judge.messages(row), SAMPLING) for row in rows))
    await session.for_each(rows, work, len(rows), "judgments")
    scored = totals["scored"]
    means = {name: round(totals[name] / 2 / scored, 3) for name in SCALES} if scored else {}
    return {
        "judge": judge.model.name,
        "judge_model": ", ".join(sorted(names)),
        "dialogues": len(rows),
        "scored": scored,
        "unscored": dict(sorted(unscored.items())),
        **means,
        "prompts": {prompt.name: prompt.digest for prompt in (judge.system, judge.request)},
    }
