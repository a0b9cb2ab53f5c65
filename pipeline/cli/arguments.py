"""The arguments of commands: their options, and the types that check what is typed."""

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

Argument = tuple[tuple[str, ...], dict[str, Any]]
"""Names and options of an argument, as ``ArgumentParser.add_argument`` takes them."""


def argument(*names: str, **options: Any) -> Argument:
    """An argument, with the options of ``ArgumentParser.add_argument``."""
    return names, options


def override(text: str) -> tuple[str, str]:
    """Parse ``section.key=value``."""
    key, equals, value = text.partition("=")
    if equals and "." in key:
        return key, value
    raise argparse.ArgumentTypeError(f"{text!r} is not of the form section.key=value")


def port(text: str) -> int:
    """Parse a TCP port."""
    with suppress(ValueError):
        if 0 <= (number := int(text)) < 1 << 16:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a valid port; expected 0 to 65535")


def level(text: str) -> float:
    """Parse a confidence level."""
    with suppress(ValueError):
        if 0.5 < (number := float(text)) < 1:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not between 0.5 and 1; such as 0.95")


def margin(text: str) -> float:
    """Parse a relative difference."""
    with suppress(ValueError):
        if 0 < (number := float(text)) <= 1:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1; such as 0.01")


def correlation(text: str) -> float:
    """Parse a correlation of 0 or more."""
    with suppress(ValueError):
        if 0 <= (number := float(text)) < 1:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not at least 0 and below 1; such as 0.9")


LEVEL = argument(
    "--level", type=level, default=0.95, help="confidence level of intervals (default: 0.95)"
)

_COUNTS = {
    "group": "the test groups' names",
    "impressions": "impressions",
    "clicks": "clicks",
    "orders": "orders",
    "units": "units sold",
    "revenue": "revenue",
    "users": "users, those assigned to the group",
    "share": "planned shares of the users",
}

FIT = (
    argument("counts", type=Path, metavar="TABLE", help="one row per group"),
    argument("--report", type=Path, metavar="FOLDER", help="write a report there"),
    argument(
        "--hypothesis",
        action="append",
        default=[],
        metavar="METRIC:KPI:SIGN",
        help="such as recall@20:ctr:+; default: those of the paper",
    ),
    argument("--control", metavar="GROUP", help="compare with it; default: the lowest group"),
    argument(
        "--margin",
        type=margin,
        help="relative KPI difference that is negligible; 0.01 is 1%%",
    ),
    *(
        argument(f"--{name}", metavar="COLUMN", help=f"the table's column of {meaning}")
        for name, meaning in _COUNTS.items()
    ),
    argument(
        "--metric",
        action="append",
        default=[],
        metavar="COLUMN",
        help="an offline metric; may be repeated; default: every other numeric column",
    ),
    argument(
        "--x-reference",
        choices=["worst", "control", "log"],
        default="worst",
        help="x is M / min M - 1 (default), M / M of --control - 1, or log M",
    ),
    argument(
        "--one-trial-per-user",
        action="store_true",
        help="no user has two impressions, so impressions are independent",
    ),
    argument(
        "--error-correlation",
        type=correlation,
        default=0.0,
        metavar="R",
        help="of two groups' metric errors (METRIC_se); near 1 on the same test sessions",
    ),
    LEVEL,
)
"""Of ``paretoscope fit``."""
