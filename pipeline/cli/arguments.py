"""Types of command-line arguments."""

import argparse
from contextlib import suppress


def override(text: str) -> tuple[str, str]:
    """Key and value of ``section.key=value``."""
    key, equals, value = text.partition("=")
    if equals and "." in key:
        return key, value
    raise argparse.ArgumentTypeError(f"{text!r} is not of the form section.key=value")


def port(text: str) -> int:
    """A TCP port; 0 selects a free one."""
    with suppress(ValueError):
        if 0 <= (port := int(text)) < 1 << 16:
            return port
    raise argparse.ArgumentTypeError(f"{text!r} is not a valid port; expected 0 to 65535")


def level(text: str) -> float:
    """A confidence level."""
    with suppress(ValueError):
        if 0.5 < (level := float(text)) < 1:
            return level
    raise argparse.ArgumentTypeError(f"{text!r} is not between 0.5 and 1; such as 0.95")
