"""Progress of long work: a bar on a terminal, else a log line from time to time."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_UPDATES = 0.1
_LIBRARY = ("models", "pipeline")
"""Loggers that have handlers only where log lines are collected, as in a Dagster run."""

_one_bar = threading.Lock()
"""Nested bars would overwrite each other: only the outer one is shown."""


def track(
    pieces: Iterable[T],
    total: int,
    label: str,
    *,
    done: int = 0,
    clicks: Callable[[T], int] | None = None,
) -> Iterator[T]:
    """Iterate over pieces of work and show how many of about ``total`` are done.

    The bar is on stderr, if that is a terminal and no run collects log lines.

    Args:
        pieces: The pieces.
        total: Their number, possibly an estimate.
        label: What is done.
        done: How many were done before.
        clicks: Number of clicks of a piece, to show clicks per second.
    """
    console = Console(stderr=True)
    if not console.is_terminal or any(logging.getLogger(name).handlers for name in _LIBRARY):
        yield from _logged(pieces, total, label, done=done)
    elif _one_bar.acquire(blocking=False):
        try:
            yield from _shown(pieces, total, label, done=done, clicks=clicks, console=console)
        finally:
            _one_bar.release()
    else:
        yield from pieces


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """A bar for work that is not iterated; yields a function ``update(done, total, label)``."""
    console = Console(stderr=True)
    with _bar(console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None, rate="")

        def update(done: int, total: int | None, label: str) -> None:
            bar.update(task, completed=done, total=total, description=label)

        yield update


def _logged(pieces: Iterable[T], total: int, label: str, *, done: int) -> Iterator[T]:
    last = time.monotonic()
    for number, piece in enumerate(pieces, start=done + 1):
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            log.info("%s: piece %d of about %d", label, number, max(number, total))
            last = time.monotonic()
        yield piece


def _shown(  # noqa: PLR0913 - as track, and the console
    pieces: Iterable[T],
    total: int,
    label: str,
    *,
    done: int,
    clicks: Callable[[T], int] | None,
    console: Console,
) -> Iterator[T]:
    number, clicked, rate, last = done, 0, "", 0.0
    with _bar(console) as bar:
        task = bar.add_task(label, total=max(total, done), completed=done, rate="")
        for number, piece in enumerate(pieces, start=done + 1):
            yield piece
            if clicks is not None:
                clicked += clicks(piece)
                seconds = bar.tasks[task].elapsed or 0.0
                rate = f"{clicked / seconds:,.0f} clicks/s" if seconds else ""
            if time.monotonic() - last > _SECONDS_BETWEEN_UPDATES:
                bar.update(task, completed=number, rate=rate)
                last = time.monotonic()
        bar.update(task, completed=number, total=number, rate=rate)


def _bar(console: Console, *, disable: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        disable=disable,
    )
