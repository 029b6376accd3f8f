"""The append-only record of finished calls: run again = resume, and nothing is paid for twice."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, Self

import orjson

from ultra import files, jsonl
from ultra.chat import ChatModel, Completion, Sampling, Usage
from ultra.errors import InputError
from ultra.schema import Message

SYNC_SECONDS = 0.5


class Journal:
    """A JSONL file of ``{"key", "completion"}``, one line for each finished call.

    A line is written before its completion is used, so a killed process loses none; it is forced to
    the disk at most ``SYNC_SECONDS`` later, which is what a power cut can cost. A torn last line is
    cut off when the journal is opened. Of two lines with one key the first counts.

    Raises:
        OutputError: on opening, if another run is writing to the same journal.
        InputError: on opening, if a line that is not the last one is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, Completion] = {}
        self._made = Usage()
        self._calls = self._recalled = 0
        self._opened = self._synced = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("ab+")
        try:
            files.lock(self._file.fileno(), path)
            self._load()
        except BaseException:
            self._file.close()
            raise

    def get(self, key: str) -> Completion | None:
        """The completion recorded under a key, if any."""
        found = self._found.get(key)
        self._recalled += found is not None
        return found

    def add(self, key: str, completion: Completion) -> Completion:
        """Record a completion; returns the one that counts for this key."""
        if key in self._found:
            return self._found[key]
        self._file.write(jsonl.dump({"key": key, "completion": asdict(completion)}))
        self._file.flush()
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self._sync()
        self._found[key] = completion
        self._calls += 1
        self._made = Usage(
            self._made.prompt_tokens + completion.usage.prompt_tokens,
            self._made.completion_tokens + completion.usage.completion_tokens,
        )
        return completion

    def _log_run(self) -> None:
        run = {
            "host": socket.gethostname(),
            "seconds": round(time.monotonic() - self._opened, 1),
            "calls": self._calls,
            "prompt_tokens": self._made.prompt_tokens,
            "completion_tokens": self._made.completion_tokens,
        }
        if self._calls:
            with self.path.with_name("runs.jsonl").open("ab") as file:
                file.write(jsonl.dump(run))
        print(f"{self._calls:,} calls made, {self._recalled:,} more were in {self.path}")

    def close(self) -> None:
        """Make everything durable and log what this run paid for, however it ends."""
        try:
            self._sync()
            self._log_run()
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _load(self) -> None:
        self._file.seek(0)
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = orjson.loads(line)
                saved = entry["completion"]
                completion = Completion(**{**saved, "usage": Usage(**saved["usage"])})
                self._found.setdefault(entry["key"], completion)
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise InputError(
                    f"{self.path}:{number}: not a journal line ({error}); remove that line"
                ) from error
            whole += len(line)
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)


@asynccontextmanager
async def recorded(model: ChatModel, path: Path) -> AsyncIterator["Journaled"]:
    """A model whose calls are kept in the journal at ``path``, closed when the block ends."""
    with Journal(path) as journal:
        asked = Journaled(model, journal)
        try:
            yield asked
        finally:
            await asked.close()


class Journaled:
    """A chat model whose finished calls are kept in a journal and never made again.

    The key is the whole request: the model's identity, the messages and the sampling. Two equal
    requests in flight share one call.
    """

    def __init__(self, model: ChatModel, journal: Journal) -> None:
        self.model, self.journal = model, journal
        self._flying: dict[str, asyncio.Task[Completion]] = {}

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return self.model.identity

    async def complete(self, messages: list[Message], sampling: Sampling) -> Completion:
        key = jsonl.digest([self.identity, messages, asdict(sampling)])
        found = self.journal.get(key)
        if found is not None:
            return found
        if key not in self._flying:
            self._flying[key] = asyncio.create_task(self._call(key, messages, sampling))
        # Shielded, because whoever else waits for this call still wants it.
        return await asyncio.shield(self._flying[key])

    async def _call(self, key: str, messages: list[Message], sampling: Sampling) -> Completion:
        try:
            return self.journal.add(key, await self.model.complete(messages, sampling))
        finally:
            del self._flying[key]

    async def close(self) -> None:
        """Give up what is still in flight, and close the model."""
        flying = list(self._flying.values())
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        await self.model.close()
