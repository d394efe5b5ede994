"""What the next steps need, made in background threads while the present step computes.

Threads, not processes: decoding, resizing and the large array operations release Python's lock, a
pool of processes would copy every image once more, and starting one costs seconds.
"""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
_MOST_WORKERS = 8
# How much nicer they are than the thread that computes: 5 is a third of its share of a core.
_NICER = 5


def spare_workers(busy: int) -> int:
    """How many background threads suit this machine beside so many that compute; at least one."""
    return max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) - busy))


def prefetch(make: Callable[[int], Item], numbers: Iterable[int], workers: int) -> Generator[Item]:
    """The items of these numbers, in their order, however many threads make them.

    At most `workers + 1` items wait to be taken, which bounds the memory. An error of `make` is
    raised where its item would have come.

    Args:
        make: Makes the item of one number; called by several threads at once.
        numbers: Of which items.
        workers: How many threads.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loading", initializer=_give_way)
    upcoming = iter(numbers)
    waiting = deque[Future[Item]]()

    def order_next() -> None:
        for number in upcoming:
            waiting.append(pool.submit(make, number))
            return

    try:
        for _ in range(workers + 1):
            order_next()
        while waiting:
            item = waiting.popleft().result()
            order_next()
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def _give_way() -> None:
    """Leave the cores to the thread that computes; its place in their queue, on Linux alone."""
    # Else torch starts threads for this one, which wait for their next work in a loop.
    torch.set_num_threads(1)
    if sys.platform == "linux":
        niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
