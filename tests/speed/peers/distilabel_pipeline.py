"""Dialogues as a distilabel pipeline: ``distilabel_pipeline.py URL --dialogues N --flight N``.

A pipeline's steps are fixed, so each of the seven turns is a task of its own, in its own process;
batches are a seventh of ``--flight``, so that no more calls than that are under way when all tasks
are busy. Prints a line of JSON. Runs in the peers' virtual environment.
"""

import argparse
import json
import os
import tempfile
import time
from typing import Any

os.environ.setdefault("DISTILABEL_LOG_LEVEL", "WARNING")  # its log of every call costs it dearly

from distilabel.models.llms import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import ChatGeneration

TURNS = 7


class Turn(ChatGeneration):  # type: ignore[misc]
    """One turn: reads the view whose turn it is, and adds what was said to both."""

    turn: int = 0

    @property
    def inputs(self) -> list[str]:
        return ["seen", "flipped", "seconds"]

    @property
    def outputs(self) -> list[str]:
        return ["seen", "flipped", "seconds", "model_name"]

    def format_input(self, input: dict[str, Any]) -> Any:
        return input["seen"] if self.turn % 2 == 0 else input["flipped"]

    def format_output(self, output: str | None, input: dict[str, Any] | None = None) -> Any:
        assert output is not None
        assert input is not None
        answers = self.turn % 2 == 0
        here = {"role": "assistant" if answers else "user", "content": output}
        there = {"role": "user" if answers else "assistant", "content": output}
        return {
            "seen": [*input["seen"], here],
            "flipped": [*input["flipped"], there],
            "seconds": input["seconds"] + float(output.partition(" ")[0]),
        }


def views(number: int) -> dict[str, Any]:
    opening = f"How would you go about case {number}, and why?"
    system = f"You play the user of case {number}; ask what is open."
    return {
        "seen": [{"role": "user", "content": opening}],
        "flipped": [
            {"role": "system", "content": system},
            {"role": "assistant", "content": opening},
        ],
        "seconds": 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--dialogues", type=int, required=True)
    parser.add_argument("--flight", type=int, required=True)
    options = parser.parse_args()
    size = max(1, options.flight // TURNS)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache, Pipeline("dialogues", cache_dir=cache) as pipeline:
        rows = [views(number) for number in range(options.dialogues)]
        last: Any = LoadDataFromDicts(data=rows, batch_size=size)
        for turn in range(TURNS):
            model = OpenAILLM(
                model="loopback",
                base_url=options.url,
                api_key="none",
                timeout=600,
                generation_kwargs={"max_new_tokens": 1024, "temperature": 0.7},
            )
            task = Turn(
                name=f"turn_{turn}",
                turn=turn,
                llm=model,
                input_batch_size=size,
                add_raw_output=False,
                add_raw_input=False,
            )
            last = last >> task
        made = pipeline.run(use_cache=False)["default"]["train"]
        waited = made["seconds"]
        assert len(waited) == options.dialogues
    found = {
        "seconds": time.perf_counter() - start,
        "calls": options.dialogues * TURNS,
        "server_s": sum(waited),
        "slowest_s": max(waited),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
