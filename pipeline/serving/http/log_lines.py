"""Log lines of the server: one line each, without tracebacks, and few of a kind."""

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

_INTERVAL_SECONDS = 10.0
_MAX_KINDS = 256


class OneLine(logging.Filter):
    """Replaces tracebacks by the error and its place, and limits the rate of repeated lines.

    Of warnings and errors with the same template, one per interval passes; the next one says how
    many were left out.
    """

    def __init__(self, interval_seconds: float = _INTERVAL_SECONDS) -> None:
        super().__init__()
        self._interval = interval_seconds
        self._last: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; changes the record to one line."""
        if record.levelno < logging.WARNING:
            return True
        kind, now = (record.name, str(record.msg)), time.monotonic()
        if now - self._last.get(kind, -self._interval) < self._interval:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        if len(self._last) >= _MAX_KINDS:
            self._last.clear()
            self._left_out.clear()
        self._last[kind] = now
        text = " ".join(record.getMessage().split())
        if left_out := self._left_out.pop(kind, 0):
            text = f"{text} ({left_out} such lines left out)"
        record.msg, record.args = f"{text}{_error_of(record)}", ()
        record.exc_info = record.exc_text = record.stack_info = None
        return True


@contextmanager
def one_line_logs() -> Iterator[None]:
    """Filter the lines of the root logger's handlers."""
    lines, handlers = OneLine(), list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(lines)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(lines)


def _error_of(record: logging.LogRecord) -> str:
    """The error of a record and the line that raised it."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f": {type(error).__name__}: {' '.join(str(error).split())}{place}"
