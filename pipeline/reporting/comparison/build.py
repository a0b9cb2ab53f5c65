"""A comparison as one dictionary, which ``comparison.json`` holds and the pages show."""

from collections.abc import Sequence
from typing import Any

from pipeline.reporting.comparison.front_comparison import compare_fronts
from pipeline.reporting.comparison.parameter_diff import (
    changed_parameters,
    data_of,
    dependence_warnings,
    same_parameters,
)
from pipeline.reporting.comparison.slope_comparison import compare_slopes
from pipeline.reporting.comparison.summary import sentences
from pipeline.results.reader import StudyReport

SCHEMA_VERSION = 1


def build_comparison(studies: Sequence[StudyReport], *, level: float) -> dict[str, Any]:
    """Everything a comparison says.

    Args:
        studies: Two or more.
        level: Coverage the intervals aim at.
    """
    common = dependence_warnings(studies)
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "level": level,
        "studies": [
            {"label": one.label, "study": one.report.study, "report": one.path, "md5": one.md5}
            for one in studies
        ],
        "doubts": [
            {"studies": list(pair), "because": because}
            for pair, because in common.items()
            if because
        ],
        "fronts": compare_fronts(studies),
        "hypotheses": compare_slopes(studies, common, level=level),
        "parameters": changed_parameters(studies),
        "same_parameters": same_parameters(studies),
        "data": data_of(studies),
    }
    return {"summary": sentences(found), **found}
