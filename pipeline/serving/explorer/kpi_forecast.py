"""The KPIs expected at a preference: values where the verdict allows them, notes otherwise."""

from collections.abc import Mapping
from typing import assert_never

from scipy import stats

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.inference.estimates_file import Answer
from pipeline.inference.hypotheses.prediction import FittedLine, KpiPrediction
from pipeline.inference.hypotheses.verdict import Verdict
from pipeline.serving.explorer.schemas import ExpectedKpi, KpiView, ObservedKpi
from pipeline.serving.explorer.study_tables import ExplorerData

_WITH_VALUE = {Verdict.CONFIRMED, Verdict.FRAGILE, Verdict.CONTRADICTED}
"""Verdicts whose confidence interval excludes 0."""


def kpi_views(data: ExplorerData, metrics: Mapping[str, float | None]) -> list[KpiView]:
    """Every hypothesis at a preference with these offline metrics, by metric name."""
    return [
        _view(data, answer, line, metrics.get(answer.metric)) for answer, line in data.fitted_lines
    ]


def _view(
    data: ExplorerData, answer: Answer, line: FittedLine | None, metric: float | None
) -> KpiView:
    measured = data.measured.metric(answer.metric) if data.measured else None
    name = metric_label(answer.metric, measured.cutoff if measured else None)
    has_value = answer.verdict in _WITH_VALUE
    found = line.at(metric) if line and metric is not None and has_value else None
    return KpiView(
        hypothesis=answer.id,
        metric=name,
        kpi=KPI_LABELS[answer.response.value],
        is_rate=answer.response.is_yes_or_no,
        verdict=answer.verdict.value,
        notes=_notes(answer, found, name, is_known=metric is not None),
        expected=None
        if found is None
        else ExpectedKpi(
            rate=found.rate,
            low=found.interval[0],
            high=found.interval[1],
            level=found.level,
            is_extrapolated=found.is_beyond,
        ),
        groups=[] if answer.verdict is Verdict.BLOCKED else _observed(answer, data.level),
    )


def _notes(
    answer: Answer, found: KpiPrediction | None, metric: str, *, is_known: bool
) -> list[str]:
    kpi = KPI_LABELS[answer.response.value]
    notes = [_verdict_note(answer, metric, kpi)]
    if answer.response is not answer.kpi:
        notes.append(f"Used in place of {KPI_LABELS[answer.kpi.value]}, as in the report.")
    if found and answer.reading == "early look":
        notes.append(
            f"Interim analysis on day {answer.days.observed} of {answer.days.planned}: the "
            "confidence interval is not adjusted for early stopping."
        )
    if found and found.is_beyond:
        notes.append(f"Extrapolated: {metric} is outside the range of the groups.")
    if not is_known and answer.verdict in _WITH_VALUE:
        notes.append(f"{metric} of this preference is unknown.")
    return [note for note in notes if note]


def _verdict_note(answer: Answer, metric: str, kpi: str) -> str:
    match answer.verdict:
        case Verdict.CONFIRMED:
            return ""
        case Verdict.FRAGILE:
            return "Suggestive: not significant with the small-sample (Hartung–Knapp) interval."
        case Verdict.CONTRADICTED:
            return f"Significant in the opposite direction: {answer.direction} was pre-registered."
        case Verdict.NOT_SHOWN:
            ends = " to ".join(map(_signed, answer.verdict_interval or ()))
            return (
                f"Inconclusive: the slope of {kpi} on {metric} has the confidence interval {ends}, "
                "which includes 0."
            )
        case Verdict.BLOCKED:
            return "Blocked: the sample ratio check failed; see the report."
        case Verdict.UNDEFINED:
            return f"No slope: {answer.undefined_because}."
        case _:
            assert_never(answer.verdict)


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _observed(answer: Answer, level: float) -> list[ObservedKpi]:
    """The groups' KPIs with confidence intervals, cluster-robust if the users are known."""
    quantile = float(stats.norm.ppf((1 + level) / 2))
    return [
        ObservedKpi(
            group=point.group,
            rate=point.rate,
            low=max(0.0, point.rate - quantile * point.standard_error),
            high=point.rate + quantile * point.standard_error,
        )
        for point in answer.points
        if point.rate is not None and point.standard_error is not None
    ]
