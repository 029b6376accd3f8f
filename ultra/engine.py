"""Many calls to chat models at once: journaled, limited, retried, and within a budget.

::

    async with engine.session(settings, run) as session:
        model = session.model(chat)
        await session.for_each(items, work, total, "dialogues")
"""

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import NoReturn, TypeVar

from tqdm import tqdm

from ultra import batch, pool
from ultra.budget import FREE, Budget, Prices, bound, dollars
from ultra.chat import (
    BROKEN,
    LIMITED,
    UNREACHABLE,
    ChatModel,
    Completion,
    OpenAIChat,
    Sampling,
    Usage,
)
from ultra.errors import CallError, ModelError, PassingError, SettingError
from ultra.journal import Journal, Journaled, keyed
from ultra.limits import Gate, Health
from ultra.schema import Message

TRIES = 6
"""Of a call whose failure may pass; refusals by a rate limit (429) do not count."""
FIRST_TRIES = 3
"""Of connections to an endpoint that has not answered yet."""
WAIT, LONGEST_WAIT = 0.5, 30.0
"""Before try n + 1 a call sleeps up to WAIT * 2**n seconds, a random time (full jitter)."""
PATIENCE = 600.0
"""Seconds after which an endpoint that refuses every call (429) is given up."""
_WINDOW = 4
"""How many times the concurrency ``size`` looks ahead."""

tqdm.monitor_interval = 0
"""Its thread wakes bars that do not move; ours is drawn each second, and threads end untidily."""

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What bounds the calls of a command; base of the settings of all that talk to models."""

    concurrency: int = 64
    """Most dialogues, questions or judgments under way, and most calls in flight."""
    requests_per_minute: int = 0
    """Most calls begun in a minute at one endpoint and model; 0 is as many as it takes."""
    tokens_per_minute: int = 0
    """Most tokens, read and written, in a minute likewise; 0 is no limit."""
    budget_usd: float = 0.0
    """Most money to spend over all runs with this journal, in US dollars; 0 is no limit."""
    budget_tokens: int = 0
    """Most tokens, read and written, likewise."""
    budget_calls: int = 0
    """Most calls, likewise."""
    prices: Path | None = None
    """YAML file of prices; by default ultra/prices.yaml."""
    batch: bool = False
    """Make calls that need no turns through the endpoint's Batch API, at half the price."""

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise SettingError(f"concurrency: {self.concurrency} is not 1 or more")
        rates = ("requests_per_minute", "tokens_per_minute")
        for name in (*rates, "budget_usd", "budget_tokens", "budget_calls"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise SettingError(f"{name}: {getattr(self, name)} is not 0 or more")


@dataclass(frozen=True)
class Spent:
    """What a session has paid for, or may be charged: calls that broke or were given up count with
    the most that they can have cost. ``recalled`` calls were in the journal and cost nothing.
    """

    calls: int = 0
    recalled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


@asynccontextmanager
async def session(limits: Limits, run: Path, label: str = "") -> AsyncIterator["Session"]:
    """Open the run folder ``run`` (``journal.jsonl``, ``runs.jsonl``) for one command.

    What the runs before this one spent counts towards the budget.

    Raises:
        OutputError: another run is writing there.
        InputError: the journal or the file of prices is broken.
    """
    prices = Prices.load(limits.prices)
    with Journal(run / "journal.jsonl") as journal:
        opened = Session(limits, journal, prices, label)
        try:
            yield opened
        finally:
            await opened.close()


class Session:
    """The models and the work of one run; made by :func:`session`."""

    def __init__(self, limits: Limits, journal: Journal, prices: Prices, label: str) -> None:
        self.limits, self.journal, self.label = limits, journal, label
        self.budget = Budget(prices, limits.budget_usd, limits.budget_tokens, limits.budget_calls)
        past = journal.before
        self.budget.add(past.usd, Usage(past.prompt_tokens, past.completion_tokens), past.calls)
        self._endpoints: dict[str, _Endpoint] = {}
        self._models: list[_SessionModel] = []

    def model(self, chat: ChatModel) -> ChatModel:
        """The model as this session asks it; closed with the session.

        Models of one identity share what was learned of how many calls they can take. Of equal
        requests one is made.

        Raises:
            SettingError: a budget in money is set, and the model's price is not known.
        """
        endpoint = self._endpoints.get(chat.identity)
        if endpoint is None:
            endpoint = self._endpoints[chat.identity] = _Endpoint(self.limits)
        model = _SessionModel(chat, self.journal, endpoint, self.budget)
        self._models.append(model)
        return model

    async def for_each(
        self,
        items: Iterable[T],
        work: Callable[[T], Awaitable[None]],
        total: int,
        unit: str,
        size: Callable[[T], int] | None = None,
    ) -> None:
        """Do ``work`` on every item, ``limits.concurrency`` at a time, without a barrier.

        Items are taken one by one, the largest by ``size`` first of those within reach.

        Raises:
            UltraError, OSError: the first that ``work`` raised, after all others are cancelled.
        """
        concurrency = self.limits.concurrency
        if size is not None:
            items = pool.longest_first(items, size, _WINDOW * concurrency)
        with tqdm(desc=self.label or None, total=total, unit=f" {unit}", disable=None) as bar:

            async def counted(item: T) -> None:
                await work(item)
                bar.update()

            start = self._counted()
            line = asyncio.create_task(self._keep_line(bar))
            try:
                await pool.for_each(items, counted, concurrency)
            finally:
                line.cancel()
                with suppress(asyncio.CancelledError):
                    await line
                if not bar.disable:
                    bar.set_postfix_str(self._line(start), refresh=True)

    async def fill(
        self, chat: ChatModel, requests: Iterable[tuple[list[Message], Sampling]]
    ) -> None:
        """Put these completions into the journal through the Batch API, at half the price.

        Does nothing for a model without an endpoint. What the batch leaves out is asked in the
        normal way later.
        """
        while isinstance(chat, Journaled):
            chat = chat.model
        if not isinstance(chat, OpenAIChat):
            return
        identity = chat.identity
        wanted = (
            batch.Request(*keyed(identity, messages, sampling), sampling)
            for messages, sampling in requests
        )
        await batch.fill(chat, wanted, self.journal, self.budget)

    @property
    def spent(self) -> Spent:
        """What this session has paid for so far; calls without a known price cost nothing here."""
        paid = self.journal.paid
        tokens = (paid.prompt_tokens, paid.completion_tokens)
        return Spent(paid.calls, self.journal.recalled, *tokens, paid.usd)

    async def close(self) -> None:
        """Give up what is in flight, and close the models."""
        for model in self._models:
            await model.close()

    async def _keep_line(self, bar: "tqdm[NoReturn]") -> None:
        past = deque([self._counted()], maxlen=20)
        while not bar.disable:
            bar.set_postfix_str(self._line(past[0]), refresh=True)
            await asyncio.sleep(1.0)
            past.append(self._counted())

    def _counted(self) -> tuple[float, int, int]:
        """Seconds of a clock, calls and tokens."""
        paid = self.journal.paid
        return time.monotonic(), paid.calls, paid.prompt_tokens + paid.completion_tokens

    def _line(self, since: tuple[float, int, int]) -> str:
        """Speed since then, cost of all calls, and calls in flight."""
        paid, now = self.journal.paid, self._counted()
        seconds = max(now[0] - since[0], 1e-9)
        calls, tokens = ((now[i] - since[i]) / seconds for i in (1, 2))
        gates = [endpoint.gate for endpoint in self._endpoints.values()]
        flight = sum(gate.in_flight for gate in gates)
        limit = sum(gate.adaptive.limit for gate in gates)
        cost = f"{dollars(paid.usd)}, " if paid.usd else ""
        unknown = "price unknown, " if paid.unpriced else ""
        return (
            f"{paid.calls:,} calls, {calls:,.1f}/s, {tokens:,.0f} tokens/s, {cost}{unknown}"
            f"{flight}/{limit} in flight"
        )


class _Endpoint:
    """What is known of one endpoint and model."""

    def __init__(self, limits: Limits) -> None:
        self.gate = Gate(limits.concurrency, limits.requests_per_minute, limits.tokens_per_minute)
        self.health = Health()
        self.limited_since: float | None = None


class _SessionModel(Journaled):
    """A chat model as a session asks it."""

    def __init__(
        self, chat: ChatModel, journal: Journal, endpoint: _Endpoint, budget: Budget
    ) -> None:
        super().__init__(chat, journal)
        self._endpoint, self._budget = endpoint, budget
        free = chat.identity.startswith(("demo ", "local "))
        self._price = FREE if free else budget.price(chat.name)

    async def call(self, messages: list[Message], sampling: Sampling) -> Completion:
        """Try until there is an answer or no hope of one.

        Raises:
            CallError: this call failed for good.
            ModelError: no later call can succeed, or most of the last ones failed.
        """
        try:
            found = await self._tries(messages, sampling)
        except CallError as error:
            sick = self._endpoint.health.count(failed=True)
            if sick:
                raise ModelError(f"{error} ({sick}; stopped, run again to go on)") from error
            raise
        self._endpoint.health.count(failed=False)
        return found

    async def _tries(self, messages: list[Message], sampling: Sampling) -> Completion:
        most = bound(messages, sampling)
        tries, waits = 0, 0
        for waits in itertools.count():
            try:
                return await self._try(messages, sampling, most)
            except PassingError as error:
                tries += error.kind != LIMITED
                self._give_up(error, tries)
                pause = random.uniform(0, min(LONGEST_WAIT, WAIT * 2 ** min(waits, 10)))
            await asyncio.sleep(pause)  # outside the gate: others go on meanwhile
        raise AssertionError("counts for ever")

    def _give_up(self, error: PassingError, tries: int) -> None:
        """Raise what ends the call, if that is due after so many tries."""
        endpoint, now = self._endpoint, asyncio.get_running_loop().time()
        if error.kind == UNREACHABLE and not endpoint.health.answers and tries >= FIRST_TRIES:
            raise ModelError(str(error)) from error
        if error.kind == LIMITED:
            if endpoint.limited_since is None:
                endpoint.limited_since = now
            if now - endpoint.limited_since > PATIENCE:
                raise ModelError(f"{error} (for {PATIENCE:.0f} s now; run again later)") from error
        elif tries >= TRIES:
            raise CallError(f"{error}, in {tries} tries", error.reason) from error

    async def _try(self, messages: list[Message], sampling: Sampling, most: Usage) -> Completion:
        """Make the call once, in its turn and within the budget."""
        gate = self._endpoint.gate
        # Of a byte of text the bound counts a token; of English it is a quarter of one.
        estimate, used = most.prompt_tokens // 4 + most.completion_tokens, 0
        started = await gate.enter(len(messages), estimate)
        try:
            completion = await self._within_budget(messages, sampling, most)
            used = completion.usage.prompt_tokens + completion.usage.completion_tokens
            gate.answered(used)
            self._endpoint.limited_since = None
            return completion
        except PassingError as error:
            if error.kind == LIMITED:
                gate.refused(started, error.after)
            raise
        finally:
            gate.leave(estimate, used)

    async def _within_budget(
        self, messages: list[Message], sampling: Sampling, most: Usage
    ) -> Completion:
        hold = await self._budget.reserve(self._price, most)
        try:
            completion = await self.model.complete(messages, sampling)
        except BaseException as error:
            broken = isinstance(error, PassingError) and error.kind == BROKEN
            if isinstance(error, CallError | ModelError) and not broken:
                self._budget.release(hold)
            else:  # broken, or cancelled: the server may work on, and charge
                self.journal.charge(*self._budget.forfeit(hold))
            raise
        usd, tokens, _ = self._budget.settle(hold, completion.usage)
        counted = completion.usage.prompt_tokens + completion.usage.completion_tokens
        self.journal.charge(Decimal(0), tokens - counted, 0)
        return replace(completion, usd=None if usd is None else float(usd))
