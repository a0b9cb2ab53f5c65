"""Create a project with one study from a template, or add a study to a project."""

import re
from pathlib import Path

from pipeline.artifacts.project import project_studies
from pipeline.artifacts.project_root import find_project_root
from pipeline.artifacts.storage import atomic_folder
from pipeline.core.errors import MissingArtifact, StudyError
from pipeline.scaffold.templates import (
    NewStudy,
    Template,
    project_files,
    stage,
    study_files,
)
from pipeline.study import NAME_PATTERN

_DEFAULT_STAGE = "study"
"""The stage of the default study in ``dvc.yaml``."""


def create_project(study: NewStudy, parent: Path) -> Path:
    """Write a new project in ``parent``; returns its folder, which is named after the study.

    Raises:
        StudyError: if the name is not valid or taken, or ``parent`` is in a project.
    """
    _check_name(study.name)
    root, target = _project_above(parent), parent / study.name
    if root is not None:
        msg = (
            f"{parent} is in the project {root}; run this elsewhere, or add the study to that project "
            f"with: paretoscope init {study.name} --template {study.template} --add"
        )
        raise StudyError(msg)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        msg = f"{target} exists and is not empty; choose another name"
        raise StudyError(msg)
    with atomic_folder(target) as folder:
        _write(project_files(study), folder)
    return target


def add_study(study: NewStudy, here: Path) -> Path:
    """Write a further study of the project that ``here`` is in; returns the file of its parameters.

    Raises:
        MissingArtifact: if it is in no project.
        StudyError: if the name is not valid or taken, or the template has no study.
    """
    _check_name(study.name)
    root = find_project_root(here)
    if study.template is Template.SPREADSHEET:
        msg = "past tests need no study: write tests.csv and run 'paretoscope meta-analysis tests.csv'"
        raise StudyError(msg)
    if taken := [one for one in project_studies(root) if one.name() == study.name]:
        msg = f"{taken[0].label} is already the study {study.name}; choose another name"
        raise StudyError(msg)
    files, dvc = study_files(study), root / "dvc.yaml"
    if present := [name for name in files if (root / name).exists()]:
        msg = f"{root / present[0]} exists; choose another name, or remove it"
        raise StudyError(msg)
    _write(files, root)
    if dvc.is_file():
        text = dvc.read_text(encoding="utf-8")
        dvc.write_text(text.rstrip("\n") + "\n" + stage(study), encoding="utf-8")
    return root / study.params


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name) or name == _DEFAULT_STAGE:
        msg = f"the name {name!r} is not valid; expected lower-case letters, digits and hyphens, not 'study'"
        raise StudyError(msg)


def _project_above(folder: Path) -> Path | None:
    try:
        return find_project_root(folder)
    except MissingArtifact:
        return None


def _write(files: dict[str, str], folder: Path) -> None:
    for name, text in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
