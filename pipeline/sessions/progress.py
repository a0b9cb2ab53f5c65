"""How far long work has come: a bar on a terminal, a log line now and then elsewhere."""

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 15.0


def shown(pieces: Iterable[T], total: int, words: str) -> Iterator[T]:
    """Pass pieces on and show how many of about ``total`` have passed."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(pieces, description=words, total=total, console=console)
        return
    last = time.monotonic()
    for number, piece in enumerate(pieces, start=1):
        if time.monotonic() - last > _SECONDS_BETWEEN_LINES:
            log.info("%s: piece %d of about %d", words, number, max(number, total))
            last = time.monotonic()
        yield piece
