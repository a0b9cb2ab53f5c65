"""The output of commands: results on stdout, the state of the work on stderr."""

from collections.abc import Iterable
from json import dumps
from typing import Any

from rich.console import Console

_PLAIN: Any = {"soft_wrap": True, "highlight": False, "markup": False, "emoji": False}


def echo(line: str) -> None:
    """Print one line of the result to stdout."""
    Console(**_PLAIN).print(line)


def echo_progress(line: str) -> None:
    """Print one line on the state of the work to stderr."""
    Console(stderr=True, **_PLAIN).print(line)


def print_result(value: Any, lines: Iterable[str], *, json: bool) -> int:
    """Print the result to stdout, as JSON or in lines; returns the exit code 0."""
    text = dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    for line in [text] if json else lines:
        echo(line)
    return 0
