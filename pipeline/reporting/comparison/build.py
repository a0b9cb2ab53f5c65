"""A comparison of studies as one typed document, the content of ``comparison.json``."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.reporting.comparison.front_comparison import FrontComparison, compare_fronts
from pipeline.reporting.comparison.parameter_diff import (
    ComparedFact,
    ComparedParameter,
    changed_parameters,
    compare_data,
    dependence_warnings,
    equal_parameters,
)
from pipeline.reporting.comparison.slope_comparison import ComparedHypothesis, compare_slopes
from pipeline.reporting.comparison.summary import summary_sentences
from pipeline.results.reader import StudyReport

SCHEMA_VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedStudy:
    """A study, and the report it is read from."""

    label: str
    study: str
    report: str
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DependenceWarning:
    """Why two studies may be dependent."""

    studies: tuple[str, str]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The content of ``comparison.json``."""

    summary: tuple[str, ...]
    schema_version: int
    level: float
    studies: tuple[ComparedStudy, ...]
    dependence_warnings: tuple[DependenceWarning, ...]
    fronts: FrontComparison | None
    hypotheses: tuple[ComparedHypothesis, ...]
    parameters: tuple[ComparedParameter, ...]
    equal_parameters: int
    data: tuple[ComparedFact, ...]


def build_comparison(studies: Sequence[StudyReport], *, level: float) -> Comparison:
    """Compare two or more studies; ``level`` is the coverage of the confidence intervals."""
    warnings = dependence_warnings(studies)
    fronts = compare_fronts(studies)
    hypotheses = compare_slopes(studies, warnings, level=level)
    return Comparison(
        summary=tuple(summary_sentences(fronts, hypotheses)),
        schema_version=SCHEMA_VERSION,
        level=level,
        studies=tuple(
            ComparedStudy(
                label=one.label, study=one.report.study or one.label, report=one.path, md5=one.md5
            )
            for one in studies
        ),
        dependence_warnings=tuple(
            DependenceWarning(studies=pair, reasons=tuple(reasons))
            for pair, reasons in warnings.items()
            if reasons
        ),
        fronts=fronts,
        hypotheses=tuple(hypotheses),
        parameters=tuple(changed_parameters(studies)),
        equal_parameters=equal_parameters(studies),
        data=tuple(compare_data(studies)),
    )
