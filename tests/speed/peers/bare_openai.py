"""Dialogues as most scripts hold them, through ``chat.completions.create`` and nothing around it.

``bare_openai.py URL --dialogues N --flight N --way pool|gather``: ``pool`` lets each dialogue go on
by itself, so many at a time; ``gather`` takes so many, and waits for all of them at every turn.
Prints a line of JSON. No journal, no limits, no budget.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import openai

ROUNDS = 4
Message = dict[str, str]


class Dialogue:
    """The two views of it, and the seconds that its answers took at the server."""

    def __init__(self, number: int) -> None:
        opening = f"How would you go about case {number}, and why?"
        self.seen: list[Message] = [{"role": "user", "content": opening}]
        self.flipped: list[Message] = [
            {"role": "system", "content": f"You play the user of case {number}; ask what is open."},
            {"role": "assistant", "content": opening},
        ]
        self.seconds = 0.0

    async def turn(self, client: openai.AsyncOpenAI, turn: int) -> None:
        answers = turn % 2 == 0
        messages: Any = self.seen if answers else self.flipped
        said = await client.chat.completions.create(
            model="loopback",
            messages=messages,
            temperature=0.7 if answers else 1.0,
            top_p=1.0,
            seed=0,
            max_tokens=1024,
        )
        text = said.choices[0].message.content or ""
        self.seconds += float(text.partition(" ")[0])
        self.seen.append({"role": "assistant" if answers else "user", "content": text})
        self.flipped.append({"role": "user" if answers else "assistant", "content": text})


async def pool(client: openai.AsyncOpenAI, dialogues: int, flight: int) -> list[float]:
    """``flight`` dialogues at a time, each at its own pace."""
    waited: list[float] = []
    numbers: Iterator[int] = iter(range(dialogues))

    async def worker() -> None:
        for number in numbers:
            one = Dialogue(number)
            for turn in range(2 * ROUNDS - 1):
                await one.turn(client, turn)
            waited.append(one.seconds)

    await asyncio.gather(*(worker() for _ in range(flight)))
    return waited


async def gather(client: openai.AsyncOpenAI, dialogues: int, flight: int) -> list[float]:
    """``flight`` dialogues at a time, all of them waiting for the last at every turn."""
    waited: list[float] = []
    for first in range(0, dialogues, flight):
        some = [Dialogue(number) for number in range(first, min(first + flight, dialogues))]
        for turn in range(2 * ROUNDS - 1):
            await asyncio.gather(*(one.turn(client, turn) for one in some))
        waited += [one.seconds for one in some]
    return waited


async def hold(url: str, dialogues: int, flight: int, way: str) -> dict[str, float]:
    # The default of 5 s to connect is what a busy loop can take to look: give it longer.
    timeout = openai.Timeout(600, connect=120)
    async with openai.AsyncOpenAI(api_key="none", base_url=url, timeout=timeout) as client:
        start, cpu = time.perf_counter(), time.process_time()
        waited = await (pool if way == "pool" else gather)(client, dialogues, flight)
        return {
            "seconds": time.perf_counter() - start,
            "cpu_s": time.process_time() - cpu,
            "calls": dialogues * (2 * ROUNDS - 1),
            "server_s": sum(waited),
            "slowest_s": max(waited, default=0.0),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--dialogues", type=int, required=True)
    parser.add_argument("--flight", type=int, required=True)
    parser.add_argument("--way", choices=["pool", "gather"], required=True)
    options = parser.parse_args()
    found = asyncio.run(hold(options.url, options.dialogues, options.flight, options.way))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
