"""The studies of a project: ``params.yaml`` is the default study, ``studies/*.yaml`` are further ones.

Every study has a name of its own, and with it a folder under ``data/studies``. The name of a further
study is that of its file, so that the studies of a project are known without reading them.
"""

import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.project_root import find_project_root
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import MissingArtifact, StudyError
from pipeline.core.local_paths import local_path
from pipeline.study import NAME_PATTERN, PARAMS_FILE, SECTIONS, Study, load_study, parse_yaml

STUDIES_FOLDER = "studies"
"""Where the parameters of further studies are."""

STUDY_VARIABLE = "PARETOSCOPE_STUDY"
"""The environment variable with the name of the study, as ``--study``."""

PARAMS_VARIABLE = "PARETOSCOPE_PARAMS"
"""The environment variable with the file of the study, as ``--params``."""

MODULE_VARIABLE = "DAGSTER_MODULE_NAME"
"""The environment variable by which the ``dagster`` command finds the assets."""

DEFINITIONS = "assets.definitions"
"""Its value: the module of the assets."""

ONLY_VARIABLE = "PARETOSCOPE_ONLY"
"""Set where Dagster loads no study but that of :data:`PARAMS_VARIABLE`, as ``paretoscope study`` does."""

_SUFFIXES = (".yaml", ".yml")
_NAME = re.compile(NAME_PATTERN)
_MATERIALIZE = re.compile(r"\bdagster asset materialize(?= --select)")
_OWN = re.compile(
    r"\bparetoscope (study|report|doctor|generate|train|evaluate-shard|plan|serve|validate-data|"
    r"validate-log|ingest|verify|update-reference|rollout)\b(?! --(?:study|params))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFile:
    """The file of a study's parameters.

    Attributes:
        root: The project's folder, which relative paths in the file are relative to.
        path: The file.
        prefix: First part of the keys of the study's assets in Dagster: its name, or empty for the
            default study.
    """

    root: Path
    path: Path
    prefix: str = ""

    @property
    def flag(self) -> str:
        """The option that selects the study; empty for the default study."""
        if not self.prefix:
            return ""
        if self.path.parent == self.root / STUDIES_FOLDER:
            return f"--study {self.prefix}"
        return f"--params {self.label}"

    @property
    def label(self) -> str:
        """The file as messages name it: relative to the project, if it is in it."""
        inside = self.path.is_relative_to(self.root)
        return (self.path.relative_to(self.root) if inside else self.path).as_posix()

    def load(
        self, overrides: Mapping[str, Any] | None = None, touched: Collection[str] = SECTIONS
    ) -> tuple[Study, StudyPaths]:
        """The study and the paths of its artifacts.

        Args:
            overrides: Values by dotted key.
            touched: Sections that the caller reads; the others may be invalid.

        Raises:
            StudyError: if a value is not valid, or another study has the same name.
        """
        study = load_study(self.path, overrides, touched)
        name = study.study.name
        if self.prefix and name != self.prefix:
            msg = (
                f"{self.label}: study.name = {name}, expected {self.prefix}: a study has the name of "
                "its file. Rename one of them"
            )
            raise StudyError(msg)
        for other in project_studies(self.root):
            if other.path != self.path and other.name() == name:
                msg = (
                    f"{self.label} and {other.label} both have study.name = {name}, so they would "
                    "write the same artifacts; give one of them another name"
                )
                raise StudyError(msg)
        return study, StudyPaths(self.root, name, self.path)

    def name(self) -> str | None:
        """The study's name; of the default study None if its file cannot be read."""
        return self.prefix or _name_in(self.path)

    def adapt(self, message: str) -> str:
        """A message whose commands are for the default study, with those that work for this study.

        ``dagster asset materialize`` needs the module's name in the environment.
        """
        if self.flag or MODULE_VARIABLE not in os.environ:
            message = _MATERIALIZE.sub("paretoscope study", message)
        return _OWN.sub(rf"paretoscope \1 {self.flag}", message) if self.flag else message


def project_studies(root: Path) -> list[StudyFile]:
    """The studies of the project at ``root``, the default one first; none of them is read.

    A file of ``studies`` whose name is not a valid study name is left out, as is every other file.
    """
    found: list[StudyFile] = []
    if (root / PARAMS_FILE).is_file():
        found.append(StudyFile(root=root, path=root / PARAMS_FILE))
    folder = root / STUDIES_FOLDER
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return found + [
        StudyFile(root=root, path=path, prefix=path.stem)
        for path in files
        if path.suffix in _SUFFIXES and _NAME.fullmatch(path.stem)
    ]


def loaded_studies() -> list[StudyFile]:
    """The studies that Dagster shows: those of the project, and one of :data:`PARAMS_VARIABLE`."""
    chosen = os.environ.get(PARAMS_VARIABLE)
    if not chosen:
        return project_studies(find_project_root())
    extra = study_of_file(Path(chosen))
    if os.environ.get(ONLY_VARIABLE):
        return [extra]
    studies = project_studies(extra.root)
    return studies if extra in studies else [*studies, extra]


def loaded_study(prefix: str) -> StudyFile:
    """The study of :func:`loaded_studies` with this prefix.

    Raises:
        MissingArtifact: if its file is gone since the definitions were loaded.
    """
    found = next((one for one in loaded_studies() if one.prefix == prefix), None)
    if found is None:
        msg = f"{STUDIES_FOLDER}/{prefix}.yaml is gone; restore it, or reload the definitions"
        raise MissingArtifact(msg)
    return found


def choose_study(name: str | None = None, params: Path | None = None) -> StudyFile:
    """The study that a command is about.

    Args:
        name: Of the study, as ``--study``; None for that of :data:`STUDY_VARIABLE`.
        params: Its file, as ``--params``; None for that of :data:`PARAMS_VARIABLE`.

    Returns:
        The named one; the project's default study if none is named.

    Raises:
        MissingArtifact: if there is no ``params.yaml`` in this folder or above it.
        StudyError: if the project has no study of this name.
    """
    if params is not None:
        return study_of_file(params)
    if name is None and (file := os.environ.get(PARAMS_VARIABLE)):
        return study_of_file(Path(file))
    name = name or os.environ.get(STUDY_VARIABLE)
    root = find_project_root()
    return named_study(root, name) if name else project_studies(root)[0]


def study_of_file(path: Path) -> StudyFile:
    """The study of any file; its project is the nearest one above it, or its own folder.

    Raises:
        StudyError: if there is no such file, or it names no study.
    """
    path = local_path(path, "the file of the study (--params or PARETOSCOPE_PARAMS)")
    path = path.parent.resolve() / path.name
    root = _root_of(path)
    for known in project_studies(root):
        if known.path == path:
            return known
    if not path.is_file():
        msg = f"no file {path}; expected the parameters of a study, such as {PARAMS_FILE}"
        raise StudyError(msg)
    if not (root / PARAMS_FILE).is_file():
        return StudyFile(root=root, path=path)
    return StudyFile(root=root, path=path, prefix=_name_in(path) or load_study(path).study.name)


def _root_of(path: Path) -> Path:
    folder = path.parent.resolve()
    found = next((one for one in (folder, *folder.parents) if (one / PARAMS_FILE).is_file()), None)
    return found or folder


def named_study(root: Path, name: str) -> StudyFile:
    """A study of the project at ``root``.

    Raises:
        StudyError: if it has no study of this name.
    """
    studies = project_studies(root)
    by_name = {one.name(): one for one in studies}
    if name not in by_name:
        known = ", ".join(f"{one} ({by_name[one].label})" for one in by_name if one)
        msg = (
            f"no study {name!r}; the studies of {root} are {known}. A further study is "
            f"the file {STUDIES_FOLDER}/{name}.yaml"
        )
        raise StudyError(msg)
    return by_name[name]


def _name_in(path: Path) -> str | None:
    """``study.name`` of a file, which may be invalid otherwise."""
    with suppress(OSError, StudyError, KeyError, TypeError):
        name = parse_yaml(path.read_bytes()).values["study"]["name"]
        return name if isinstance(name, str) and _NAME.fullmatch(name) else None
    return None
