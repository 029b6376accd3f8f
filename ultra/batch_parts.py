"""What batches hold, on the disk: the requests as they are sent, and what is known of each batch.

The folder ``batches`` beside the journal has two files for each batch under way: ``TOKEN.jsonl``,
its requests, and ``TOKEN.json``, a :class:`Part`.
"""

import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from ultra import files, jsonl
from ultra.budget import bound
from ultra.chat import OpenAIChat, Sampling, Usage
from ultra.errors import InputError
from ultra.journal import Journal
from ultra.schema import Message

MOST_CALLS = 50_000
MOST_BYTES = 200_000_000
"""Of one batch: https://developers.openai.com/api/docs/guides/batch."""

_PROCESS = secrets.token_hex(8)
"""Tokens begin with that of the process that made them: it has them in its own hands."""


@dataclass(frozen=True)
class Request:
    """A call to make, and the key of its completion in the journal."""

    key: str
    messages: list[Message]
    sampling: Sampling


@dataclass(frozen=True)
class Part:
    """What one batch holds; ``batch`` is its id at the endpoint, empty until that is known."""

    token: str
    identity: str
    made: int
    calls: int
    most: Usage
    batch: str = ""

    def requests(self, folder: Path) -> Path:
        return folder / f"{self.token}.jsonl"

    def state(self, folder: Path) -> Path:
        return folder / f"{self.token}.json"

    def keys(self, folder: Path) -> list[str]:
        return [line["custom_id"] for line in jsonl.read(self.requests(folder))]

    def save(self, folder: Path) -> "Part":
        files.write_text(self.state(folder), orjson.dumps(asdict(self)).decode())
        return self

    def with_batch(self, batch: str, folder: Path) -> "Part":
        """The same, its id written down."""
        return Part(**{**vars(self), "batch": batch}).save(folder)

    def forget(self, folder: Path) -> None:
        self.state(folder).unlink()
        self.requests(folder).unlink(missing_ok=True)


def left_over(folder: Path) -> list[Part]:
    """What runs before this one wrote down; requests whose part never was are swept up."""
    parts = []
    left = {path for path in folder.glob("*.json*") if not path.name.startswith(_PROCESS)}
    for path in sorted(path for path in left if path.suffix == ".json"):
        try:
            found = orjson.loads(path.read_bytes())
            parts.append(Part(**{**found, "most": Usage(**found["most"])}))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: tells of no batch ({error}); remove it, and what was paid for is asked "
                "for and paid again"
            ) from error
    kept = {path for part in parts for path in (part.requests(folder), part.state(folder))}
    for path in left - kept:
        path.unlink()
    return parts


def split(
    chat: OpenAIChat,
    requests: Iterable[Request],
    journal: Journal,
    under_way: list[Part],
    folder: Path,
) -> tuple[list[Part], list[Part]]:
    """The parts under way that hold anything wanted, and new ones for all the rest."""
    home = {key: part for part in under_way for key in part.keys(folder)}
    wanted: dict[str, Part] = {}
    seen: set[str] = set()

    def missing() -> Iterator[Request]:
        for request in requests:
            if request.key in home:
                part = home[request.key]
                wanted[part.token] = part
            elif request.key not in seen and not journal.holds(request.key):
                seen.add(request.key)
                yield request

    parts, rest = [], missing()
    request = next(rest, None)
    while request is not None:
        token, calls, size, most = _PROCESS + secrets.token_hex(8), 0, 0, Usage()
        with files.atomic(folder / f"{token}.jsonl") as file:
            while request is not None:
                line = _line(chat, request)
                if calls and (calls == MOST_CALLS or size + len(line) > MOST_BYTES):
                    break
                file.write(line)
                calls, size = calls + 1, size + len(line)
                most = total(most, bound(request.messages, request.sampling))
                request = next(rest, None)
        parts.append(Part(token, chat.identity, int(time.time()), calls, most))
    return list(wanted.values()), parts


def _line(chat: OpenAIChat, request: Request) -> bytes:
    return jsonl.dump(
        {
            "custom_id": request.key,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": chat.body(request.messages, request.sampling),
        }
    )


def total(one: Usage, other: Usage) -> Usage:
    """The tokens of both."""
    return Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.completion_tokens + other.completion_tokens,
        one.cached_tokens + other.cached_tokens,
    )
