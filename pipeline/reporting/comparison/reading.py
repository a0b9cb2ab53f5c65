"""The reports that are compared: where they lie, and what is read of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.artifacts.storage import REPORT, find_project_root, md5
from pipeline.core.errors import DataError, MissingArtifact
from pipeline.core.labels import metric_label
from pipeline.inference.glm.wald import SlopeTest
from pipeline.inference.hypotheses.verdict import Verdict
from pipeline.inference.meta.slope_contrasts import MeasuredSlope
from pipeline.reporting.report import SCHEMA_VERSION
from pipeline.results.family import Family

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_FILE = "report.json"


@dataclass(frozen=True)
class Test:
    """A slope and its error; see :class:`pipeline.inference.glm.wald.SlopeTest`."""

    slope: Finite
    standard_error: Positive
    df: int | None
    covariance: str


@dataclass(frozen=True)
class FewGroups:
    """The slope as the groups' distance from the line knows it."""

    hartung_knapp: Test


@dataclass(frozen=True)
class ErrorInX:
    """The slope's error with that of the offline metrics in it, where it is known."""

    propagated: Test | None


@dataclass(frozen=True)
class GroupPoint:
    """A group's offline metric."""

    metric_value: Finite | None


@dataclass(frozen=True)
class Hypothesis:
    """One answer of a study."""

    id: str
    metric: str
    kpi: str
    response: str
    direction: str
    link: Family
    slope: Finite | None
    n: int
    groups: int
    verdict: Verdict
    undefined_because: str | None
    points: tuple[GroupPoint, ...]
    reading: str = "planned end"
    user_clustered: Test | None = None
    few_groups: FewGroups | None = None
    error_in_x: ErrorInX | None = None

    @property
    def test(self) -> Test | None:
        """The slope with the error of users, and of test sessions where that is known."""
        if self.slope is None:
            return None
        return (self.error_in_x and self.error_in_x.propagated) or self.user_clustered

    @property
    def not_compared_because(self) -> str | None:
        """Why its slope stands for itself; None if it can be compared."""
        if self.slope is None:
            return f"undefined: {self.undefined_because}"
        if self.verdict is Verdict.BLOCKED:
            return "blocked: the users are not divided as planned"
        return None if self.test else "the error that users make is not known"

    @property
    def worst_metric(self) -> float | None:
        """The worst group's metric, of which x is the relative change."""
        known = [point.metric_value for point in self.points if point.metric_value is not None]
        return min(known, default=None)

    def measured(self, *, level: float) -> MeasuredSlope:
        """The slope as differences are made of it."""
        assert self.test is not None, "only slopes with an error are compared"
        few = self.few_groups.hartung_knapp if self.few_groups else None
        return MeasuredSlope(
            slope=self.test.slope,
            standard_error=self.test.standard_error,
            few_groups=few
            and SlopeTest(
                covariance=few.covariance,
                slope=few.slope,
                standard_error=few.standard_error,
                df=few.df,
                level=level,
                interval=(few.slope, few.slope),
                p_value=1.0,
            ),
        )


@dataclass(frozen=True)
class FrontPoint:
    """One preference in metric space."""

    preference_id: str
    preference: tuple[Finite, ...]
    recall: Finite
    order_density: Finite
    dominated: bool


@dataclass(frozen=True)
class Front:
    """A study's front."""

    hypervolume: Finite
    reference_point: tuple[Finite, ...]
    points: tuple[FrontPoint, ...]


@dataclass(frozen=True)
class Experiment:
    """What is read of the experiment."""

    plan: dict[str, Any]
    origin: str = "unknown"


@dataclass(frozen=True)
class Report:
    """What is read of a report; a study of variants of one's own has no front and no data card."""

    study: str
    cutoff: int | None
    hypotheses: Annotated[tuple[Hypothesis, ...], Field(min_length=1)]
    experiment: Experiment
    offline_metrics: tuple[dict[str, Any], ...]
    group_kpis: tuple[dict[str, Any], ...]
    parameters: dict[str, Any]
    provenance: dict[str, Any]
    front: Front | None = None
    data: dict[str, Any] | None = None


@dataclass(frozen=True)
class StudyReport:
    """A report among those that are compared.

    Attributes:
        label: What it is called: its study's name, or its path where two have the same name.
        path: Where it was read from.
        md5: Of its bytes.
        report: What it says.
    """

    label: str
    path: str
    md5: str
    report: Report

    def answers(self) -> dict[tuple[str, str], Hypothesis]:
        """Its hypotheses by offline metric, with its k, and KPI."""
        return {
            (metric_label(one.metric, self.report.cutoff), one.kpi): one
            for one in self.report.hypotheses
        }


@dataclass(frozen=True)
class _Version:
    schema_version: int


_VERSION, _REPORT = TypeAdapter(_Version), TypeAdapter(Report)


def read_studies(names: Sequence[str]) -> list[StudyReport]:
    """Read the reports of studies that are named, or whose folders or ``report.json`` are.

    Raises:
        MissingArtifact: if one is not found.
        DataError: if there is one alone, one is there twice, or one cannot be compared.
    """
    if len(names) < 2:
        msg = f"{names[0]} alone: name two or more studies to compare"
        raise DataError(msg)
    paths = [find_report(name) for name in names]
    found = [(path, md5(path), _read(path)) for path in paths]
    seen: dict[str, Path] = {}
    for path, digest, _ in found:
        if digest in seen:
            msg = f"{seen[digest]} and {path} are the same report; name different studies"
            raise DataError(msg)
        seen[digest] = path
    studies = [report.study for _, _, report in found]
    return [
        StudyReport(
            label=report.study if studies.count(report.study) == 1 else _short(name),
            path=_from_here(path),
            md5=digest,
            report=report,
        )
        for name, (path, digest, report) in zip(names, found, strict=True)
    ]


def find_report(name: str) -> Path:
    """The ``report.json`` that is named: a file, a study's or a report's folder, or a study."""
    given = Path(name)
    if given.is_file():
        return given
    for place in (given / REPORT / _FILE, given / _FILE):
        if place.is_file():
            return place
    try:
        studies = find_project_root() / "data" / "studies"
    except MissingArtifact:
        studies = None
    if studies is None or not (studies / name / REPORT / _FILE).is_file():
        known = (
            []
            if studies is None
            else sorted(p.parents[1].name for p in studies.glob(f"*/{REPORT}/{_FILE}"))
        )
        words = f"; finished studies are {', '.join(known)}" if known else ""
        msg = (
            f"no report of {name!r}: expected a study under data/studies, a study's folder or a "
            f"{_FILE}{words}. Make a report with: paretoscope study"
        )
        raise MissingArtifact(msg)
    return studies / name / REPORT / _FILE


def _from_here(path: Path) -> str:
    """A path as it is typed in the working directory, if it lies below."""
    whole, here = path.resolve(), Path.cwd()
    return (whole.relative_to(here) if whole.is_relative_to(here) else path).as_posix()


def _short(name: str) -> str:
    """A path as a label, without what every report's path ends in."""
    path = Path(name)
    path = path.parent if path.name == _FILE else path
    path = path.parent if path.name == REPORT else path
    return path.as_posix()


def _read(path: Path) -> Report:
    try:
        text = path.read_bytes()
        version = _VERSION.validate_json(text).schema_version
        if version != SCHEMA_VERSION:
            msg = (
                f"{path} has schema version {version}, and this version of Paretoscope compares "
                f"{SCHEMA_VERSION}. Make it anew with: dagster asset materialize --select "
                "regression_report"
            )
            raise DataError(msg)
        return _REPORT.validate_json(text)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}; expected the report.json of a study"
        raise DataError(msg) from error
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        msg = (
            f"{path} is not the report.json of a study: {key or 'the file'}: {problem['msg']}. Make "
            "it anew with: dagster asset materialize --select regression_report"
        )
        raise DataError(msg) from error
