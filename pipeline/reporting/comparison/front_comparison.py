"""Fronts over each other: whose hypervolume is larger, and whose points are dominated."""

from collections.abc import Sequence
from typing import Any

from pipeline.results.document import FrontPoint, FrontSummary
from pipeline.results.reader import StudyReport
from pipeline.study import flatten

_AXES = ("recall", "order_density")
_SESSIONS = ("sessions.", "evaluation.sessions", "dataset.")


def compare_fronts(studies: Sequence[StudyReport]) -> dict[str, Any] | None:
    """The studies' fronts, and whether one is before the others; None with fewer than two.

    Hypervolumes are compared only where the same sessions measured them, with the same k and from
    the same reference point; elsewhere ``not_comparable_because`` says what differs.
    """
    fronts = {one.label: one.report.front for one in studies if one.report.front}
    having = [one for one in studies if one.report.front]
    if len(fronts) < 2:
        return None
    reason = _not_comparable(having)
    return {
        "not_comparable_because": reason,
        "largest": None if reason else max(fronts, key=lambda label: fronts[label].hypervolume),
        "studies": [
            {
                "study": one.label,
                "cutoff": one.report.cutoff,
                "hypervolume": front.hypervolume,
                "reference_point": list(front.reference_point),
                "undominated": sum(not point.dominated for point in front.points),
                "behind": [
                    {"study": other, "points": dominated_count(front, fronts[other])}
                    for other in fronts
                    if other != one.label
                ],
                "points": [_point(point, one) for point in front.points],
            }
            for one in having
            if (front := fronts[one.label])
        ],
    }


def dominated_count(front: FrontSummary, other: FrontSummary) -> int:
    """How many undominated points of ``front`` a point of ``other`` dominates."""
    return sum(
        any(_dominates(rival, point) for rival in other.points)
        for point in front.points
        if not point.dominated
    )


def _dominates(rival: FrontPoint, point: FrontPoint) -> bool:
    """At least as good in both, and better in one."""
    gains = [getattr(rival, axis) - getattr(point, axis) for axis in _AXES]
    return min(gains) >= 0 and max(gains) > 0


def _not_comparable(studies: Sequence[StudyReport]) -> str | None:
    reports = [one.report for one in studies]
    if len({report.cutoff for report in reports}) > 1:
        return "their metrics are at different cutoffs"
    if len({report.front.reference_point for report in reports if report.front}) > 1:
        return "their hypervolumes have different reference points"
    if len({report.provenance.dataset for report in reports}) > 1:
        return "they were measured on different data"
    kept = [
        {
            key: value
            for key, value in flatten(report.parameters or {}).items()
            if key.startswith(_SESSIONS)
        }
        for report in reports
    ]
    if any(one != kept[0] for one in kept):
        return "they were measured on different test sessions of the same data"
    return None


def _point(point: FrontPoint, study: StudyReport) -> dict[str, Any]:
    errors = {
        row.metric: row.standard_error
        for row in study.report.offline_metrics
        if row.preference_id == point.preference_id and row.metric in _AXES
    }
    return {
        "preference_id": point.preference_id,
        "preference": list(point.preference),
        **{axis: getattr(point, axis) for axis in _AXES},
        **{f"{axis}_standard_error": errors.get(axis) for axis in _AXES},
        "dominated": point.dominated,
    }
