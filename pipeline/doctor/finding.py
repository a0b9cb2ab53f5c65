"""The result of one check."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.errors import USER_ERRORS

_NAMED = 4
"""Number of items that a message lists; the others are counted."""


class Status(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"

    @property
    def symbol(self) -> str:
        """The first character of its line."""
        return {Status.OK: "✓", Status.WARNING: "!", Status.ERROR: "✗"}[self]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        check: What was checked.
        status: ``warning`` if a study can run, ``error`` if it would fail or its result be wrong.
        message: What was found, and what was expected.
        fix: A command or an instruction; None if the status is ``ok``, or if the message says what
            to do and no single command does it.
    """

    check: str
    status: Status
    message: str
    fix: str | None = None


def ok(check: str, message: str) -> Finding:
    """A finding without a problem."""
    return Finding(check, Status.OK, message)


def run_check(check: str, find: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """All findings of a check; a user error that it raises becomes a finding."""
    findings: list[Finding] = []
    try:
        findings.extend(find())
    except USER_ERRORS as error:
        fix = getattr(error, "command", None)
        findings.append(Finding(check, Status.ERROR, str(error), fix))
    except OSError as error:
        message = f"cannot read {error.filename}: {error.strerror}"
        findings.append(Finding(check, Status.ERROR, message, f"make {error.filename} readable"))
    return findings


def shortened(names: list[str]) -> str:
    """The first names, and the number of the others."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
