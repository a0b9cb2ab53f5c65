"""One thing that was looked at, and how it was found."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pipeline.core.errors import USER_ERRORS


class Status(StrEnum):
    """How something was found."""

    OK = "well"
    WARNING = "look"
    ERROR = "mend"

    @property
    def symbol(self) -> str:
        """The sign a line begins with."""
        return {Status.OK: "✓", Status.WARNING: "!", Status.ERROR: "✗"}[self]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What it is.
        state: ``well``, ``look`` (a study may run, but look at it) or ``mend`` (it will not, or its
            result would be wrong).
        words: What was found.
        remedy: A command, or what else to do; None where all is well.
    """

    check: str
    status: Status
    message: str
    fix: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return asdict(self)


def ok(subject: str, words: str) -> Finding:
    """A thing that is as it should be."""
    return Finding(subject, Status.OK, words)


def run_check(subject: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What ``look`` finds; an error that the user can mend is a finding, too."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except USER_ERRORS as error:
        found.append(Finding(subject, Status.ERROR, str(error), "do what the message says"))
    except OSError as error:
        words = f"cannot read {error.filename}: {error.strerror}"
        found.append(Finding(subject, Status.ERROR, words, f"make {error.filename} readable"))
    return found
