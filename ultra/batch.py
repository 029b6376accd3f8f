"""Calls that need no turns, through an endpoint's Batch API: within a day, at half the price.

What is under way is written down beside the journal (:mod:`ultra.batch_parts`) under a token, which
is in the batch's metadata at the endpoint too. So whatever moment a run is killed at, the next one
finds the batch that it paid for: by the id it wrote down, else by the token.
"""

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ultra import chat_answers, command, pool
from ultra.batch_parts import Part, left_over, split, total
from ultra.batch_parts import Request as Request
from ultra.budget import Budget, Hold
from ultra.chat import OpenAIChat, Usage
from ultra.errors import CallError, ModelError, SettingError
from ultra.journal import Journal

if TYPE_CHECKING:  # importing openai costs a second
    from openai import AsyncOpenAI
    from openai.types import Batch

PAUSES = (5.0, 60.0)
"""Seconds between two looks at a batch: at first, and at most."""
PATIENCE = 20
"""How many looks in a row may fail before a run gives up; the batch goes on without it."""

_MARK = "ultra_batch"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_DAY = 86_400


async def fill(
    chat: OpenAIChat, requests: Iterable[Request], journal: Journal, budget: Budget
) -> None:
    """Put completions into the journal that are not there yet, and wait until they are.

    What the endpoint refuses or does not do in time is left out, and is there to be asked for in
    the normal way. Batches of runs before this one are waited for if they hold anything wanted.

    Raises:
        BudgetError: all that is asked for could cost more than is left; nothing is asked.
        SettingError: the endpoint has no Batch API.
        ModelError: the endpoint cannot be reached, or refuses a batch as a whole.
    """
    folder = journal.path.with_name("batches")
    client = chat.client()
    known = [part for part in left_over(folder) if part.identity == chat.identity]
    async with _explained(chat):
        under_way = await _recover(client, known, folder)
    wanted, parts = split(chat, requests, journal, under_way, folder)
    run = _Run(chat, client, journal, budget, folder)
    await pool.for_each([*wanted, *parts], run.carry, len(wanted) + len(parts) or 1)


async def _recover(client: "AsyncOpenAI", parts: list[Part], folder: Path) -> list[Part]:
    """Find the batches whose ids were not written down any more; forget what never was one."""
    found = []
    for part in parts:
        batch = part.batch or await _find(client, part)
        if batch:
            found.append(part if part.batch else part.with_batch(batch, folder))
        else:
            part.forget(folder)
    return found


async def _find(client: "AsyncOpenAI", part: Part) -> str:
    async for batch in client.batches.list(limit=100):
        if (batch.metadata or {}).get(_MARK) == part.token:
            return batch.id
        if batch.created_at < part.made - _DAY:  # newest first; clocks may differ
            break
    return ""


@dataclass(frozen=True)
class _Run:
    """What each part needs on its way."""

    chat: OpenAIChat
    client: "AsyncOpenAI"
    journal: Journal
    budget: Budget
    folder: Path

    async def carry(self, part: Part) -> None:
        """Bring one part to its end: asked for, waited for, in the journal."""
        async with _explained(self.chat):
            await self._carry(part)

    async def _carry(self, part: Part) -> None:
        price = self.budget.price(self.chat.name)
        if part.batch:
            hold = self.budget.take(price, part.most, part.calls, batch=True)
        else:
            hold = await self.budget.reserve(price, part.most, part.calls, batch=True)
            part = await self._create(part.save(self.folder))
        batch = await self._wait(part)
        if batch.status == "failed":
            self.budget.release(hold)
            part.forget(self.folder)
            raise ModelError(_why_failed(batch))
        used, ends = await self._collect(part, batch, hold)
        answered = ends.pop("answered", 0)
        charged = self.budget.settle(hold, _at_least(used, batch), answered)
        shown = hold.price.of(used, batch=True) if hold.price else Decimal(0)
        self.journal.charge(
            None if charged.usd is None else charged.usd - shown,
            charged.tokens - used.prompt_tokens - used.completion_tokens,
            charged.calls - answered,
        )
        self.journal.sync()
        part.forget(self.folder)
        _say(f"{batch.id}: {answered:,} of {part.calls:,} answered" + _left(part, answered, ends))

    async def _create(self, part: Part) -> Part:
        """Create the batch once, even if the answer to that is lost."""
        import openai

        upload = await self.client.files.create(file=part.requests(self.folder), purpose="batch")
        once = self.client.with_options(max_retries=0)
        for pause in (*PAUSES, None):
            try:
                batch = await once.batches.create(
                    input_file_id=upload.id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={_MARK: part.token},
                )
                return part.with_batch(batch.id, self.folder)
            except (openai.APIConnectionError, openai.InternalServerError):
                await asyncio.sleep(pause or 0)  # it may have come to be, and show a little later
                found = await _find(self.client, part)
                if found:
                    return part.with_batch(found, self.folder)
                if pause is None:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _wait(self, part: Part) -> "Batch":
        """Look at the batch until it has ended, ever more seldom."""
        import openai

        pause, failures, said = PAUSES[0], 0, ""
        while True:
            try:
                batch = await self.client.batches.retrieve(part.batch)
            except openai.NotFoundError as error:
                raise ModelError(
                    f"{part.batch}: the endpoint does not know this batch any more; remove "
                    f"{part.state(self.folder)} to ask and pay for its answers again"
                ) from error
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
                failures += 1
                if failures == PATIENCE:
                    raise
            else:
                failures, counts = 0, batch.request_counts
                done = counts.completed + counts.failed if counts else 0
                now = f"{batch.id}: {batch.status}, {done:,} of {part.calls:,} calls done"
                if now != said:
                    _say(now)
                said = now
                if batch.status in _ENDED:
                    return batch
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, PAUSES[1])

    async def _collect(self, part: Part, batch: "Batch", hold: Hold) -> tuple[Usage, Counter[str]]:
        """Write what was answered to the journal; returns its tokens, and how calls ended."""
        missing, used, ends = set(part.keys(self.folder)), Usage(), Counter[str]()
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            async for row in self._rows(file):
                key = row.get("custom_id")
                if key not in missing:
                    continue
                missing.remove(key)
                try:
                    completion = self.chat.read(_body(row))
                except CallError as error:
                    ends[error.reason] += 1
                    continue
                ends["answered"] += 1
                used = total(used, completion.usage)
                usd = float(hold.price.of(completion.usage, batch=True)) if hold.price else None
                self.journal.add(key, replace(completion, usd=usd))
        return used, ends

    async def _rows(self, file: str) -> AsyncIterator[dict[str, Any]]:
        """The objects of a file at the endpoint; a line that is none is left out."""
        path = self.folder / f".{file}.tmp"
        try:
            async with self.client.files.with_streaming_response.content(file) as answer:
                await answer.stream_to_file(path)
            with path.open("rb") as lines:
                for line in lines:
                    with contextlib.suppress(ValueError, RecursionError):
                        row = chat_answers.parse(line)
                        if isinstance(row, dict):
                            yield row
        finally:
            path.unlink(missing_ok=True)


def _body(row: dict[str, Any]) -> dict[str, Any]:
    """The completion in a line of results.

    Raises:
        CallError: there is none; ``reason`` is the endpoint's word for why.
    """
    answer = row.get("response")
    body = answer.get("body") if isinstance(answer, dict) else None
    if isinstance(answer, dict) and answer.get("status_code") == 200 and isinstance(body, dict):
        return body
    error = row.get("error") or (body.get("error") if isinstance(body, dict) else None)
    code = error.get("code") if isinstance(error, dict) else None
    raise CallError("refused in a batch", code if isinstance(code, str) else "refused")


def _at_least(used: Usage, batch: "Batch") -> Usage:
    """The tokens of answers read, or those that the endpoint counted if that is more."""
    told = batch.usage
    if told is None:
        return used
    return Usage(
        max(used.prompt_tokens, told.input_tokens),
        max(used.completion_tokens, told.output_tokens),
        used.cached_tokens,
    )


def _why_failed(batch: "Batch") -> str:
    errors = (batch.errors and batch.errors.data) or []
    why = "; ".join(f"{error.code}: {error.message}" for error in errors[:3])
    return f"{batch.id}: refused ({why}); run again later, or without --batch"


def _left(part: Part, answered: int, ends: Counter[str]) -> str:
    if answered == part.calls:
        return ""
    why = ", ".join(f"{reason} {count:,}" for reason, count in ends.most_common(5))
    return f", {part.calls - answered:,} left for the normal way" + (f" ({why})" if why else "")


def _say(line: str) -> None:
    print(command.printable(line), file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def _explained(chat: OpenAIChat) -> AsyncIterator[None]:
    """Errors of the openai package as ours, without the key that an endpoint may quote."""
    import openai

    try:
        yield
    except openai.NotFoundError as error:
        raise SettingError(
            f"batch: the endpoint of {chat.name} has no Batch API; run without --batch"
        ) from error
    except openai.OpenAIError as error:
        said = " ".join(str(error)[:2000].split()).replace(chat.client().api_key, "***")[:300]
        raise ModelError(
            f"batch: {said}; run again and it goes on from there, or run without --batch"
        ) from error
