"""What commands share: the project they run in, and their output."""

from collections.abc import Iterable
from json import dumps
from typing import Any

from rich.console import Console

from pipeline.artifacts.storage import StudyPaths, find_project_root
from pipeline.study import PARAMS_FILE, Study, load_study

_PLAIN: Any = {"soft_wrap": True, "highlight": False, "markup": False, "emoji": False}


def open_project() -> tuple[Study, StudyPaths]:
    """The study of the nearest ``params.yaml``, and its paths.

    Raises:
        MissingArtifact: if there is no ``params.yaml`` in this folder or above it.
        StudyError: if a parameter is invalid.
    """
    root = find_project_root()
    study = load_study(root / PARAMS_FILE)
    return study, StudyPaths.of(study, root)


def echo(line: str) -> None:
    """Print one line of the result to stdout."""
    Console(**_PLAIN).print(line)


def print_result(value: Any, lines: Iterable[str], *, json: bool) -> int:
    """Print the result to stdout, as JSON or in lines; returns the exit code 0."""
    text = dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    for line in [text] if json else lines:
        echo(line)
    return 0
