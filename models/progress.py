"""Progress of long work: rate and time left, in a bar on a terminal, else in a line now and then."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

T = TypeVar("T")

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 15.0
"""Shortest time between two lines of progress, so that a log is not flooded."""

_SECONDS_BETWEEN_UPDATES = 0.1
_LIBRARY = ("models", "pipeline")
"""Loggers that have handlers only where log lines are collected, as in a Dagster run."""

_one_bar = threading.Lock()
"""Nested bars would overwrite each other: only the outer one is shown."""


def track(  # noqa: PLR0913 - the pieces, and how to count them
    pieces: Iterable[T],
    total: int,
    label: str,
    *,
    unit: str,
    size: Callable[[T], int] = lambda _: 1,
    done: int = 0,
) -> Iterator[T]:
    """Iterate over pieces of work and show how many of about ``total`` are done.

    The bar is on stderr, if that is a terminal and no run collects log lines.

    Args:
        pieces: The pieces.
        total: Their number, possibly an estimate.
        label: What is done.
        unit: What a rate counts, such as ``clicks``.
        size: Number of units of a piece; by default a piece is one.
        done: How many pieces were done before.
    """
    console = Console(stderr=True)
    pace = _Pace(label=label, unit=unit, total=total, before=done, started=time.monotonic())
    if not console.is_terminal or any(logging.getLogger(name).handlers for name in _LIBRARY):
        yield from _logged(pieces, pace, size)
    elif _one_bar.acquire(blocking=False):
        try:
            yield from _shown(pieces, pace, size, console)
        finally:
            _one_bar.release()
    else:
        yield from pieces


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float | None, str, str], None]]:
    """A bar for work that is not iterated; yields a function ``update(share, label, left)``.

    ``share`` is what is done of the work, from 0 to 1, None if unknown; ``left`` says how long the
    rest takes.
    """
    console = Console(stderr=True)
    with _bar(console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None, pace="")

        def update(share: float | None, label: str, left: str) -> None:
            total = None if share is None else 1.0
            bar.update(task, completed=share or 0.0, total=total, description=label, pace=left)

        yield update


@contextmanager
def lines_on_stderr() -> Iterator[None]:
    """Print lines of progress meanwhile, unless stderr is a terminal; without it they are only logged."""
    handler = logging.StreamHandler()
    level, propagates = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # to a command's own handler, which would print each line again
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates


def readable_duration(seconds: float) -> str:
    """A duration to read, with the digits that a prediction has.

    Examples:
        >>> [readable_duration(seconds) for seconds in (3, 42, 130, 5400, 20_000)]
        ['5 seconds', '40 seconds', '2 minutes', '90 minutes', '5.6 hours']
    """
    if seconds < 100:
        return f"{max(5, round(seconds / 5) * 5)} seconds"
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"


@dataclass(slots=True, kw_only=True)
class _Pace:
    """How far a piece of work is, and how fast.

    Attributes:
        label: What is done.
        unit: What the rate counts.
        total: Number of pieces, possibly an estimate.
        before: Pieces that were done before it started.
        started: When it started, in seconds of the monotonic clock.
        pieces: Pieces that have been done since.
        units: Their units.
    """

    label: str
    unit: str
    total: int
    before: int
    started: float
    pieces: int = 0
    units: int = 0

    @property
    def share(self) -> float:
        """The share that is done, from 0 to 1."""
        done = self.before + self.pieces
        return done / max(done, self.total) if done else 0.0

    def __str__(self) -> str:
        """Rate and time left; empty before they are known."""
        seconds = time.monotonic() - self.started
        if not self.pieces or seconds <= 0:
            return ""
        rate = self.units / seconds
        speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
        left = max(0, self.total - self.before - self.pieces) * seconds / self.pieces
        return f"{speed} {self.unit}/s, {readable_duration(left)} left"


def _logged(pieces: Iterable[T], pace: _Pace, size: Callable[[T], int]) -> Iterator[T]:
    last = time.monotonic()
    for piece in pieces:
        yield piece
        pace.pieces += 1
        pace.units += size(piece)
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            log.info("%s: %.0f%%, %s", pace.label, 100 * pace.share, str(pace))
            last = time.monotonic()


def _shown(
    pieces: Iterable[T], pace: _Pace, size: Callable[[T], int], console: Console
) -> Iterator[T]:
    last = 0.0
    with _bar(console) as bar:
        task = bar.add_task(pace.label, total=1.0, pace="")
        bar.update(task, completed=pace.share)
        for piece in pieces:
            yield piece
            pace.pieces += 1
            pace.units += size(piece)
            if time.monotonic() - last > _SECONDS_BETWEEN_UPDATES:
                bar.update(task, completed=pace.share, pace=str(pace))
                last = time.monotonic()
        pace.total = pace.before + pace.pieces
        bar.update(task, completed=1.0, pace=str(pace))


def _bar(console: Console, *, disable: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[pace]}", markup=False),
        console=console,
        disable=disable,
    )
