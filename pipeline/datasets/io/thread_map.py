"""Independent tasks on all cores, with their results in order."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_MAX_WORKERS = 8
"""With more, results only wait for their turn to be written."""


def ordered_thread_map(
    tasks: Iterable[Callable[[], T]], workers: int | None = None
) -> Generator[T, None, None]:
    """Run tasks in threads and yield their results in the order of ``tasks``.

    Only a few tasks run ahead of the consumer, so memory does not grow with their number. An
    exception of a task is raised in its place; pending tasks are cancelled, and running ones are
    awaited unless the generator is closed or dropped.
    """
    workers = workers or min(os.cpu_count() or 1, _MAX_WORKERS)
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers)
    dropped = False
    try:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except GeneratorExit:  # perhaps by the garbage collector in a thread of the pool itself
        dropped = True
        raise
    finally:
        pool.shutdown(wait=not dropped, cancel_futures=True)
