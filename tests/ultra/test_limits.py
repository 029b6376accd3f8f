import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable

import pytest

from tests.ultra import clock
from ultra.limits import START, AdaptiveLimit, Bucket, Gate, Health

MOST = 512


class Server:
    """Takes calls through a gate; has so many slots, in which each call takes a second or so."""

    def __init__(self, gate: Gate, slots: int = 10**6, sigma: float = 0.3) -> None:
        self.gate, self.slots, self.sigma = gate, asyncio.Semaphore(slots), sigma
        self.random = random.Random(1)
        self.answers = 0
        self.seconds = 1.0

    async def call(self) -> None:
        await self.gate.enter(1, 10)
        try:
            async with self.slots:
                await asyncio.sleep(self.seconds * self.random.lognormvariate(0, self.sigma))
            self.answers += 1
            self.gate.answered(10)
        finally:
            self.gate.leave(10, 10)


async def load(
    call: Callable[[], Awaitable[None]], seconds: float, concurrency: int = MOST
) -> None:
    """Keep so many calling for a while."""

    async def again() -> None:
        while True:
            await call()

    tasks = [asyncio.create_task(again()) for _ in range(concurrency)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# How many.


def test_it_starts_low_and_doubles_every_round_trip() -> None:
    async def scenario() -> list[int]:
        gate, limits = Gate(MOST), []
        server = Server(gate, sigma=0)

        async def look() -> None:
            for _ in range(7):
                await asyncio.sleep(0.5)
                limits.append(gate.adaptive.limit)
                await asyncio.sleep(0.5)

        await asyncio.gather(load(server.call, 7.2), look())
        return limits

    assert clock.run(scenario()) == [START, 32, 64, 128, 256, MOST, MOST]


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.8])
def test_a_server_that_keeps_up_gets_all_there_is(sigma: float) -> None:
    async def scenario() -> int:
        gate = Gate(MOST)
        await load(Server(gate, sigma=sigma).call, 60)
        return gate.adaptive.limit

    assert clock.run(scenario()) == MOST


@pytest.mark.parametrize("slots", [30, 100, 200])
def test_a_server_that_queues_is_not_given_much_more_than_it_has_slots_for(slots: int) -> None:
    async def scenario() -> tuple[int, float]:
        gate = Gate(2048)
        server = Server(gate, slots)
        await load(server.call, 60, 2048)
        before = server.answers
        await load(server.call, 60, 2048)
        return gate.adaptive.limit, (server.answers - before) / 60

    limit, goodput = clock.run(scenario())
    assert 0.8 * slots < limit < 3.1 * slots
    assert goodput > 0.85 * slots


def test_it_grows_again_when_the_server_does() -> None:
    async def scenario() -> tuple[int, int]:
        gate = Gate(400)
        server = Server(gate, 50)
        await load(server.call, 60, 400)
        small = gate.adaptive.limit
        for _ in range(350):
            server.slots.release()
        await load(server.call, 120, 400)
        return small, gate.adaptive.limit

    small, large = clock.run(scenario())
    assert small < 150
    assert large >= 200


def test_fewer_calls_wait_in_a_server_that_becomes_slow() -> None:
    async def scenario() -> tuple[int, int]:
        gate = Gate(256)
        server = Server(gate)
        await load(server.call, 30, 256)
        before = gate.adaptive.limit
        server.seconds = 10.0
        await load(server.call, 60, 256)
        return before, gate.adaptive.limit

    before, after = clock.run(scenario())
    assert after < 0.8 * before


def test_a_burst_of_refusals_makes_one_cut_and_is_remembered() -> None:
    limit = AdaptiveLimit(MOST, 0.0)
    limit.limit = 100
    for _ in range(60):
        limit.refused(now=2.0, started=1.0, in_flight=100)
    assert (limit.limit, limit.ceiling) == (70, 100)
    limit.refused(now=3.0, started=2.5, in_flight=70)
    assert (limit.limit, limit.ceiling) == (49, 70)


def test_after_a_cut_it_comes_near_the_ceiling_slower_and_slower() -> None:
    limit = AdaptiveLimit(MOST, 0.0)
    limit.limit = 100
    limit.refused(now=1.0, started=0.5, in_flight=100)
    seen, now = [], 1.0
    for _ in range(20):
        now += 1.0
        for _ in range(limit.limit):
            limit.answered(now, 10, full=True)
        seen.append(limit.limit)
    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert steps[:4] == sorted(steps[:4], reverse=True)
    assert seen[0] < 80
    assert max(seen) == 100


def test_a_limit_that_nobody_reaches_is_left_alone() -> None:
    async def scenario() -> int:
        gate = Gate(MOST)
        await load(Server(gate).call, 30, 5)
        return gate.adaptive.limit

    assert clock.run(scenario()) == START


# Which, and when.


def test_the_longest_dialogue_goes_first_and_then_who_came_first() -> None:
    async def scenario() -> list[str]:
        gate, order = Gate(1), []
        await gate.enter(1, 0)

        async def wait(urgency: int, name: str) -> None:
            await gate.enter(urgency, 0)
            order.append(name)
            gate.leave(0, 0)

        names = [(1, "new"), (3, "third turn"), (1, "newer"), (5, "fifth turn"), (3, "another")]
        tasks = [asyncio.create_task(wait(*one)) for one in names]
        await asyncio.sleep(0)
        gate.leave(0, 0)
        await asyncio.gather(*tasks)
        return order

    assert clock.run(scenario()) == ["fifth turn", "third turn", "another", "new", "newer"]


def test_who_is_cancelled_while_it_waits_takes_no_place() -> None:
    async def scenario() -> None:
        for late in (False, True):
            gate = Gate(1)
            await gate.enter(1, 0)
            waiting = asyncio.create_task(gate.enter(1, 0))
            await asyncio.sleep(0)
            if late:  # let through, but not yet gone
                gate.leave(0, 0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            if not late:
                gate.leave(0, 0)
            await asyncio.wait_for(gate.enter(1, 0), 1)
            assert gate.in_flight == 1

    clock.run(scenario())


def test_after_a_refusal_nobody_goes_before_the_server_said() -> None:
    async def scenario() -> float:
        gate = Gate(8)
        started = await gate.enter(1, 0)
        gate.refused(started, 30.0)
        gate.leave(0, 0)
        await gate.enter(1, 0)
        return clock.now()

    assert clock.run(scenario()) == pytest.approx(30.0)


@pytest.mark.parametrize("rate", [6, 60, 600])
def test_no_minute_sees_more_requests_than_set(rate: int) -> None:
    async def scenario() -> list[float]:
        gate, begun = Gate(MOST, requests=rate), []

        async def call() -> None:
            await gate.enter(1, 0)
            begun.append(clock.now())
            gate.leave(0, 0)

        await load(call, 300, 20)
        return begun

    begun = clock.run(scenario())
    for start in begun:
        assert sum(start <= time < start + 60 for time in begun) <= rate
    assert len(begun) > 0.8 * 5 * rate


def test_tokens_are_taken_by_estimate_and_settled_by_what_was_used() -> None:
    async def scenario() -> int:
        gate, done = Gate(MOST, tokens=60_000), 0

        async def call() -> None:
            nonlocal done
            await gate.enter(1, 2000)
            await asyncio.sleep(0.1)
            gate.leave(2000, 500)
            done += 1

        await load(call, 120, 50)
        return done

    assert 200 <= clock.run(scenario()) <= 250


def test_one_call_above_what_a_second_brings_still_goes() -> None:
    bucket = Bucket(60, 0.0)
    assert bucket.wait(1000, 0.0) == 0
    bucket.give(-1000)
    assert bucket.wait(1, 1.0) > 900


# When to stop.


def test_more_than_half_of_the_last_calls_failing_is_a_sick_endpoint() -> None:
    health = Health()
    assert [bool(health.count(failed=True)) for _ in range(20)] == [False] * 19 + [True]
    health = Health()
    for _ in range(100):
        assert not health.count(failed=False)
    for _ in range(50):
        assert not health.count(failed=True)
    assert health.count(failed=True) == "51 of the last 100 calls failed"


def test_half_of_the_calls_may_fail() -> None:
    health = Health()
    assert not any(health.count(failed=number % 2 == 1) for number in range(1000))
