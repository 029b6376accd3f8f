"""Many tasks, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
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

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except* (UltraError, OSError) as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
