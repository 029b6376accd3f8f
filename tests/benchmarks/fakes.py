"""Chat models whose every word a test decides, and small suites for them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ultra import jsonl
from ultra.chat import Completion, Sampling, Usage
from ultra.schema import Message

RECORD = {"name": "pairwise", "parser": "last_line_choice", "baseline_digest": "b" * 32}
"""What judgments need to know of their protocol, whose hash is ``PROTOCOL``."""
PROTOCOL = jsonl.digest(RECORD)[:12]
Reply = Callable[[list[Message]], str | Completion]


class FakeChat:
    """Replies with a function of the messages, or raises what the function raises."""

    def __init__(self, name: str, reply: Reply, finish_reason: str = "stop") -> None:
        self.name, self.reply, self.finish_reason = name, reply, finish_reason
        self.identity = f"fake {name}"
        self.requests: list[list[Message]] = []
        self.samplings: list[Sampling] = []

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        self.requests.append(messages)
        self.samplings.append(sampling)
        said = self.reply(messages)
        if isinstance(said, Completion):
            return said
        return Completion(said, self.finish_reason, self.name, Usage(10, 2))

    async def close(self) -> None:
        pass


def judgment(**changes: Any) -> dict[str, Any]:
    """A judgment's whole row: ``mine`` beat ``base`` on ``q1``; with some fields changed."""
    row = {
        "id": "q1",
        "category": "tea",
        "difficulty": 0,
        "suite": "small@0123abcd",
        "suite_digest": "d" * 32,
        "turn": 0,
        "model": "mine",
        "revision": "r1",
        "baseline": "base",
        "judge": "judge",
        "judge_model": "judge-0613",
        "kind": "pair_choice",
        "protocol": PROTOCOL,
        "protocol_name": "pairwise",
        "order": "model_first",
        "sample": 0,
        "tries": 1,
        "verdict": "model",
        "reason": "",
        "scores": [],
        "preference": None,
        "characters": 10,
        "baseline_characters": 10,
        "text": "reasons\n[[A]]",
        "logprobs": [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2},
        "usd": None,
    }
    assert row.keys() >= changes.keys()
    return row | changes


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_judgments(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Judgments with their protocol beside them."""
    path = write_rows(folder / f"judged-by-judge-{PROTOCOL}.jsonl", rows)
    place = path.with_name(f"protocol-{PROTOCOL}.json")
    place.write_text(json.dumps({"hash": PROTOCOL, **RECORD}), encoding="utf-8")
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def files_below(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
