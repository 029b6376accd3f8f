"""How many calls one endpoint and model get at a time, and which of those that wait goes next.

How many it can serve is not known, so it is found out while calls run. An epoch is as many answers
as calls may be in flight, about one round trip. As in TCP's slow start the limit doubles in each
epoch until, two epochs in a row, twice the calls in flight brought less than a quarter more answers
(the exit of BBR's startup, Cardwell et al. 2016): the server queues, as vLLM does, and the lowest
limit that reached nine tenths of the best goodput is kept. From then on half as many more are tried
now and then, and kept if goodput follows; where goodput falls away, so does the limit. A refusal
(429) cuts the limit once for all calls that were in flight, and where it came is remembered as the
ceiling, to come near to with care.
"""

import asyncio
import heapq
from collections import deque
from typing import NamedTuple

START = 16
"""Calls in flight at first."""
CUT = 0.7
"""What a burst of refusals leaves of the limit."""
HOLD = 8
"""Epochs until more is tried; twice as many after each time it did not help."""
_GROWTH = 1.25
"""What twice the calls in flight must bring at least, or the server queues."""
_STEP = 1.5
_LEAST = 0.5
"""Shortest epoch in seconds: over less, hiccups of this machine decide what is measured."""


class _Goodput(NamedTuple):
    """Answers and tokens a second; tokens because answers differ in length."""

    answers: float
    tokens: float

    def over(self, other: "_Goodput") -> float:
        """How many times the other this is, by the measure that grew more."""
        tokens = self.tokens / other.tokens if other.tokens else 0.0
        return max(self.answers / other.answers, tokens)


class AdaptiveLimit:
    """The number of calls that may be in flight; times are seconds of one clock."""

    def __init__(self, most: int, now: float) -> None:
        self.most, self.limit = most, min(START, most)
        self.ceiling = 0
        """Calls in flight at the last burst of refusals; 0 before the first."""
        self._starting = True
        self._levels: list[tuple[int, _Goodput]] = []
        self._base: _Goodput | None = None
        self._before = 0
        """The limit to go back to if what is being tried does not help; 0: nothing is."""
        self._hold = self._left = HOLD
        self._low = self._stalls = 0
        self._cut_at = float("-inf")
        self._begin(now)

    def answered(self, now: float, tokens: int, full: bool) -> None:
        """Count an answer; ``full`` says whether more calls would be in flight if they could."""
        self._answers += 1
        self._tokens += tokens
        self._full += full
        if full and self._starting and self.limit < min(self.most, 2 * self._size):
            self.limit += 1
        if self._answers >= self._size and now - self._began >= _LEAST:
            elapsed = now - self._began
            if self._full >= 0.8 * self._answers:  # else the limit is not what limits
                self._judge(_Goodput(self._answers / elapsed, self._tokens / elapsed))
            self._begin(now)

    def refused(self, now: float, started: float, in_flight: int) -> None:
        """Cut the limit, unless the call was already in flight at the last cut."""
        if started < self._cut_at:
            return
        self._cut_at = now
        self.ceiling = min(self.limit, max(in_flight, 1))
        self.limit = max(1, int(self.ceiling * CUT))
        self._starting, self._before, self._base = False, 0, None
        self._left = self._hold
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._began, self._size = now, self.limit
        self._answers = self._tokens = self._full = 0

    def _judge(self, goodput: _Goodput) -> None:
        if self._starting:
            self._start(goodput)
        elif self.limit < self.ceiling:
            self.limit += max(1, (self.ceiling - self.limit) // 4)
        elif self._before and self._base:
            self._try(goodput, self._base)
        else:
            self._keep(goodput)

    def _start(self, goodput: _Goodput) -> None:
        size = self._size
        half = [found for limit, found in self._levels if limit <= size / 2]
        self._levels.append((size, goodput))
        self._stalls = self._stalls + 1 if half and goodput.over(half[-1]) < _GROWTH else 0
        if self._stalls == 2:  # once may be chance
            best = max(found.answers for _, found in self._levels)
            self.limit = min(n for n, found in self._levels if found.answers >= 0.9 * best)
            self._starting = False
        elif size == self.most and not self._stalls:
            self._starting = False

    def _keep(self, goodput: _Goodput) -> None:
        """Watch what the limit brings; try a higher one after a while."""
        base = self._base
        self._low = self._low + 1 if base and goodput.over(base) < CUT else 0
        if base is None:
            self._base = goodput
        elif self._low == 2:  # the server has become slower: fewer calls wait in it for their turn
            self.limit = max(1, int(self.limit * CUT))
            self._base, self._low, self._left = None, 0, HOLD
        elif not self._low:
            self._base = _Goodput(
                *(0.75 * b + 0.25 * g for b, g in zip(base, goodput, strict=True))
            )
        self._left -= 1
        if self._left <= 0 and self._base is not None and self.limit < self.most:
            self._raise()

    def _raise(self) -> None:
        self._before = self.limit
        self.limit = min(self.most, max(self.limit + 1, int(self.limit * _STEP)))
        self._left = 1  # the first epoch still shows what was in flight before

    def _try(self, goodput: _Goodput, base: _Goodput) -> None:
        """Keep a higher limit if goodput grew by two fifths of what the limit did."""
        if self._left:
            self._left -= 1
            return
        if goodput.over(base) >= 1 + 0.4 * (self.limit / self._before - 1):
            self._base, self._hold, self._before = goodput, HOLD, 0
            if self.limit < self.most:
                self._raise()
        else:
            self.limit, self._before = self._before, 0
            self._hold = min(4 * HOLD, 2 * self._hold)
            self._left = self._hold


class Bucket:
    """So many a minute, in any minute: what a second brings may be taken at once.

    What is taken by estimate is settled by :meth:`give`, which may leave less than nothing.
    """

    def __init__(self, per_minute: int, now: float) -> None:
        self._most = per_minute / 60 if per_minute > 60 else 1.0
        self._rate = max(per_minute - self._most, per_minute / 2) / 60
        self._level, self._at = self._most, now

    def wait(self, count: int, now: float) -> float:
        """Seconds until so many can be taken; more than there is room for go when it is full."""
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (min(count, self._most) - self._level) / self._rate)

    def give(self, count: int) -> None:
        """Put some back; a negative number takes them."""
        self._level += count


class Gate:
    """Lets calls through to one endpoint and model: as many as it can take, long dialogues first.

    Args:
        most: most calls in flight.
        requests: most calls begun in a minute; 0 is no limit.
        tokens: most tokens in a minute, likewise.
    """

    def __init__(self, most: int, requests: int = 0, tokens: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self.adaptive = AdaptiveLimit(most, now)
        self.in_flight = 0
        self._requests = Bucket(requests, now) if requests else None
        self._tokens = Bucket(tokens, now) if tokens else None
        self._closed_until = now
        self._waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, urgency: int, tokens: int) -> float:
        """Wait for a place; the most urgent first, then who came first. Returns the time."""
        if not self._waiting and self._may_enter(tokens) == 0:
            self._take(tokens)
            return self._loop.time()
        turn: asyncio.Future[None] = self._loop.create_future()
        self._order += 1
        heapq.heappush(self._waiting, (-urgency, self._order, tokens, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let through, and cancelled before it went
                self.leave(tokens, 0)
            raise
        return self._loop.time()

    def leave(self, estimated: int, used: int) -> None:
        """Give the place back, with the tokens that :meth:`enter` was asked for and those used."""
        self.in_flight -= 1
        if self._tokens:
            self._tokens.give(estimated - used)
        self._admit()

    def answered(self, tokens: int) -> None:
        """Learn from a call that is about to leave with an answer."""
        full = bool(self._waiting) or self.in_flight >= self.adaptive.limit
        self.adaptive.answered(self._loop.time(), tokens, full)

    def refused(self, started: float, after: float) -> None:
        """Learn from a 429; nobody is let through for the next ``after`` seconds."""
        self.adaptive.refused(self._loop.time(), started, self.in_flight)
        self._closed_until = max(self._closed_until, self._loop.time() + after)

    def _may_enter(self, tokens: int) -> float:
        """Seconds until the next may enter; infinite while it is for others to leave."""
        if self.in_flight >= self.adaptive.limit:
            return float("inf")
        now = self._loop.time()
        wait = self._closed_until - now
        if self._requests:
            wait = max(wait, self._requests.wait(1, now))
        if self._tokens:
            wait = max(wait, self._tokens.wait(tokens, now))
        return wait if wait > 1e-6 else 0.0  # less is the rounding of floats

    def _take(self, tokens: int) -> None:
        self.in_flight += 1
        if self._requests:
            self._requests.give(-1)
        if self._tokens:
            self._tokens.give(-tokens)

    def _admit(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            _, _, tokens, turn = self._waiting[0]
            if not turn.done():  # done: cancelled while it waited
                wait = self._may_enter(tokens)
                if wait > 0:
                    if wait < float("inf"):
                        self._timer = self._loop.call_later(wait, self._admit)
                    return
                self._take(tokens)
                turn.set_result(None)
            heapq.heappop(self._waiting)


class Health:
    """How the last calls ended, so that a run stops before all of it has failed."""

    LEAST, WINDOW = 20, 100

    def __init__(self) -> None:
        self.answers = 0
        self._failed: deque[bool] = deque(maxlen=self.WINDOW)

    def count(self, failed: bool) -> str:
        """Count a call for good; says what is wrong once more than half of the last failed."""
        self.answers += not failed
        self._failed.append(failed)
        if not failed or len(self._failed) < self.LEAST:
            return ""
        bad, of = sum(self._failed), len(self._failed)
        return f"{bad} of the last {of} calls failed" if bad > of / 2 else ""
