"""Hypotheses pooled over studies, as a table and remarks in text."""

from collections.abc import Sequence

from pipeline.core.labels import metric_label
from pipeline.reporting.text.formatting import ABSENT, interval, kpi, number, percent, signed
from pipeline.reporting.text.reasons import exclusion_words, undefined_words
from pipeline.results.pooled import (
    ExcludedStudy,
    Forecast,
    PooledHypothesis,
    TotalCovariance,
)

NOISY = 0.9
"""Reliability below which the mean of the studies' slopes is visibly attenuated."""

ATTENUATED = (
    "attenuated: a study does not know the errors of its metric, so slopes are pulled towards 0 by an "
    "unknown factor"
)
_HEADER = ("metric", "KPI", "studies", "slope", "CI", "tau", "I²", "prediction interval")


def pooled_lines(hypotheses: Sequence[PooledHypothesis]) -> list[str]:
    """A table of pooled slopes; then per hypothesis its forecast, assumptions and excluded studies."""
    rows = [_HEADER, *(_row(one) for one in hypotheses)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*table, *(line for one in hypotheses for line in _remarks(one))]


def _row(one: PooledHypothesis) -> tuple[str, ...]:
    names = (metric_label(one.metric, one.cutoff), kpi(one.kpi))
    studies, pooled = str(len(one.studies)), one.pooled
    if pooled is None:
        return (*names, studies, *[ABSENT] * 5)
    return (
        *names,
        studies,
        number(pooled.mean.slope, 3),
        interval(pooled.mean.interval),
        number(pooled.tau, 3),
        percent(pooled.i_squared, 0),
        interval(pooled.prediction_interval),
    )


def _remarks(one: PooledHypothesis) -> list[str]:
    metric = metric_label(one.metric, one.cutoff)
    response = kpi(one.response)
    lines = [f"undefined: {undefined_words(one.undefined_reason)}"] if one.undefined_reason else []
    if one.forecast:
        gain = f"{100 * one.forecast.gain:+.3g}%".replace("-", "−")
        lines.append(f"{gain} {metric} predicts {_forecast(one.forecast, response)}")
        if one.largest_change is not None and abs(one.forecast.gain) > one.largest_change:
            lines.append(
                f"extrapolation: the largest change of {metric} in a study is "
                f"+{percent(one.largest_change)}"
            )
    if contrasts := one.total_covariance:
        lines.append(_contrasts(contrasts))
    elif one.total_covariance_undefined_reason:
        reason = undefined_words(one.total_covariance_undefined_reason)
        lines.append(f"no total covariance: {reason}")
    if one.attenuated:
        lines.append(ATTENUATED)
    lines += [f"excluded: {_excluded(study)}" for study in one.excluded]
    head = f"{metric} and {kpi(one.kpi)}"
    return ["", head, *(f"  {line}" for line in lines)]


def _contrasts(found: TotalCovariance) -> str:
    slope = f"{number(found.slope.slope, 3)} ({interval(found.slope.interval)})"
    head = f"total covariance: slope {slope} on ln(metric) over {found.contrasts} contrasts"
    if found.reliability is None:
        return head
    text = (
        f"{head}, {number(found.naive_slope, 3)} without correction for measurement error; "
        f"reliability of the metric {percent(found.reliability)}"
    )
    if found.reliability >= NOISY:
        return text
    return f"{text}. With so noisy a metric the mean slope stays closer to 0 than this one"


def _forecast(found: Forecast, response: str) -> str:
    if found.rate_interval is None:
        ends = (
            "no prediction interval: two studies cannot separate their variation from their errors"
        )
    else:
        low, high = found.rate_interval
        ends = f"prediction interval {signed(100 * low, 2)}% to {signed(100 * high, 2)}%"
    change = f"{signed(100 * found.rate_change, 2)}% {response} ({ends}) at a baseline of "
    if found.odds_change is None:
        return f"{change}{found.rate:.4g}"
    return f"{change}{found.rate:.2%}, {signed(100 * found.odds_change, 2)}% in odds"


def _excluded(found: ExcludedStudy) -> str:
    reason = exclusion_words(found.reason, found.undefined_reason)
    return f"{found.study}, {reason}"
