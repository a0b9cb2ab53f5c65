"""Says on the log that no worker takes the work: Spark says so in a log of its own, which nobody sees."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

_POLL_SECONDS = 1.0
_FIRST_SECONDS = 15.0
_NEXT_SECONDS = 300.0

_log = logging.getLogger(__name__)


@contextmanager
def announce_waiting(context: Any) -> Iterator[None]:
    """Meanwhile, warn after 15 seconds in which work waits and no task runs, and then every five minutes.

    Args:
        context: The ``SparkContext`` whose jobs are watched.
    """
    ended = Event()
    watch = Thread(target=_watch, args=(context, ended), daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


def _watch(context: Any, ended: Event) -> None:
    since = due = None
    while not ended.wait(_POLL_SECONDS):
        try:
            is_waiting = _is_waiting(context.statusTracker())
        except Exception:  # noqa: BLE001 - Spark has ended, which is an error of the query that it ran
            return
        now = time.monotonic()
        if not is_waiting:
            since = due = None
        elif since is None or due is None:
            since, due = now, now + _FIRST_SECONDS
        elif now >= due:
            _log.warning(
                "no worker of Spark at %s has taken the work for %.0f s; waiting. Start a worker, or free cores and "
                "memory of those that there are",
                context.master,
                now - since,
            )
            due = now + _NEXT_SECONDS


def _is_waiting(tracker: Any) -> bool:
    stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    return bool(stages) and not any(one.numActiveTasks for one in stages if one is not None)
