"""Work for numpy on all cores: one thread a core, each with BLAS to itself."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> AbstractContextManager[Any]:
    """Until it is left, a product takes one thread."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def in_parallel(tasks: Iterable[Callable[[], T]], threads: int | None = None) -> Generator[T]:
    """Runs tasks on threads and gives their results in order; few are under way or waiting at any time.

    Until the generator ends or is closed, BLAS runs on one thread a caller: its own threads and these would
    fight for the cores.

    Args:
        tasks: Taken one by one, in the caller's thread.
        threads: How many; None for one a core.
    """
    threads = threads or usable_cores()
    waiting: deque[Future[T]] = deque()
    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        try:
            for task in tasks:
                waiting.append(pool.submit(task))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_ahead(items: Iterator[T]) -> Generator[T]:
    """Takes each item on a thread of its own while the caller works on the one before.

    Args:
        items: Taken one by one; one more than was asked for.
    """
    with ThreadPoolExecutor(1, "reader") as reader:
        coming = reader.submit(_take, items)
        while taken := coming.result():
            coming = reader.submit(_take, items)
            yield taken[0]


def _take(items: Iterator[T]) -> tuple[T, ...]:
    """The next item, nothing at the end."""
    return tuple(islice(items, 1))
