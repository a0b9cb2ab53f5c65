"""The KPIs a preference may be expected to have, in numbers where the verdict allows, else in words."""

from collections.abc import Mapping
from typing import assert_never

from scipy import stats

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.inference.estimates_file import Answer
from pipeline.inference.hypotheses.prediction import FittedLine, KpiPrediction
from pipeline.inference.hypotheses.verdict import Verdict
from pipeline.serving.explorer.schemas import Expected, KpiView, Observed
from pipeline.serving.explorer.study_tables import ExplorerData


def kpi_views(known: ExplorerData, metrics: Mapping[str, float | None]) -> list[KpiView]:
    """Every hypothesis at a preference with these offline metrics."""
    return [_view(known, answer, line, metrics.get(answer.metric)) for answer, line in known.lines]


def _view(
    known: ExplorerData, answer: Answer, line: FittedLine | None, metric: float | None
) -> KpiView:
    measured = known.measured.metric(answer.metric) if known.measured else None
    name = metric_label(answer.metric, measured.cutoff if measured else None)
    found = line.at(metric) if line and metric is not None and _may_say(answer.verdict) else None
    return KpiView(
        hypothesis=answer.id,
        metric=name,
        kpi=KPI_LABELS[answer.response.value],
        is_share=answer.response.is_binary,
        verdict=answer.verdict.value,
        words=_words(answer, found, name, is_known=metric is not None),
        expected=None
        if found is None
        else Expected(
            rate=found.rate,
            low=found.interval[0],
            high=found.interval[1],
            level=found.level,
            is_beyond=found.is_beyond,
        ),
        groups=[] if answer.verdict is Verdict.BLOCKED else _observed(answer, known.level),
    )


def _may_say(verdict: Verdict) -> bool:
    """Whether the line says something that its interval does not take back."""
    return verdict in {Verdict.CONFIRMED, Verdict.FRAGILE, Verdict.CONTRADICTED}


def _words(
    answer: Answer, found: KpiPrediction | None, metric: str, *, is_known: bool
) -> list[str]:
    kpi = KPI_LABELS[answer.response.value]
    said = [_of_verdict(answer, metric, kpi)]
    if answer.response is not answer.kpi:
        said.append(f"Stands for {KPI_LABELS[answer.kpi.value]}, as in the report.")
    if found and answer.reading == "early look":
        said.append(
            f"An early look, day {answer.days.observed} of {answer.days.planned}: the interval does "
            "not allow for looking before the end."
        )
    if found and found.is_beyond:
        said.append(f"No group had such {metric}: the line is carried on beyond what was tried.")
    if not is_known and _may_say(answer.verdict):
        said.append(f"What {metric} is at this preference is not known.")
    return [one for one in said if one]


def _of_verdict(answer: Answer, metric: str, kpi: str) -> str:
    match answer.verdict:
        case Verdict.CONFIRMED:
            return ""
        case Verdict.FRAGILE:
            return "Fragile: so few groups might lie like this by chance."
        case Verdict.CONTRADICTED:
            return f"The line goes against what was declared, which is {answer.direction}."
        case Verdict.NOT_SHOWN:
            ends = " to ".join(map(_signed, answer.verdict_interval or ()))
            return (
                f"The experiment does not show that {kpi} changes with {metric}: the slope's "
                f"interval, {ends}, holds 0. So no value is given."
            )
        case Verdict.BLOCKED:
            return (
                "The users are not divided as planned, so nothing may be read from the experiment; "
                "the report says what is wrong."
            )
        case Verdict.UNDEFINED:
            return f"There is no line: {answer.undefined_because}."
        case _:
            assert_never(answer.verdict)


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _observed(answer: Answer, level: float) -> list[Observed]:
    """The groups' rates with intervals, user-clustered where the users are known."""
    times = float(stats.norm.ppf((1 + level) / 2))
    return [
        Observed(
            group=point.group,
            rate=point.rate,
            low=max(0.0, point.rate - times * point.standard_error),
            high=point.rate + times * point.standard_error,
        )
        for point in answer.points
        if point.rate is not None and point.standard_error is not None
    ]
