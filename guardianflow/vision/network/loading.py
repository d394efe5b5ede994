"""Makes the batches of the next steps in background threads while the current step computes.

These are threads because decoding, resizing and large array operations release Python's lock.
Processes would copy every image once more and take seconds to start.
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
# Niceness above that of the computing thread: 5 means a third of its share of a core.
_NICER = 5


def spare_workers(busy: int) -> int:
    """Return how many background threads to use beside `busy` computing ones; at least one."""
    return max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) - busy))


def prefetch(make: Callable[[int], Item], numbers: Iterable[int], workers: int) -> Generator[Item]:
    """Make items in background threads, and yield them in order.

    At most `workers + 1` items wait, which limits memory. An error of `make` is raised in place of
    its item.

    Args:
        make: Makes the item of one number; several threads call it at once.
        numbers: The numbers of the items.
        workers: Number of threads.
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
    """Leave the cores to the computing thread, through a lower priority on Linux."""
    # Otherwise torch starts further threads for this one, which busy-wait.
    torch.set_num_threads(1)
    if sys.platform == "linux":
        niceness = min(19, os.getpriority(os.PRIO_PROCESS, 0) + _NICER)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
