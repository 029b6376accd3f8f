"""The append-only record of finished calls: run again = resume, and nothing is paid for twice."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import orjson
import xxhash

from ultra import files, jsonl
from ultra.chat import ChatModel, Completion, Sampling, Usage
from ultra.errors import InputError
from ultra.schema import Message

if TYPE_CHECKING:  # importing numpy costs a tenth of a second that --help does not need
    import numpy as np
    from numpy.typing import NDArray

SYNC_SECONDS = 0.5
_RECENT = 2**18


def keyed(identity: str, messages: list[Message], sampling: Sampling) -> tuple[str, list[Message]]:
    """What a call is found by, which is all that its answer depends on, and what is sent.

    Halves of surrogate pairs can be no part of a request; they are replaced.
    """
    try:
        return _key(identity, messages, sampling), messages
    except TypeError:  # half a surrogate pair
        sent: list[Message] = [
            {"role": turn["role"], "content": jsonl.scrub(turn["content"])} for turn in messages
        ]
        return _key(identity, sent, sampling), sent


def _key(identity: str, messages: list[Message], sampling: Sampling) -> str:
    return xxhash.xxh3_128_hexdigest(
        orjson.dumps([identity, messages, sampling], option=orjson.OPT_SORT_KEYS)
    )


class Paid(NamedTuple):
    """What calls took. ``usd`` leaves out the ``unpriced`` ones."""

    calls: int = 0
    unpriced: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0

    def plus(self, usage: Usage, usd: float | None, calls: int = 1) -> "Paid":
        return Paid(
            self.calls + calls,
            self.unpriced + (calls if usd is None else 0),
            self.prompt_tokens + usage.prompt_tokens,
            self.completion_tokens + usage.completion_tokens,
            self.usd + (usd or 0.0),
        )


class Journal:
    """A JSONL file of ``{"key", "usd", "completion"}``, one line for each finished call.

    What a server may charge without a completion to show for it has a line
    ``{"usd", "charged": {"calls", "tokens"}}``, so that later runs count it too.

    A line is written before its completion is used, so a killed process loses none; what the calls
    in flight may be charged is lost with them. A line is forced to the disk at most
    ``SYNC_SECONDS`` later, which is what a power cut can cost. A torn last line is cut off when the
    journal is opened. Of two lines with one key the first counts. Memory holds where each line
    begins, 16 bytes for it; the texts stay in the file.

    Raises:
        OutputError: on opening, if another run is writing to the same journal.
        InputError: on opening, if a line that is not the last one is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = Paid()
        """What the runs before this one paid for, or may be charged."""
        self.paid = Paid()
        """What this run paid for, or may be charged."""
        self.recalled = 0
        """Calls that this run found here, made by one before it."""
        self._places = _Places()
        self._opened = time.monotonic()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            files.lock(self._file, path)
            self._end = self._begun = self._load()
        except BaseException:
            os.close(self._file)
            raise
        self._syncing = _Syncing(self._file)

    def get(self, key: str) -> Completion | None:
        """The completion recorded under a key, if any."""
        found = self._read(key)
        self.recalled += found is not None and (self._places.get(key) or 0) < self._begun
        return found

    def holds(self, key: str) -> bool:
        """Whether a completion is recorded under a key."""
        return self._read(key) is not None

    def add(self, key: str, completion: Completion) -> Completion:
        """Record a completion and its cost; returns the one that counts for this key."""
        earlier = self._read(key)
        if earlier is not None:
            return earlier
        saved = dict(vars(completion))
        place = self._append({"key": key, "usd": saved.pop("usd"), "completion": saved})
        self._places.add(key, place)
        self.paid = self.paid.plus(completion.usage, completion.usd)
        return completion

    def charge(self, usd: Decimal | None, tokens: int, calls: int) -> None:
        """Record what may be charged beyond what completions show, if anything."""
        if usd or tokens or calls:
            cost = None if usd is None else float(usd)
            self._append({"usd": cost, "charged": {"calls": calls, "tokens": tokens}})
            self.paid = self.paid.plus(Usage(tokens), cost, calls)

    def _append(self, entry: dict[str, Any]) -> int:
        """Write a line; returns where it begins."""
        line, place = jsonl.dump(entry), self._end
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(28, "No space left on device", str(self.path))
        except OSError:
            os.ftruncate(self._file, place)  # the next line must not follow half a line
            raise
        self._end += len(line)
        self._syncing.soon()
        return place

    def sync(self) -> None:
        """Make all lines so far survive a power cut."""
        os.fsync(self._file)

    def close(self) -> None:
        """Make everything durable and log what this run paid for, however it ends."""
        try:
            self._syncing.close()
            self.sync()
            self._log_run()
        finally:
            os.close(self._file)
            self._file = -1  # calls given up late must not write to what gets this number next

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, key: str) -> Completion | None:
        place = self._places.get(key)
        if place is None:
            return None
        line, size = b"", 4096
        while not line.endswith(b"\n"):
            line = os.pread(self._file, size, place)
            line, size = line[: line.find(b"\n") + 1] or line, 4 * size
        entry = orjson.loads(line)
        return _completion(entry) if entry["key"] == key else None

    def _load(self) -> int:
        """Find the lines; returns where the whole ones end, behind which all is cut off."""
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = orjson.loads(line)
                    if "charged" in entry:
                        charged = entry["charged"]
                        usage, calls = Usage(charged["tokens"]), charged["calls"]
                    else:
                        usage, calls = _completion(entry).usage, 1
                        self._places.add(entry["key"], end)
                    self.before = self.before.plus(usage, entry.get("usd"), calls)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise InputError(
                        f"{self.path}:{number}: not a journal line ({error}); remove that line"
                    ) from error
                end += len(line)
        os.ftruncate(self._file, end)
        return end

    def _log_run(self) -> None:
        seconds = round(time.monotonic() - self._opened, 1)
        run = {"host": socket.gethostname(), "seconds": seconds, **self.paid._asdict()}
        if self.paid.calls:
            with self.path.with_name("runs.jsonl").open("ab") as file:
                file.write(jsonl.dump(run))
        print(f"{self.paid.calls:,} calls made, {self.recalled:,} more were in {self.path}")


def _completion(entry: Mapping[str, Any]) -> Completion:
    saved = entry["completion"]
    return Completion(**{**saved, "usage": Usage(**saved["usage"]), "usd": entry.get("usd")})


class _Places:
    """Where lines begin, by the hash of their key: new ones in a dict, the many in sorted arrays.

    Two keys that share a hash share its first place, and whoever reads there sees which it is: of
    ten million the chance is 3 in a million, and costs one call made again.
    """

    def __init__(self) -> None:
        self._recent: dict[int, int] = {}
        self._hashes: NDArray[np.uint64] | None = None
        self._starts: NDArray[np.int64] | None = None

    def get(self, key: str) -> int | None:
        hash_ = xxhash.xxh3_64_intdigest(key.encode())
        place = self._recent.get(hash_)
        if place is None and self._hashes is not None and self._starts is not None:
            index = self._hashes.searchsorted(self._hashes.dtype.type(hash_))
            if index < len(self._hashes) and int(self._hashes[index]) == hash_:
                place = int(self._starts[index])
        return place

    def add(self, key: str, place: int) -> None:
        if self.get(key) is None:
            self._recent[xxhash.xxh3_64_intdigest(key.encode())] = place
            if len(self._recent) == _RECENT:
                self._merge()

    def _merge(self) -> None:
        import numpy as np

        hashes = np.fromiter(self._recent.keys(), np.uint64, len(self._recent))
        starts = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        if self._hashes is not None and self._starts is not None:
            hashes = np.concatenate([self._hashes, hashes])
            starts = np.concatenate([self._starts, starts])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._starts = hashes[order], starts[order]
        self._recent.clear()


class _Syncing:
    """A thread that forces a file to the disk within ``SYNC_SECONDS`` of being asked to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._asked, self._closing = threading.Event(), threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def soon(self) -> None:
        """Ask for it; raises what the disk said last time."""
        if self._error is not None:
            raise self._error
        if not self._asked.is_set():
            self._asked.set()
            if self._thread.ident is None:
                self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._asked.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while self._asked.wait() and not self._closing.wait(SYNC_SECONDS):
            self._asked.clear()
            if self._closing.is_set():  # what close() asked for may just have been cleared
                return
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                self._error = error


def _retrieve(task: "asyncio.Task[Completion]") -> None:
    """Take note of an error that everybody who waited for it was cancelled before."""
    if not task.cancelled():
        task.exception()


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
        key, messages = keyed(self.identity, messages, sampling)
        flying = self._flying.get(key)
        if flying is None:
            found = self.journal.get(key)
            if found is not None:
                return found
            flying = asyncio.create_task(self._call(key, messages, sampling))
            flying.add_done_callback(_retrieve)
            self._flying[key] = flying
        # Shielded, because whoever else waits for this call still wants it.
        return await asyncio.shield(flying)

    async def _call(self, key: str, messages: list[Message], sampling: Sampling) -> Completion:
        try:
            return self.journal.add(key, await self.call(messages, sampling))
        finally:
            del self._flying[key]

    async def call(self, messages: list[Message], sampling: Sampling) -> Completion:
        """Make a call that is not in the journal."""
        return await self.model.complete(messages, sampling)

    async def close(self) -> None:
        """Give up what is still in flight, and close the model."""
        flying = list(self._flying.values())
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        await self.model.close()
