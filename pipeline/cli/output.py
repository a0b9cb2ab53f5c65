"""What commands print: results on stdout, as they are; what went wrong on stderr."""

from json import dumps
from typing import Any

from rich.console import Console

_PLAIN: Any = {"soft_wrap": True, "highlight": False, "markup": False, "emoji": False}


def echo(words: str) -> None:
    """Print one line of the result."""
    Console(**_PLAIN).print(words)


def print_json(value: Any) -> None:
    """Print the result as JSON."""
    echo(dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_error(command: str, words: str) -> None:
    """Say on stderr why a command failed."""
    console = Console(stderr=True, **_PLAIN)
    console.print(f"paretoscope {command}: ", style="bold red", end="")
    console.print(words)
