"""Many tasks, a few at a time."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from ultra.errors import UltraError

T = TypeVar("T")


async def for_each(
    items: Iterable[T], work: Callable[[T], Awaitable[None]], concurrency: int
) -> None:
    """Run ``work`` on each item, ``concurrency`` at a time, without a barrier between them.

    Items are taken one by one, so an endless iterator costs no memory.

    Raises:
        UltraError, OSError: the first that ``work`` raised, after all other tasks have been
            cancelled.
    """
    shared = iter(items)

    async def worker() -> None:
        for item in shared:
            await work(item)
            await asyncio.sleep(0)  # work that finds all in a journal would let nobody else run

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except* (UltraError, OSError) as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__


def longest_first(items: Iterable[T], size: Callable[[T], int], window: int) -> Iterator[T]:
    """Yield the largest of the next ``window`` items, again and again; of equals the first.

    Long tasks that start late are what everybody waits for at the end.
    """
    ahead: list[tuple[int, int, T]] = []
    for order, item in enumerate(items):
        entry = (-size(item), order, item)
        if len(ahead) < window:
            heapq.heappush(ahead, entry)
        else:
            yield heapq.heappushpop(ahead, entry)[2]
    while ahead:
        yield heapq.heappop(ahead)[2]
