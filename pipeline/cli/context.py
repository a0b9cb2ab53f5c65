"""What commands share: the study they are about."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pipeline.artifacts.project import StudyFile, choose_study
from pipeline.artifacts.storage import StudyPaths
from pipeline.cli.choice import current_choice
from pipeline.core.errors import ParetoscopeError
from pipeline.study import SECTIONS, Study


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
