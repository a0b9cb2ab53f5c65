"""Reading the ``report.json`` of finished studies, to pool or compare them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts.project_root import find_project_root
from pipeline.artifacts.storage import REPORT, md5
from pipeline.core.contracts import Metric
from pipeline.core.errors import DataError, MissingArtifact
from pipeline.core.labels import counted, metric_label
from pipeline.core.local_paths import local_path
from pipeline.results.document import SCHEMA_VERSION, Report
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.serialization import read_result

REPORT_FILE = "report.json"
REMEDY = "Re-run: dagster asset materialize --select regression_report"

_EXPECTED = "expected the report.json of a study or of 'paretoscope fit --report'"

_SAME_X = 1e-6
"""Relative changes this close are equal; a file may be rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyReport:
    """A report among those that are compared.

    Attributes:
        label: The study's name, or its path where two have the same name.
        path: Of its file.
        md5: Of its file.
        report: Its content.
    """

    label: str
    path: str
    md5: str
    report: Report

    def answers(self) -> dict[tuple[str, str], HypothesisResult]:
        """Its hypotheses by offline metric, with its k, and KPI."""
        return {
            (metric_label(one.metric, self.report.cutoff), one.kpi.value): one
            for one in self.report.hypotheses
        }


def read_report(path: Path) -> Report:
    """Read a report, or the output of ``paretoscope fit --json``.

    Raises:
        DataError: if it cannot be read, is not valid, contradicts itself, or has another schema
            version.
    """
    report = read_result(Report, path, remedy=_EXPECTED, name="a report.json")
    if report.schema_version != SCHEMA_VERSION:
        msg = f"{path} has schema version {report.schema_version}; expected {SCHEMA_VERSION}. {REMEDY}"
        raise DataError(msg)
    for one in report.hypotheses:
        if problem := _contradiction(one):
            msg = f"{path} is not valid: {one.metric} on {one.kpi}: {problem}. {REMEDY}"
            raise DataError(msg)
    return report


def _with_hypotheses(path: Path) -> Report:
    """Read a report that has at least one hypothesis."""
    report = read_report(path)
    if not report.hypotheses:
        msg = f"{path} has no hypotheses; expected at least one. {REMEDY}"
        raise DataError(msg)
    return report


def _contradiction(result: HypothesisResult) -> str | None:
    """What is inconsistent in a result."""
    covariance, g = result.metric_covariance, len(result.points)
    if covariance is not None and [len(row) for row in covariance] != [g] * g:
        return f"metric_covariance has {counted(len(covariance), 'row')}; expected {g} rows of {g}"
    if result.slope is None or result.x_reference != "worst":
        return None
    values = np.array([point.metric_value for point in result.points], dtype=np.float64)
    x = np.array([point.x for point in result.points], dtype=np.float64)
    expected = values / values.min() - 1 if len(values) and values.min() > 0 else values * np.nan
    if not np.allclose(x, expected, rtol=0, atol=_SAME_X):
        found, metric = (", ".join(f"{one:.6g}" for one in column) for column in (x, values))
        return f"x is {found}; expected each metric over the smallest of {metric}, less 1"
    return None


def cutoff_of(report: Report, metric: str) -> int | None:
    """The k a metric is measured at, where its name does not contain it."""
    has_none = metric in set(Metric) and not Metric(metric).has_cutoff
    return None if "@" in metric or has_none else report.cutoff


def read_reports(paths: Sequence[Path]) -> dict[str, Report]:
    """Reports of different experiments, by path.

    Raises:
        DataError: if a file is not a report, there are fewer than two, or an experiment occurs twice.
    """
    if len(paths) < 2:
        msg = f"got {len(paths)} report; expected two or more, each of a different experiment"
        raise DataError(msg)
    reports: dict[str, Report] = {}
    seen: dict[str, Path] = {}
    for path in paths:
        report = _with_hypotheses(path)
        marks = [f"have the md5 {md5(path)}"]
        if report.experiment:
            marks.append(f"are from experiment {report.experiment.plan.experiment!r}")
        for mark in marks:
            if mark in seen:
                msg = (
                    f"{seen[mark]} and {path}: both reports {mark}; each experiment may be used only "
                    "once. Leave one out, or give the experiments different names (experiment.name "
                    "in params.yaml)"
                )
                raise DataError(msg)
            seen[mark] = path
        reports[str(path)] = report
    return reports


def read_studies(names: Sequence[str]) -> list[StudyReport]:
    """Read the reports of studies, given by name, folder or ``report.json``.

    Raises:
        MissingArtifact: if one is not found.
        DataError: if there are fewer than two, one occurs twice, or one cannot be compared.
    """
    if len(names) < 2:
        msg = f"got one study, {names[0]}; compare needs two or more"
        raise DataError(msg)
    paths = [find_report(name) for name in names]
    found = [(path, md5(path), _of_study(path)) for path in paths]
    seen: dict[str, Path] = {}
    for path, digest, _ in found:
        if digest in seen:
            msg = f"{seen[digest]} and {path} are the same report; name different studies"
            raise DataError(msg)
        seen[digest] = path
    studies = [report.study for _, _, report in found]
    return [
        StudyReport(
            label=report.study
            if report.study and studies.count(report.study) == 1
            else _short(name),
            path=_relative(path),
            md5=digest,
            report=report,
        )
        for name, (path, digest, report) in zip(names, found, strict=True)
    ]


def _of_study(path: Path) -> Report:
    report = _with_hypotheses(path)
    if report.study is None or report.experiment is None:
        msg = f"{path} is not the report of a study: it has no study or no experiment. {REMEDY}"
        raise DataError(msg)
    return report


def find_report(name: str) -> Path:
    """The ``report.json`` of a name: a file, the folder of a study or report, or a study."""
    given = local_path(name, "the report")
    if given.is_file():
        return given
    for place in (given / REPORT / REPORT_FILE, given / REPORT_FILE):
        if place.is_file():
            return place
    try:
        studies = find_project_root() / "data" / "studies"
    except MissingArtifact:
        studies = None
    if studies is None or not (studies / name / REPORT / REPORT_FILE).is_file():
        known = (
            sorted(p.parents[1].name for p in studies.glob(f"*/{REPORT}/{REPORT_FILE}"))
            if studies
            else []
        )
        words = f"; finished studies are {', '.join(known)}" if known else ""
        msg = (
            f"no report of {name!r}: expected a study under data/studies, a study's folder or a "
            f"{REPORT_FILE}{words}. Create a report with: paretoscope study"
        )
        raise MissingArtifact(msg)
    return studies / name / REPORT / REPORT_FILE


def _relative(path: Path) -> str:
    """A path relative to the working directory, if it is below it."""
    whole, here = path.resolve(), Path.cwd()
    return (whole.relative_to(here) if whole.is_relative_to(here) else path).as_posix()


def _short(name: str) -> str:
    """A path as a label, without the part that all reports' paths end in."""
    path = Path(name)
    path = path.parent if path.name == REPORT_FILE else path
    path = path.parent if path.name == REPORT else path
    return path.as_posix()
