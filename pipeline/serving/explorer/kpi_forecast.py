"""The KPIs expected at a preference: values where the verdict allows them, notes otherwise."""

from collections.abc import Mapping

from scipy.special import ndtri

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.inference.hypotheses.prediction import FittedLine, KpiPrediction
from pipeline.reporting.text.formatting import interval
from pipeline.reporting.text.reasons import undefined_words
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Verdict
from pipeline.serving.explorer.schemas import ExpectedKpi, KpiView, ObservedKpi
from pipeline.serving.explorer.study_tables import ExplorerData

_WITH_VALUE = {
    Verdict.CONFIRMED,
    Verdict.SUGGESTIVE,
    Verdict.SUGGESTIVE_OPPOSITE,
    Verdict.CONTRADICTED,
}
"""Verdicts that state an association."""


def kpi_views(data: ExplorerData, metrics: Mapping[str, float | None]) -> list[KpiView]:
    """Every hypothesis at a preference with these offline metrics, by metric name."""
    return [
        _view(data, result, line, metrics.get(result.metric)) for result, line in data.fitted_lines
    ]


def _view(
    data: ExplorerData, result: HypothesisResult, line: FittedLine | None, metric: float | None
) -> KpiView:
    measured = data.measured.metric(result.metric) if data.measured else None
    name = metric_label(result.metric, measured.cutoff if measured else None)
    has_value = result.verdict in _WITH_VALUE
    found = line.at(metric) if line and metric is not None and has_value else None
    return KpiView(
        hypothesis=result.id,
        metric=name,
        kpi=KPI_LABELS[result.response.value],
        is_rate=result.response.is_binary,
        verdict=result.verdict.value,
        notes=_notes(result, found, name, is_known=metric is not None),
        expected=None
        if found is None
        else ExpectedKpi(
            rate=found.rate,
            low=found.interval[0],
            high=found.interval[1],
            level=found.level,
            is_extrapolated=found.is_extrapolated,
        ),
        groups=[] if result.verdict is Verdict.BLOCKED else _observed(result, data.level),
    )


def _notes(
    result: HypothesisResult, found: KpiPrediction | None, metric: str, *, is_known: bool
) -> list[str]:
    kpi = KPI_LABELS[result.response.value]
    notes = [_verdict_note(result, metric, kpi)]
    if result.response is not result.kpi:
        notes.append(f"Used in place of {KPI_LABELS[result.kpi.value]}, as in the report.")
    if found and result.is_interim:
        notes.append(
            f"Interim analysis on day {result.days.observed} of {result.days.planned}: the "
            "confidence interval is anytime-valid."
        )
    if found and found.is_extrapolated:
        notes.append(f"Extrapolated: {metric} is outside the range of the groups.")
    if not is_known and result.verdict in _WITH_VALUE:
        notes.append(f"{metric} of this preference is unknown.")
    return [note for note in notes if note]


def _verdict_note(result: HypothesisResult, metric: str, kpi: str) -> str:
    ends = result.headline and result.headline.interval
    notes = {
        Verdict.CONFIRMED: "",
        Verdict.SUGGESTIVE: "Suggestive: not significant, this could be chance.",
        Verdict.SUGGESTIVE_OPPOSITE: (
            "Suggestive of the opposite: not significant, this could be chance; "
            f"{result.direction} was pre-registered."
        ),
        Verdict.CONTRADICTED: (
            f"Significant in the opposite direction: {result.direction} was pre-registered."
        ),
        Verdict.INCONCLUSIVE: (
            f"Inconclusive: the CI of the slope of {kpi} on {metric}, {interval(ends, 2)}, includes 0."
            if ends
            else "Inconclusive: the slope is undefined with 2 groups."
        ),
        Verdict.BLOCKED: (
            "Blocked: a diagnostic failed (sample ratio or lost outcomes); see the report."
        ),
        Verdict.UNDEFINED: f"No slope: {undefined_words(result.undefined_reason)}.",
    }
    return notes[result.verdict]


def _observed(result: HypothesisResult, level: float) -> list[ObservedKpi]:
    """The groups' KPIs with confidence intervals, cluster-robust if the users are known."""
    quantile = float(ndtri((1 + level) / 2))
    return [
        ObservedKpi(
            group=point.group,
            rate=point.rate,
            low=max(0.0, point.rate - quantile * point.standard_error),
            high=point.rate + quantile * point.standard_error,
        )
        for point in result.points
        if point.rate is not None and point.standard_error is not None
    ]
