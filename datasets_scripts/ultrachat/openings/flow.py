"""From streams of jobs to one stream of offers: many calls at a time, one defined order.

A sector's jobs come in blocks, whose order depends on nothing but the recipe, the seed and the
model's answers; the offers of the jobs of a block are taken in turn. Which stream the next opening
is taken from is drawn by hash from its number. So the order of offers never depends on how many
are asked for, on how many calls are in flight, or on which of them finishes first.

How many blocks are worked on ahead does depend on how many openings are still wanted: enough for
them if every list is as long as it was asked for, and at most ``AHEAD`` jobs, which bounds memory.
"""

import asyncio
import math
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

from datasets_scripts.pipeline import Drop
from datasets_scripts.ultrachat.openings.asking import Ask, Job, Offer, Reply, Steps, Writer
from datasets_scripts.ultrachat.openings.opening import Opening
from ultra.chat import ChatModel
from ultra.engine import Session
from ultra.errors import CallError

AHEAD = 640
"""Jobs of one stream that are worked on before their offers are looked at."""
AHEAD_IN_BATCH = 5_000
PATIENCE = 1_000
"""Lines of the model that are dropped one after the other before a stream is given up."""


@dataclass
class Stream:
    """The jobs of a sector or of a branch of it."""

    name: str
    share: float
    """Of all openings, against the shares of the other streams."""
    blocks: Iterator[list[Job]]
    lines: float
    """Offers that a job makes if every list is as long as it was asked for."""
    ready: deque[Offer] = field(default_factory=deque)
    ended: bool = False
    in_vain: Counter[str] = field(default_factory=Counter)
    """Why lines were dropped since the last that was kept."""

    def next_blocks(self, wanted: float, most: int) -> list[list[Job]]:
        """Blocks for about so many offers, of at most so many jobs; one at least, if there is."""
        found: list[list[Job]] = []
        jobs = 0
        while not found or (jobs * self.lines < wanted and jobs < most):
            block = next(self.blocks, None)
            if block is None:
                self.ended = True
                break
            found.append(block)
            jobs += len(block)
        return found


class Flow:
    """The offers of all streams, one after the other."""

    def __init__(self, streams: list[Stream], writer: Writer, talks: Session, chat: ChatModel):
        self._streams, self._writer = streams, writer
        self._talks, self._chat = talks, chat
        self._last = streams[0]

    async def next(self, number: int, wanted: int) -> Offer | None:
        """The next offer for opening ``number``, of ``wanted`` that are still to be found.

        None if there are no more.
        """
        for stream in self._by_draw(number):
            if not stream.ready and not stream.ended:
                await self._refill(stream, wanted)
            if stream.ready:
                self._last = stream
                return stream.ready.popleft()
        return None

    def judge(self, offer: Offer, found: Opening | Drop) -> None:
        """Take note of what became of the last offer, and give up a stream that has only dross."""
        stream = self._last
        if isinstance(found, Opening):
            stream.in_vain.clear()
        else:
            stream.in_vain[found.reason] += offer.is_paid
        if stream.in_vain.total() >= PATIENCE:
            stream.ready.clear()
            stream.ended = True

    @property
    def end(self) -> str:
        """Why there are no more offers."""
        told = [
            f"of {stream.name} the last {stream.in_vain.total():,} lines were all dropped "
            f"({', '.join(f'{why} {count:,}' for why, count in stream.in_vain.most_common(3))})"
            for stream in self._streams
            if stream.in_vain.total() >= PATIENCE
        ]
        return "; ".join(told) or (
            "there is nothing left to ask for; name more entities or texts with --sources.entities "
            "and --sources.texts, or raise --sizes"
        )

    def _by_draw(self, number: int) -> list[Stream]:
        """The streams in the order in which an opening would come from them.

        Each is first in its share of the draws, and each next one in its share of the rest
        (Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006); which of them
        are used up, as far as that is known yet, does not matter.
        """

        def key(stream: Stream) -> float:
            drawn = self._writer.draw("stream", str(number), stream.name) + 1
            return -math.log(drawn / 2**64) / stream.share

        return sorted(self._streams, key=key)

    async def _refill(self, empty: Stream, wanted: int) -> None:
        """Work on the next blocks of the empty stream, and of others that will be soon."""
        total = sum(one.share for one in self._streams if one.ready or not one.ended)
        most = AHEAD_IN_BATCH if self._talks.limits.batch else AHEAD
        taken: list[tuple[Stream, list[Job]]] = []
        for stream in self._streams:
            missing = math.ceil(wanted * stream.share / total) - len(stream.ready)
            if stream is empty or (missing > 0 and not stream.ended):
                taken += [(stream, block) for block in stream.next_blocks(missing, most)]
        done = iter(await self._all([job for _, block in taken for job in block]))
        for stream, block in taken:
            in_turn = zip_longest(*(next(done) for _ in block))
            stream.ready.extend(offer for turn in in_turn for offer in turn if offer is not None)

    async def _all(self, jobs: list[Job]) -> list[list[Offer]]:
        """What each job offers."""
        if self._talks.limits.batch:
            return await self._level_by_level(jobs)
        done: list[list[Offer]] = [[]] * len(jobs)

        async def work(place: int) -> None:
            steps = jobs[place]()
            replies: list[Reply] | None = None
            while isinstance(asked := _go_on(steps, replies), _Asked):
                replies = await self._replies(asked.asks)
            done[place] = asked

        await self._talks.for_each(range(len(jobs)), work, len(jobs), "lists")
        return done

    async def _level_by_level(self, jobs: list[Job]) -> list[list[Offer]]:
        """The same with a barrier after each level, so that a level's calls can go in one batch."""
        done: list[list[Offer]] = [[]] * len(jobs)
        steps = [job() for job in jobs]
        replies: dict[int, list[Reply] | None] = dict.fromkeys(range(len(jobs)))
        while replies:
            asked: dict[int, list[Ask]] = {}
            for place, answers in replies.items():
                found = _go_on(steps[place], answers)
                if isinstance(found, _Asked):
                    asked[place] = found.asks
                else:
                    done[place] = found
            replies = {}
            await self._talks.fill(self._chat, (ask for asks in asked.values() for ask in asks))

            async def work(
                place: int,
                asked: dict[int, list[Ask]] = asked,
                replies: dict[int, list[Reply] | None] = replies,
            ) -> None:
                replies[place] = await self._replies(asked[place])

            await self._talks.for_each(asked, work, len(asked), "lists")
        return done

    async def _replies(self, asks: list[Ask]) -> list[Reply]:
        """The replies to all, in their order.

        Raises:
            ModelError, BudgetError: what one of the calls raised, after all have ended.
        """
        calls = (self._chat.complete(*ask) for ask in asks)
        replies: list[Reply] = []
        for one in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(one, BaseException) and not isinstance(one, CallError):
                raise one
            replies.append(one)
        return replies


@dataclass(frozen=True)
class _Asked:
    """What a job needs before it can go on."""

    asks: list[Ask]


def _go_on(steps: Steps[list[Offer]], replies: list[Reply] | None) -> _Asked | list[Offer]:
    """Let a job go on with the replies to what it asked last; None lets it begin."""
    try:
        return _Asked(next(steps) if replies is None else steps.send(replies))
    except StopIteration as end:
        found: list[Offer] = end.value
        return found
