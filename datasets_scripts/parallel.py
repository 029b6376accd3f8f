"""The same work on many pieces, in this process or in several, results in the order of the pieces.

Few pieces are under way at a time, so memory does not grow with their number. Nothing depends on
the number of processes.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any, TypeVar

from ultra.errors import InputError

P = TypeVar("P")
R = TypeVar("R")

_AHEAD = 3
"""Pieces handed out for each process: one at work, the others waiting for it."""

_work: Callable[[Any], Any]


def ordered(
    prepare: Callable[[], Callable[[P], R]], pieces: Iterable[P], workers: int
) -> Iterator[tuple[P, R]]:
    """Yield each piece with its result.

    ``prepare`` is called once in each process and returns the work; both ends, pieces and results
    must be picklable. ``workers`` is the number of processes, 0 for one a core; a single piece, or
    a single worker, is worked on in this process.

    Raises:
        InputError: a process died, as one does that is out of memory.
    """
    pieces = iter(pieces)
    first = list(islice(pieces, 2))
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(first) < 2:
        work = prepare()
        for piece in chain(first, pieces):
            yield piece, work(piece)
        return
    # spawn: a forked copy of a process with threads (the progress bar has one) may hang
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (prepare,))
    waiting: deque[tuple[P, Future[R]]] = deque()
    try:
        for piece in chain(first, pieces):
            waiting.append((piece, _submit(pool, piece)))
            if len(waiting) >= workers * _AHEAD:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process died, perhaps out of memory; "
            "run again with fewer --workers, finished work is kept"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)  # a piece at work ends within moments


def _submit(pool: ProcessPoolExecutor, piece: Any) -> Future[Any]:
    """Hand out a piece; a process that this starts is deaf to ctrl-C from its first moment."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_run, piece)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(prepare: Callable[[], Callable[[Any], Any]]) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the parent, which ends this one
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _work = prepare()


def _end_with(parent: Any) -> None:
    """A killed parent cannot end its workers; they would wait for work for ever."""
    parent.join()
    os._exit(1)


def _run(piece: Any) -> Any:
    return _work(piece)
