"""Which study a command is about: ``--study`` or ``--params``, and the sections that it reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyChoice:
    """The study of a command.

    Attributes:
        name: As ``--study``; None if it is not given.
        params: As ``--params``; None if it is not given.
        touched: The sections of ``params.yaml`` that the command reads; None for all.
    """

    name: str | None = None
    params: Path | None = None
    touched: tuple[str, ...] | None = None


_CHOICE: ContextVar[StudyChoice] = ContextVar("_CHOICE")


def current_choice() -> StudyChoice:
    """The choice of the command that runs."""
    return _CHOICE.get(StudyChoice())


@contextmanager
def chosen_study(choice: StudyChoice) -> Iterator[None]:
    """Run a command for the study of ``choice``."""
    token = _CHOICE.set(choice)
    try:
        yield
    finally:
        _CHOICE.reset(token)
