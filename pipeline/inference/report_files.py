"""Reading what several studies' ``report.json`` files say of their hypotheses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.artifacts.storage import md5
from pipeline.core.contracts import Metric
from pipeline.core.errors import DataError
from pipeline.inference.hypotheses.inputs import relative_change
from pipeline.inference.hypotheses.verdict import Verdict
from pipeline.results.family import Family

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_SAME_X = 1e-6
"""Relative changes this close are the same; a file may have been rounded."""


@dataclass(frozen=True)
class Point:
    """One group; see :class:`pipeline.inference.hypotheses.results.GroupPoint`."""

    metric_value: Finite | None
    x: Finite | None
    trials: int
    successes: int
    rate: Finite | None
    standard_error: Finite | None


@dataclass(frozen=True)
class ClusteredTest:
    """What is pooled of a slope's user-clustered test."""

    standard_error: Positive


@dataclass(frozen=True)
class Answer:
    """What is pooled of a hypothesis; older reports have no ``metric_covariance``."""

    metric: str
    kpi: str
    response: str
    link: Family
    slope: Finite | None
    verdict: Verdict
    undefined_because: str | None
    user_clustered: ClusteredTest | None
    points: tuple[Point, ...]
    metric_covariance: tuple[tuple[Finite, ...], ...] | None = None

    @property
    def unusable_because(self) -> str | None:
        """Why its slope cannot be pooled; None if it can."""
        if self.slope is None:
            return f"undefined: {self.undefined_because}"
        if self.verdict is Verdict.BLOCKED:
            return "blocked: the users are not divided as planned"
        if self.user_clustered is None:
            return "it has no user-clustered error, as the sums over users are not known"
        return None


@dataclass(frozen=True)
class Plan:
    """The experiment's name."""

    experiment: str


@dataclass(frozen=True)
class Experiment:
    """Where a report has the traffic plan."""

    plan: Plan


@dataclass(frozen=True)
class Report:
    """What is read of a report; the output of ``fit --json`` has the hypotheses alone."""

    hypotheses: Annotated[tuple[Answer, ...], Field(min_length=1)]
    cutoff: int | None = None
    experiment: Experiment | None = None

    def answer(self, metric: str, kpi: str) -> Answer | None:
        """What it says of one metric and KPI; None if it does not."""
        return next((a for a in self.hypotheses if (a.metric, a.kpi) == (metric, kpi)), None)

    def cutoff_of(self, metric: str) -> int | None:
        """The k a metric is measured at, where its name does not say it."""
        has_none = metric in set(Metric) and not Metric(metric).has_cutoff
        return None if "@" in metric or has_none else self.cutoff


_REPORT = TypeAdapter(Report)


def read_reports(paths: Sequence[Path]) -> dict[str, Report]:
    """The reports by their paths.

    Raises:
        DataError: if a file is no report, there is one alone, or an experiment is there twice.
    """
    if len(paths) < 2:
        msg = f"{len(paths)} report alone; expected two or more, each of another experiment"
        raise DataError(msg)
    reports: dict[str, Report] = {}
    seen: dict[str, Path] = {}
    for path in paths:
        report = _read(path)
        marks = [f"have the md5 {md5(path)}"]
        if report.experiment:
            marks.append(f"are of the experiment {report.experiment.plan.experiment!r}")
        for mark in marks:
            if mark in seen:
                msg = (
                    f"{seen[mark]} and {path} both {mark}, and an experiment counts once: leave one "
                    "out, or name different experiments differently (experiment.name in params.yaml)"
                )
                raise DataError(msg)
            seen[mark] = path
        reports[str(path)] = report
    return reports


def _read(path: Path) -> Report:
    try:
        report = _REPORT.validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}; expected the report.json of a study"
        raise DataError(msg) from error
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise _no_report(path, f"{key}: {problem['msg']}" if key else problem["msg"]) from error
    for answer in report.hypotheses:
        if problem := _contradiction(answer):
            raise _no_report(path, f"{answer.metric} on {answer.kpi}: {problem}")
    return report


def _no_report(path: Path, problem: str) -> DataError:
    return DataError(
        f"{path} is not a report.json that can be pooled: {problem}. Make it anew with: "
        "dagster asset materialize --select regression_report"
    )


def _contradiction(answer: Answer) -> str | None:
    """What is wrong between the parts of an answer that has a slope."""
    if answer.slope is None:
        return None
    values = np.array([point.metric_value for point in answer.points], dtype=np.float64)
    x = np.array([point.x for point in answer.points], dtype=np.float64)
    if not np.allclose(x, relative_change(values), rtol=0, atol=_SAME_X):
        found, metric = (", ".join(f"{one:.6g}" for one in column) for column in (x, values))
        return f"x is {found}; expected each metric over the smallest of {metric}, less 1"
    covariance, g = answer.metric_covariance, len(x)
    if covariance is not None and [len(row) for row in covariance] != [g] * g:
        return f"metric_covariance has {len(covariance)} rows; expected {g} rows of {g}"
    return None


def require_same(what: str, by_study: Mapping[str, Any]) -> Any:
    """The one value all studies have, None's aside.

    Raises:
        DataError: if there are several.
    """
    known = {study: value for study, value in by_study.items() if value is not None}
    if len(set(known.values())) > 1:
        found = ", ".join(f"{value} in {study}" for study, value in known.items())
        msg = f"{what} is not the same: {found}; pool studies that measure the same"
        raise DataError(msg)
    return next(iter(known.values()), None)
