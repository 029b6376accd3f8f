import asyncio
import itertools
from collections.abc import Iterator

import pytest

from ultra.errors import InputError, ModelError
from ultra.pool import for_each


def test_every_item_is_worked_on_once() -> None:
    done: list[int] = []

    async def work(item: int) -> None:
        await asyncio.sleep(0)
        done.append(item)

    asyncio.run(for_each(range(10), work, 3))
    assert sorted(done) == list(range(10))


@pytest.mark.parametrize("concurrency", [1, 3, 20])
def test_no_more_than_that_many_run_at_a_time_and_no_fewer(concurrency: int) -> None:
    running, most = 0, 0

    async def work(item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1

    asyncio.run(for_each(range(10), work, concurrency))
    assert most == min(concurrency, 10)


def test_a_slow_item_holds_up_no_other() -> None:
    async def run() -> None:
        last_done = asyncio.Event()

        async def work(item: int) -> None:
            if item == 0:
                await last_done.wait()
            elif item == 9:
                last_done.set()

        await for_each(range(10), work, 2)

    asyncio.run(run())


def test_the_first_error_comes_out_bare_and_cancels_the_rest() -> None:
    cancelled: list[int] = []

    async def work(item: int) -> None:
        if item == 1:
            try:
                raise KeyError("cause")
            except KeyError as error:
                raise ModelError("refused") from error
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    with pytest.raises(ModelError, match=r"^refused$") as caught:
        asyncio.run(for_each(range(9), work, 3))
    assert isinstance(caught.value.__cause__, KeyError)
    assert sorted(cancelled) == [0, 2]


def test_of_two_errors_at_once_one_comes_out_bare() -> None:
    async def work(item: int) -> None:
        raise ModelError(f"refused {item}")

    with pytest.raises(ModelError, match="refused 0"):
        asyncio.run(for_each(range(9), work, 3))


def test_an_error_of_the_source_comes_out_too() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise InputError("line 2 is broken")

    async def work(item: int) -> None:
        await asyncio.sleep(0)

    with pytest.raises(InputError, match="line 2"):
        asyncio.run(for_each(source(), work, 2))


def test_an_endless_source_is_taken_item_by_item() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    async def work(item: int) -> None:
        await asyncio.sleep(0)
        if item == 20:
            raise ModelError("enough")

    with pytest.raises(ModelError):
        asyncio.run(for_each(source(), work, 4))
    assert len(taken) < 40


def test_a_fault_of_the_disk_comes_out_as_it_is() -> None:
    async def work(_: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        asyncio.run(for_each(range(3), work, 2))
