"""Work in several processes: the order of the pieces, and every way in which it can end."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from datasets_scripts import parallel
from ultra.errors import InputError

Work = Callable[[int], tuple[int, int]]


def square() -> Work:
    """Work that says in which process it was done."""
    return lambda piece: (piece * piece, os.getpid())


def dies() -> Callable[[int], int]:
    def work(piece: int) -> int:
        if piece == 3:
            os._exit(1)
        return piece

    return work


def refuses() -> Callable[[int], int]:
    def work(piece: int) -> int:
        if piece == 3:
            raise InputError(f"{piece}: cannot be read")
        return piece

    return work


def dies_at_once() -> Callable[[int], int]:
    os._exit(1)


def cannot_be_interrupted() -> Callable[[int], bool]:
    return lambda piece: signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def children() -> list[multiprocessing.process.BaseProcess]:
    return multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_the_order_of_the_pieces(workers: int) -> None:
    found = list(parallel.ordered(square, iter(range(40)), workers))
    assert [(piece, result) for piece, (result, _) in found] == [(n, n * n) for n in range(40)]
    processes = {pid for _, (_, pid) in found}
    assert (os.getpid() in processes) is (workers == 1 or os.cpu_count() == 1)
    assert len(processes) <= (workers or os.cpu_count() or 1)


@pytest.mark.parametrize("pieces", [[], [7]])
def test_for_one_piece_no_process_is_started(pieces: list[int]) -> None:
    found = list(parallel.ordered(square, pieces, 4))
    assert found == [(piece, (piece * piece, os.getpid())) for piece in pieces]


def test_in_this_process_the_work_is_prepared_once() -> None:
    prepared = []

    def prepare() -> Callable[[int], int]:
        prepared.append(1)
        return lambda piece: piece

    assert len(list(parallel.ordered(prepare, range(9), 1))) == 9
    assert prepared == [1]


def test_pieces_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[int]:
        for n in range(100):
            taken.append(n)
            yield n

    ahead = [len(taken) - piece for piece, _ in parallel.ordered(square, pieces(), 2)]
    assert max(ahead) <= 8
    assert len(ahead) == 100


def test_a_piece_may_be_taken_back_by_the_one_who_waits_for_it() -> None:
    """As a build does with pieces that are done already."""
    done: list[int] = []

    def pieces() -> Iterator[int]:
        for n in range(30):
            if n % 3:
                done.append(n)
            else:
                yield n

    found = [piece for piece, _ in parallel.ordered(square, pieces(), 2)]
    assert sorted(found + done) == list(range(30))


@pytest.mark.parametrize("prepare", [dies, dies_at_once])
def test_a_process_that_dies_is_one_clear_error(
    prepare: Callable[[], Callable[[int], int]],
) -> None:
    with pytest.raises(InputError, match=r"a worker process died.*run again with fewer --workers"):
        list(parallel.ordered(prepare, range(20), 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_the_work_is_that_error_here(workers: int) -> None:
    results = parallel.ordered(refuses, range(20), workers)
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(InputError, match="3: cannot be read"):
        next(results)


def test_an_error_in_the_pieces_is_that_error_here() -> None:
    def pieces() -> Iterator[int]:
        yield from range(5)
        raise InputError("no more of them")

    with pytest.raises(InputError, match="no more of them"):
        list(parallel.ordered(square, pieces(), 2))


def test_who_takes_no_more_results_leaves_no_process_at_work() -> None:
    results = parallel.ordered(square, range(100), 2)
    next(results)
    started = children()
    assert started
    results.close()  # type: ignore[attr-defined]
    for child in started:
        child.join(20)
    assert not any(child.is_alive() for child in started)


def test_ctrl_c_is_for_the_parent_alone() -> None:
    assert all(result for _, result in parallel.ordered(cannot_be_interrupted, range(4), 2))
