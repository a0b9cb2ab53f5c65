"""Pareto fronts of several studies: the largest hypervolume, and dominated points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.results.document import FrontPoint, FrontSummary, Report
from pipeline.results.reader import StudyReport
from pipeline.study import flatten

_TEST_SESSIONS = ("sessions.", "evaluation.sessions", "dataset.")
"""Prefixes of the parameters that decide on which sessions metrics are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPoint:
    """One preference in metric space; metrics are on the axes of the comparison.

    Metrics are None where undefined, standard errors where unknown.
    """

    preference_id: str
    preference: tuple[float, ...]
    metrics: tuple[float | None, ...]
    standard_errors: tuple[float | None, ...]
    dominated: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DominatedBy:
    """How many non-dominated points of a front another study's front dominates."""

    study: str
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFront:
    """The front of one study."""

    study: str
    cutoff: int | None
    hypervolume: float
    reference_point: tuple[float, ...]
    non_dominated: int
    dominated_by: tuple[DominatedBy, ...]
    points: tuple[ComparedPoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontComparison:
    """The fronts of several studies.

    Attributes:
        axes: The two metrics that the comparison shows, axes of all fronts.
        not_comparable_because: Why hypervolumes cannot be compared; None if they can.
        largest: The study with the largest hypervolume; None where not comparable.
        studies: The fronts.
    """

    axes: tuple[str, str]
    not_comparable_because: str | None
    largest: str | None
    studies: tuple[StudyFront, ...]


def compare_fronts(studies: Sequence[StudyReport]) -> FrontComparison | None:
    """Compare the fronts of the studies; None with fewer than two, or without two common axes.

    Hypervolumes are comparable if they have the same axes, cutoff and test sessions.
    """
    fronts = [(one, _of_preferences(one.report.front)) for one in studies if one.report.front]
    if len(fronts) < 2:
        return None
    axes = [axis for axis in fronts[0][1].axes if all(axis in one.axes for _, one in fronts)]
    if len(axes) < 2:
        return None
    reason = _not_comparable([one for one, _ in fronts])
    largest = max(fronts, key=lambda pair: pair[1].hypervolume)[0].label
    return FrontComparison(
        axes=(axes[0], axes[1]),
        not_comparable_because=reason,
        largest=None if reason else largest,
        studies=tuple(
            StudyFront(
                study=one.label,
                cutoff=one.report.cutoff,
                hypervolume=front.hypervolume,
                reference_point=front.reference_point,
                non_dominated=sum(point.dominated is False for point in front.points),
                dominated_by=tuple(
                    DominatedBy(study=other.label, points=dominated_count(front, rival, axes))
                    for other, rival in fronts
                    if other is not one
                ),
                points=tuple(_point(point, one, axes[:2]) for point in front.points),
            )
            for one, front in fronts
        ),
    )


def _of_preferences(front: FrontSummary) -> FrontSummary:
    """The front at the neutral level of a second axis."""
    return replace(front, points=tuple(one for one in front.points if one.level_label is None))


def dominated_count(front: FrontSummary, other: FrontSummary, axes: Sequence[str]) -> int:
    """The number of non-dominated points of ``front`` that a point of ``other`` dominates."""
    return sum(
        any(_dominates(rival, point, axes) for rival in other.points)
        for point in front.points
        if point.dominated is False
    )


def raw_md5(report: Report) -> str | None:
    """The md5 of the raw data, if the report contains it."""
    return report.provenance.dataset and report.provenance.dataset.md5


def _dominates(rival: FrontPoint, point: FrontPoint, axes: Sequence[str]) -> bool:
    pairs = [(rival.metrics[axis], point.metrics[axis]) for axis in axes]
    gains = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
    if len(gains) < len(axes):
        return False
    return min(gains) >= 0 and max(gains) > 0


def _not_comparable(studies: Sequence[StudyReport]) -> str | None:
    reports = [one.report for one in studies]
    if len({report.cutoff for report in reports}) > 1:
        return "the metrics have different cutoffs"
    if len({report.front.axes for report in reports if report.front}) > 1:
        return "the fronts have different axes"
    if len({raw_md5(report) for report in reports}) > 1:
        return "the metrics are measured on different data"
    sessions = [
        {
            key: value
            for key, value in flatten(report.parameters or {}).items()
            if key.startswith(_TEST_SESSIONS)
        }
        for report in reports
    ]
    if any(one != sessions[0] for one in sessions):
        return "the metrics are measured on different test sessions of the same data"
    return None


def _point(point: FrontPoint, study: StudyReport, axes: Sequence[str]) -> ComparedPoint:
    errors = {
        row.metric: row.standard_error
        for row in study.report.offline_metrics
        if row.preference_id == point.preference_id
    }
    return ComparedPoint(
        preference_id=point.preference_id,
        preference=point.preference,
        metrics=tuple(point.metrics[axis] for axis in axes),
        standard_errors=tuple(errors.get(axis) for axis in axes),
        dominated=point.dominated,
    )
