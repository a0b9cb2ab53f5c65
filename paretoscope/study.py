"""A study: its parameters, its steps and its tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.artifacts.project import StudyFile, named_study
from pipeline.artifacts.project_root import find_project_root
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import StudyError
from pipeline.core.local_paths import local_path
from pipeline.study import PARAMS_FILE
from pipeline.study import Study as Parameters

if TYPE_CHECKING:
    from paretoscope.results import Report
    from pipeline.steps.result import StepResult


@dataclass(frozen=True, slots=True)
class Study:
    """A study of the project at ``root``; create it with :func:`open_study`.

    Attributes:
        root: The folder that has ``params.yaml``.
        overrides: Values that replace those of ``params.yaml``, by dotted key.
        file: The file of its parameters; None for ``params.yaml``.
        parameters: All parameters, overrides included.

    Examples:
        >>> study = ps.open_study()
        >>> study
        Study(name='synthetic-shop')
        >>> study.parameters.training.epochs
        2
    """

    root: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    file: StudyFile | None = None
    parameters: Parameters = field(init=False)

    def __post_init__(self) -> None:
        file = self.file or StudyFile(root=self.root, path=self.root / PARAMS_FILE)
        object.__setattr__(self, "file", file)
        object.__setattr__(self, "parameters", file.load(self.overrides)[0])

    def __repr__(self) -> str:
        changed = f", overrides={dict(self.overrides)}" if self.overrides else ""
        return f"Study(name={self.name!r}{changed})"

    def _repr_html_(self) -> str:
        rows = [
            ("folder", self.paths.folder),
            *self.overrides.items(),
            ("tables", ", ".join(self.tables) or "none; run the study: .run()"),
        ]
        cells = "".join(
            f"<tr><th>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>"
            for key, value in rows
        )
        return f"<h4>Study {escape(self.name)}</h4><table>{cells}</table>"

    @property
    def name(self) -> str:
        """The study's name, and that of its folder under ``data/studies``."""
        return self.parameters.study.name

    @property
    def paths(self) -> StudyPaths:
        """Where the study's artifacts are."""
        return StudyPaths(self.root, self.name, self.file and self.file.path)

    def override(self, values: Mapping[str, Any]) -> "Study":
        """The same study with other parameters; ``params.yaml`` stays as it is.

        A study of another ``study.name`` has its artifacts in a folder of its own.

        Args:
            values: By dotted key; a value is what YAML would hold.

        Raises:
            StudyError: if a key or value is not valid.

        Examples:
            >>> study = ps.open_study().override({"training.epochs": 5})
            >>> study.parameters.training.epochs
            5
        """
        if not isinstance(values, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            msg = f"override: found {values!r}; expected a dict such as {{'training.epochs': 5}}"
            raise StudyError(msg)
        return Study(self.root, {**self.overrides, **values}, self.file)

    def generate_log(self) -> int:
        """Write the raw log of the synthetic shop to ``dataset.path``; returns its sessions."""
        from pipeline.synthetic.generate_log import generate_log  # noqa: PLC0415 - as in run_step

        target = self.root / local_path(self.parameters.dataset.path, "dataset.path")
        target.parent.mkdir(parents=True, exist_ok=True)
        return generate_log(self.parameters.synthetic, target)

    def run(self, until: str = "regression_report") -> "dict[str, StepResult[Any]]":
        """Run every step that ``until`` is derived from, then its own.

        A study of external variants has no model; its first step is the traffic plan.

        Args:
            until: The last asset, such as ``pareto_front``.

        Returns:
            The results by asset, in the order they ran.

        Raises:
            ParetoscopeError, ModelError: if a parameter or artifact is not valid; the message says
                how to fix it.

        Examples:
            >>> results = ps.open_study().run(until="events")
            >>> list(results)
            ['raw_events', 'events']
            >>> results["events"].rows == results["events"].value["events"]
            True
        """
        from pipeline.steps.run import run  # noqa: PLC0415 - as in run_step

        return run(self.parameters, self.paths, until)

    def run_step(self, name: str) -> "StepResult[Any]":
        """Run one step on the artifacts that exist.

        Args:
            name: The asset, such as ``group_kpis``.

        Raises:
            StudyError: if there is no such asset.
            ParetoscopeError, ModelError: as :meth:`run`.

        Examples:
            >>> result = ps.open_study().run_step("pareto_front")
            >>> 0 < result.value.hypervolume < 1
            True
        """
        from pipeline.steps.run import run_step  # noqa: PLC0415 - three seconds of imports

        return run_step(name, self.parameters, self.paths)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that exist by now.

        Examples:
            >>> "group_kpis" in ps.open_study().tables
            True
        """
        from pipeline.steps.tables import study_tables  # noqa: PLC0415 - as in run_step

        return tuple(study_tables(self.paths))

    def table(self, name: str) -> pl.DataFrame:
        """One table of the study.

        Args:
            name: One of :attr:`tables`; ``experiment_log`` is the ingested log, one row per
                impression, and ``preference_scores`` has the scores of all preferences.

        Raises:
            MissingArtifact: if the table does not exist; the message names the command or the
                tables that do.

        Examples:
            >>> front = ps.open_study().table("pareto_front")
            >>> front.columns[:3]
            ['preference_id', 'preference', 'recall']
        """
        from pipeline.steps.tables import read_study_table  # noqa: PLC0415 - as in run_step

        return read_study_table(self.paths, name)

    def report(self) -> "Report":
        """The report of the finished study.

        Raises:
            MissingArtifact: if there is none yet; run the study first.

        Examples:
            >>> report = ps.open_study().report()
            >>> [one.id for one in report.hypotheses]
            ['H1', 'H2', 'H3', 'H4']
        """
        from paretoscope.experiment import read_report_of  # noqa: PLC0415 - as in run_step

        return read_report_of(self)


def open_study(path: str | Path = ".", study: str | None = None) -> Study:
    """Open a study of a project.

    Args:
        path: The project's folder, or one below it: the nearest folder with a ``params.yaml``.
        study: The name of a study of ``studies``; None for ``params.yaml``.

    Raises:
        MissingArtifact: if there is no ``params.yaml``.
        StudyError: if there is no such folder or study, or a parameter is not valid.

    Examples:
        >>> ps.open_study().name
        'synthetic-shop'
    """
    if isinstance(path, str | Path):  # pyright: ignore[reportUnnecessaryIsInstance]
        local_path(path, "path")
    if not isinstance(path, str | Path) or not Path(path).is_dir():  # pyright: ignore[reportUnnecessaryIsInstance]
        found = repr(str(path) if isinstance(path, Path) else path)
        msg = (
            f"no folder {found}; open_study takes the project's folder; choose a study with "
            ".override({'study.name': ...})"
        )
        raise StudyError(msg)
    root = find_project_root(Path(path))
    return Study(root, file=named_study(root, study) if study else None)
