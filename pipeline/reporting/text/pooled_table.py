"""Hypotheses pooled over studies, as a table for the terminal."""

from collections.abc import Sequence

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.reporting.text.reasons import exclusion_words, undefined_words
from pipeline.results.pooled import Forecast, PooledHypothesis
from pipeline.results.slopes import Interval

_HEADER = ("metric", "KPI", "studies", "slope", "interval", "tau", "I²", "next study's slope")


def pooled_lines(hypotheses: Sequence[PooledHypothesis]) -> list[str]:
    """A table of the slopes, with forecast, total covariance and excluded studies of each."""
    rows = [_HEADER, *(_row(one) for one in hypotheses)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*table, *(line for one in hypotheses for line in _remarks(one))]


def _row(one: PooledHypothesis) -> tuple[str, ...]:
    names = (metric_label(one.metric, one.cutoff), KPI_LABELS.get(one.kpi, one.kpi))
    studies, pooled = str(len(one.studies)), one.pooled
    if pooled is None:
        return (*names, studies, *["–"] * 5)
    return (
        *names,
        studies,
        f"{pooled.mean.slope:.3f}",
        _ends(pooled.mean.interval),
        f"{pooled.tau:.3f}",
        f"{100 * pooled.i_squared:.0f}%",
        _ends(pooled.prediction_interval) if pooled.prediction_interval else "–",
    )


def _ends(interval: Interval) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _remarks(one: PooledHypothesis) -> list[str]:
    """The remarks on a row of the table."""
    metric = metric_label(one.metric, one.cutoff)
    response = KPI_LABELS.get(one.response, one.response)
    words = [f"undefined: {undefined_words(one.undefined_reason)}"] if one.undefined_reason else []
    if one.forecast:
        words.append(
            f"{100 * one.forecast.gain:+.3g}% {metric} predicts {_change(one.forecast, response)}"
        )
        if one.largest_change is not None and abs(one.forecast.gain) > one.largest_change:
            words.append(f"extrapolation: no group had more than +{one.largest_change:.1%}")
    if contrasts := one.total_covariance:
        words.append(
            f"total covariance: slope {contrasts.slope.slope:.3f} "
            f"({_ends(contrasts.slope.interval)}), uncorrected "
            f"{contrasts.naive_slope:.3f}; reliability of the metric {contrasts.reliability:.1%}"
        )
    elif one.pooled:
        where = one.total_covariance_undefined_in
        reason = undefined_words(one.total_covariance_undefined_reason)
        words.append(f"no total covariance: {f'{where}: ' if where else ''}{reason}")
    words += [
        f"excluded: {lost.study}, {exclusion_words(lost.reason, lost.undefined_reason)}"
        for lost in one.excluded
    ]
    return [
        "",
        f"{metric} and {KPI_LABELS.get(one.kpi, one.kpi)}",
        *(f"  {line}" for line in words),
    ]


def _change(found: Forecast, response: str) -> str:
    if found.rate_interval is None:
        interval = "no prediction interval from two studies"
    else:
        low, high = found.rate_interval
        interval = f"prediction interval {low:+.2%} to {high:+.2%}"
    words = f"{found.rate_change:+.2%} {response} ({interval}) from a rate of "
    if found.odds_change is None:
        return f"{words}{found.rate:.4g}"
    return f"{words}{found.rate:.2%}, and {found.odds_change:+.2%} of its odds"
