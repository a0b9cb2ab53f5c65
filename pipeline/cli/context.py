"""What commands share: the study they are about, and their output."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from json import dumps
from typing import Any

from rich.console import Console

from pipeline.artifacts.project import StudyFile, choose_study
from pipeline.artifacts.storage import StudyPaths
from pipeline.cli.choice import current_choice
from pipeline.core.errors import ParetoscopeError
from pipeline.study import SECTIONS, Study

_PLAIN: Any = {"soft_wrap": True, "highlight": False, "markup": False, "emoji": False}


def study_file() -> StudyFile:
    """The file of the study that the command is about.

    Raises:
        MissingArtifact: if there is no ``params.yaml`` in this folder or above it.
        StudyError: if the project has no such study.
    """
    choice = current_choice()
    return choose_study(choice.name, choice.params)


def open_project(overrides: Mapping[str, Any] | None = None) -> tuple[Study, StudyPaths]:
    """The study that the command is about, and its paths.

    Raises:
        MissingArtifact, StudyError: as :func:`study_file`.
        StudyError: if a parameter that the command reads is invalid.
    """
    return study_file().load(overrides, current_choice().touched or SECTIONS)


def adapted(message: str) -> str:
    """A message whose commands are those for the study that the command is about."""
    with suppress(ParetoscopeError):
        return study_file().adapt(message)
    return message


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
