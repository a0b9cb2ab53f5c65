"""How far long work has come: a bar on a terminal, a log line now and then elsewhere."""

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
_SECONDS_BETWEEN_DRAWINGS = 0.1
_LIBRARY = ("models", "pipeline")
"""Loggers that have handlers of their own only where lines are collected, as in a Dagster run."""

_one_bar = threading.Lock()
"""Bars of work that is part of other work would write over each other: the outer one is shown."""


def track(
    pieces: Iterable[T],
    total: int,
    words: str,
    *,
    done: int = 0,
    clicks: Callable[[T], int] | None = None,
) -> Iterator[T]:
    """Pass pieces on and show how many of about ``total`` have passed.

    The bar is on stderr, and only where that is a terminal and no run collects log lines.

    Args:
        pieces: What passes.
        total: How many there are in all, or about so many.
        words: What is done with them.
        done: How many of them were done before.
        clicks: How many clicks a piece has, to say how many are done a second.
    """
    console = Console(stderr=True)
    if not console.is_terminal or any(logging.getLogger(name).handlers for name in _LIBRARY):
        yield from _logged(pieces, total, words, done=done)
    elif _one_bar.acquire(blocking=False):
        try:
            yield from _drawn(pieces, total, words, done=done, clicks=clicks, console=console)
        finally:
            _one_bar.release()
    else:
        yield from pieces


@contextmanager
def progress_bar(words: str) -> Iterator[Callable[[int, int | None, str], None]]:
    """A bar for work that is not done piece by piece; gives what tells it (done, total, words)."""
    console = Console(stderr=True)
    with _bar(console, disable=not console.is_terminal) as bar:
        task = bar.add_task(words, total=None, rate="")

        def tell(done: int, total: int | None, now: str) -> None:
            bar.update(task, completed=done, total=total, description=now)

        yield tell


def _logged(pieces: Iterable[T], total: int, words: str, *, done: int) -> Iterator[T]:
    last = time.monotonic()
    for number, piece in enumerate(pieces, start=done + 1):
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            log.info("%s: piece %d of about %d", words, number, max(number, total))
            last = time.monotonic()
        yield piece


def _drawn(  # noqa: PLR0913 - those of shown, and where
    pieces: Iterable[T],
    total: int,
    words: str,
    *,
    done: int,
    clicks: Callable[[T], int] | None,
    console: Console,
) -> Iterator[T]:
    number, clicked, rate, last = done, 0, "", 0.0
    with _bar(console) as bar:
        task = bar.add_task(words, total=max(total, done), completed=done, rate="")
        for number, piece in enumerate(pieces, start=done + 1):
            yield piece
            if clicks is not None:
                clicked += clicks(piece)
                seconds = bar.tasks[task].elapsed or 0.0
                rate = f"{clicked / seconds:,.0f} clicks/s" if seconds else ""
            if time.monotonic() - last > _SECONDS_BETWEEN_DRAWINGS:
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
