"""Dialogues through our session: ``python -m tests.speed.engine_ours URL --dialogues N ...``.

Prints a line of JSON for :mod:`tests.speed.engine`. A dialogue is four rounds: the user's opening
is known, then assistant and user speak in turn, the user seeing the roles flipped.
"""

import argparse
import asyncio
import contextlib
import json
import time
from pathlib import Path

from ultra.chat import ChatModel, OpenAIChat, Sampling
from ultra.engine import Limits, session
from ultra.errors import BudgetError
from ultra.schema import Message

ROUNDS = 4
_ASSISTANT, _USER = Sampling(temperature=0.7), Sampling(temperature=1.0)


async def dialogue(number: int, model: ChatModel) -> float:
    """Hold one; returns the seconds that its answers took at the server."""
    opening = f"How would you go about case {number}, and why?"
    seen: list[Message] = [{"role": "user", "content": opening}]
    flipped: list[Message] = [
        {"role": "system", "content": f"You play the user of case {number}; ask what is open."},
        {"role": "assistant", "content": opening},
    ]
    seconds = 0.0
    for turn in range(2 * ROUNDS - 1):
        answers = turn % 2 == 0
        said = await model.complete(seen if answers else flipped, _ASSISTANT if answers else _USER)
        seconds += float(said.text.partition(" ")[0])
        seen.append({"role": "assistant" if answers else "user", "content": said.text})
        flipped.append({"role": "user" if answers else "assistant", "content": said.text})
    return seconds


async def hold(url: str, dialogues: int, limits: Limits, folder: Path) -> dict[str, float]:
    """Hold dialogues until all are done or the budget is used up; returns what it took."""
    waited: list[float] = []
    start, cpu = time.perf_counter(), time.process_time()
    async with session(limits, folder) as run:
        model = run.model(OpenAIChat("loopback", url))

        async def one(number: int) -> None:
            waited.append(await dialogue(number, model))

        with contextlib.suppress(BudgetError):  # is how --calls ends a run
            await run.for_each(range(dialogues), one, dialogues, "dialogues", lambda number: ROUNDS)
        calls = run.spent.calls
    return {
        "seconds": time.perf_counter() - start,
        "cpu_s": time.process_time() - cpu,
        "calls": calls,
        "server_s": sum(waited),
        "slowest_s": max(waited, default=0.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Dialogues through our session")
    parser.add_argument("url")
    parser.add_argument("--dialogues", type=int, required=True)
    parser.add_argument("--flight", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for the journal")
    parser.add_argument("--calls", type=int, default=0, help="stop after so many")
    options = parser.parse_args()
    limits = Limits(concurrency=options.flight, budget_calls=options.calls)
    print(json.dumps(asyncio.run(hold(options.url, options.dialogues, limits, options.folder))))


if __name__ == "__main__":
    main()
