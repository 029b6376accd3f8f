"""What calls cost, and a budget in money, tokens and calls that is never passed."""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

import yaml

from ultra.chat import Sampling, Usage
from ultra.command import did_you_mean
from ultra.errors import BudgetError, InputError, SettingError
from ultra.schema import Message

SHIPPED = Path(__file__).with_name("prices.yaml")

_PER = Decimal(1_000_000)
"""Prices are for a million tokens."""
_DATE = re.compile(r"-(\d{4}|\d{4}-\d{2}-\d{2}|\d{8})")
_MESSAGE_TOKENS = 16
_CALL_TOKENS = 64
"""A chat template frames each message with at most a few special tokens (4 of OpenAI's, 6 of the
longest known to us), and may open with a short system prompt of its own."""


@dataclass(frozen=True)
class Price:
    """USD per million tokens; ``batch`` is the share of it that the Batch API charges."""

    prompt: Decimal
    completion: Decimal
    cached: Decimal
    batch: Decimal = Decimal(1)

    def of(self, usage: Usage, batch: bool = False) -> Decimal:
        """What tokens cost, exactly, in USD."""
        cached = max(0, min(usage.cached_tokens, usage.prompt_tokens))
        millionths = (
            (usage.prompt_tokens - cached) * self.prompt
            + cached * self.cached
            + usage.completion_tokens * self.completion
        )
        return millionths * self.batch / _PER if batch else millionths / _PER


FREE = Price(Decimal(0), Decimal(0), Decimal(0))
"""The price of a model on this machine."""


class Prices:
    """What each model costs."""

    def __init__(self, path: Path, rows: dict[str, Price]) -> None:
        self.path, self._rows = path, rows

    @classmethod
    def load(cls, path: Path | None = None) -> "Prices":
        """Read a file of prices, by default ``ultra/prices.yaml``.

        Raises:
            InputError: it cannot be read, or names the line and key of what is wrong in it.
        """
        path = path or SHIPPED
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise InputError(f"{path}: cannot be read as prices ({why})") from error
        rows: dict[str, Price] = {}
        for name, node in _entries(path, root, "a model's name"):
            if name in rows:
                raise _wrong(path, node, f"{name}: stands there twice")
            rows[name] = _price(path, name, node)
        return cls(path, rows)

    def find(self, model: str) -> Price | None:
        """The price of a model, also by a dated name; None if it is not known."""
        if model in self._rows:
            return self._rows[model]
        for name in sorted(self._rows, key=len, reverse=True):
            if model.startswith(name) and _DATE.fullmatch(model, len(name)):
                return self._rows[name]
        return None

    def require(self, model: str) -> Price:
        """The price of a model for which a budget in money is set.

        Raises:
            SettingError: the file does not know it; the way out is in the message.
        """
        price = self.find(model)
        if price is None:
            raise SettingError(
                f"budget_usd: {self.path} has no price for {model}"
                f"{did_you_mean(model, self._rows)}; add a line, name a file that has one with "
                "--prices, or set --budget-tokens instead"
            )
        return price

    def usd(self, model: str, usage: Usage, batch: bool = False) -> float | None:
        """What tokens cost in USD; None if the price is not known."""
        price = self.find(model)
        return None if price is None else float(price.of(usage, batch))


def _entries(path: Path, node: yaml.Node | None, what: str) -> list[tuple[str, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(path, node, f"expected lines of '{what}: ...'")
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong(path, key, f"expected {what}")
    return [(key.value, value) for key, value in node.value]


def _price(path: Path, model: str, node: yaml.Node) -> Price:
    found: dict[str, Decimal] = {}
    for key, value in _entries(path, node, "prompt"):
        if key not in Price.__dataclass_fields__:
            hint = did_you_mean(key, Price.__dataclass_fields__)
            raise _wrong(path, value, f"{model}: {key} is none of its keys{hint}")
        try:
            number = Decimal(value.value if isinstance(value, yaml.ScalarNode) else "")
        except InvalidOperation:
            number = Decimal(-1)
        if not number.is_finite() or not 0 <= number <= (1 if key == "batch" else _PER):
            most = "1" if key == "batch" else "a million"
            raise _wrong(path, value, f"{model}: {key} is not a number from 0 to {most}")
        found[key] = number
    for key in ("prompt", "completion"):
        if key not in found:
            raise _wrong(path, node, f"{model}: {key} is missing")
    if found.get("cached", Decimal(0)) > found["prompt"]:
        raise _wrong(path, node, f"{model}: cached is more than prompt")
    return Price(**{"cached": found["prompt"], **found})


def _wrong(path: Path, node: yaml.Node | None, what: str) -> InputError:
    return InputError(f"{path}:{node.start_mark.line + 1 if node else 1}: {what}")


def estimate(
    prices: Prices, model: str, calls: int, prompt_tokens: int, completion_tokens: int
) -> str:
    """One line to print before a run; tokens are those of all calls together."""
    usd = prices.usd(model, Usage(prompt_tokens, completion_tokens))
    cost = f"no price for it in {prices.path}" if usd is None else f"about {dollars(usd)}"
    return (
        f"{model}: {calls:,} calls, about {prompt_tokens:,} tokens read and "
        f"{completion_tokens:,} written, {cost}"
    )


def dollars(usd: float | Decimal) -> str:
    """An amount for people: cents, and below a dollar hundredths of them."""
    return f"${usd:,.2f}" if usd >= 1 or not usd else f"${usd:,.4f}"


def bound(messages: Sequence[Message], sampling: Sampling) -> Usage:
    """The most tokens that a call can take.

    A token of a byte-level vocabulary is one byte of UTF-8 or more, so a text has at most as many
    tokens as bytes; a completion has at most ``max_tokens``.
    """
    texts = (message["content"] for message in messages)
    read = sum(len(t) if t.isascii() else len(t.encode("utf-8", "surrogatepass")) for t in texts)
    return Usage(read + _MESSAGE_TOKENS * len(messages) + _CALL_TOKENS, sampling.max_tokens)


class Hold(NamedTuple):
    """What is kept back for calls that are under way, at most: their price and tokens."""

    price: Price | None
    usd: Decimal
    tokens: int
    calls: int
    batch: bool


class Charge(NamedTuple):
    """What calls were counted at; ``usd`` is None if their price is not known."""

    usd: Decimal | None
    tokens: int
    calls: int


class Budget:
    """Money, tokens and calls that this run and those before it may spend; 0 is no limit.

    The most that a call can cost is kept back before it is made, and what it did cost is counted
    after it. So what is spent plus what is kept back never passes the budget, whatever the server
    answers, as long as it keeps to ``max_tokens`` and counts as it charges.

    Args:
        prices: what models cost.
        usd: most money, in US dollars.
        tokens: most tokens, read and written.
        calls: most calls.
    """

    def __init__(self, prices: Prices, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> None:
        self.prices = prices
        self.usd, self.tokens, self.calls = Decimal(0), 0, 0
        """What is spent, runs before this one included; calls without a known price cost 0."""
        self._limits = (Decimal(str(usd)), tokens, calls)
        self._held_usd, self._held_tokens, self._held_calls = Decimal(0), 0, 0
        self._waiting: deque[tuple[Hold, asyncio.Future[None]]] = deque()
        self._over: BudgetError | None = None

    def price(self, model: str) -> Price | None:
        """What a model costs; None if that is not known and no money is limited.

        Raises:
            SettingError: it is not known and money is limited.
        """
        return self.prices.require(model) if self._limits[0] else self.prices.find(model)

    def add(self, usd: float | Decimal | None, usage: Usage, calls: int = 1) -> None:
        """Count what was spent outside :meth:`reserve`, such as by the runs before this one."""
        self.usd += Decimal(str(usd or 0))
        self.tokens += usage.prompt_tokens + usage.completion_tokens
        self.calls += calls

    async def reserve(
        self, price: Price | None, most: Usage, calls: int = 1, batch: bool = False
    ) -> Hold:
        """Keep back what calls can cost at most, once that fits; whoever came first goes first.

        Settle, release or forfeit it when they are over, however they end.

        Raises:
            BudgetError: it does not fit, and nothing is under way that could leave some of its own.
                From then on everybody is told so, and nothing is begun only to be given up; but
                for a batch, whose single calls may fit.
        """
        if self._over is not None:
            raise self._over
        hold = _hold(price, most, calls, batch)
        if not self._waiting and self._short(hold) is None:
            return self._keep(hold)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((hold, turn))
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(hold)
            else:
                self._next()
            raise
        return hold

    def take(self, price: Price | None, most: Usage, calls: int, batch: bool = False) -> Hold:
        """Keep back what is under way already, such as a batch of a run before, without asking."""
        return self._keep(_hold(price, most, calls, batch))

    def settle(self, hold: Hold, usage: Usage, calls: int = 1) -> Charge:
        """Count what calls took.

        A server that does not count tokens is believed nothing: the most that the calls could take
        is counted.
        """
        counted = usage.prompt_tokens > 0 and usage.completion_tokens >= 0
        if calls and not counted and hold.price is not FREE:
            return self.forfeit(hold)
        cost = hold.price.of(usage, hold.batch) if hold.price else None
        self.add(cost, usage, calls)
        self.release(hold)
        return Charge(cost, usage.prompt_tokens + usage.completion_tokens, calls)

    def forfeit(self, hold: Hold) -> Charge:
        """Count calls at the most that they can have cost.

        For those without an answer that the server may have worked on all the same: a timeout, a
        connection that broke, a cancelled wait. Whether it charges them cannot be known, and the
        budget is a promise.
        """
        cost = hold.usd if hold.price else None
        self.add(cost, Usage(hold.tokens), hold.calls)
        self.release(hold)
        return Charge(cost, hold.tokens, hold.calls)

    def release(self, hold: Hold) -> None:
        """Give back what was kept for calls that cost nothing: those that the server refused."""
        self._held_usd -= hold.usd
        self._held_tokens -= hold.tokens
        self._held_calls -= hold.calls
        if self._waiting:
            self._next()

    def _keep(self, hold: Hold) -> Hold:
        self._held_usd += hold.usd
        self._held_tokens += hold.tokens
        self._held_calls += hold.calls
        return hold

    def _next(self) -> None:
        """Let those who wait go, in their order, as far as what is left allows."""
        while self._waiting:
            hold, turn = self._waiting[0]
            if not turn.done():  # done before its turn: cancelled
                short = self._over or self._short(hold)
                if short is not None and short is not self._over and self._held_calls:
                    return
                if not hold.batch:  # where all of a batch does not fit, its single calls may
                    self._over = short
                if short is not None:
                    turn.set_exception(short)
                else:
                    self._keep(hold)
                    turn.set_result(None)
            self._waiting.popleft()

    def _short(self, hold: Hold) -> BudgetError | None:
        """What forbids these calls for now."""
        usd, tokens, calls = self._limits
        if usd and self.usd + self._held_usd + hold.usd > usd:
            spent, of = dollars(self.usd), dollars(usd)
            return _error(hold, "usd", f"{spent} of {of}", f"up to {dollars(hold.usd)}")
        if tokens and self.tokens + self._held_tokens + hold.tokens > tokens:
            spent, of = f"{self.tokens:,}", f"{tokens:,} tokens"
            return _error(hold, "tokens", f"{spent} of {of}", f"up to {hold.tokens:,}")
        if calls and self.calls + self._held_calls + hold.calls > calls:
            return _error(
                hold, "calls", f"{self.calls:,} of {calls:,} calls", f"{hold.calls:,} more"
            )
        return None


def _hold(price: Price | None, most: Usage, calls: int, batch: bool) -> Hold:
    usd = price.of(most, batch) if price else Decimal(0)
    return Hold(price, usd, most.prompt_tokens + most.completion_tokens, calls, batch)


def _error(hold: Hold, limit: str, spent: str, next_one: str) -> BudgetError:
    what = f"the next batch of {hold.calls:,} calls" if hold.batch else "the next call"
    return BudgetError(
        f"budget: {spent} spent, and {what} could take {next_one}; nothing is lost: "
        f"run again with a higher --budget-{limit}"
    )
