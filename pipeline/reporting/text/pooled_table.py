"""Hypotheses pooled over studies, in words."""

from collections.abc import Sequence

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.inference.meta.meta_analysis import Forecast, Interval
from pipeline.inference.meta.pool_studies import PooledHypothesis

_HEADER = ("metric", "KPI", "studies", "slope", "interval", "tau", "I²", "next experiment's slope")


def pooled_lines(hypotheses: Sequence[PooledHypothesis]) -> list[str]:
    """A table of the slopes, and what each foretells, takes for granted and leaves out."""
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
        f"{100 * pooled.i_squared:.0f} %",
        _ends(pooled.prediction_interval) if pooled.prediction_interval else "–",
    )


def _ends(interval: Interval) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _remarks(one: PooledHypothesis) -> list[str]:
    """What a row of the table cannot say."""
    metric = metric_label(one.metric, one.cutoff)
    response = KPI_LABELS.get(one.response, one.response)
    words = [f"undefined: {one.undefined_because}"] if one.undefined_because else []
    if one.foretold:
        words.append(
            f"{100 * one.foretold.gain:+.3g}% {metric} foretells {_change(one.foretold, response)}"
        )
        if one.largest_change is not None and abs(one.foretold.gain) > one.largest_change:
            words.append(f"beyond what was seen: no group had more than +{one.largest_change:.1%}")
    if contrasts := one.total_covariance:
        words.append(
            f"total covariance: slope {contrasts.slope.slope:.3f} "
            f"({_ends(contrasts.slope.interval)}), without the correction "
            f"{contrasts.naive_slope:.3f}; reliability of the metric {contrasts.reliability:.1%}"
        )
    elif one.pooled:
        words.append(f"no total covariance: {one.total_covariance_undefined_because}")
    words += [f"left out: {lost.study}, {lost.because}" for lost in one.left_out]
    return [
        "",
        f"{metric} and {KPI_LABELS.get(one.kpi, one.kpi)}",
        *(f"  {line}" for line in words),
    ]


def _change(found: Forecast, response: str) -> str:
    if found.rate_interval is None:
        interval = "no prediction interval from two experiments"
    else:
        low, high = found.rate_interval
        interval = f"prediction interval {low:+.2%} to {high:+.2%}"
    words = f"{found.rate_change:+.2%} {response} ({interval}) from a rate of "
    if found.odds_change is None:
        return f"{words}{found.rate:.4g}"
    return f"{words}{found.rate:.2%}, and {found.odds_change:+.2%} of its odds"
