"""Every metric of a table of past tests as a predictor of every KPI."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from scipy import stats

from pipeline.core.errors import StudyError
from pipeline.inference.meta.surrogate_slope import MeasuredGroups, total_covariance
from pipeline.inference.past_tests.effects import MOST, PairedEffects, pair
from pipeline.inference.past_tests.lift_prediction import predict_lifts
from pipeline.inference.past_tests.proxy_slope import ProxyModel, SlopeFit, fit_slope
from pipeline.inference.past_tests.ranked_proxies import ProxyOptions, Ranked, rank_proxies
from pipeline.inference.past_tests.read_tests import PastTestTable
from pipeline.inference.past_tests.sign_agreement import sign_agreement
from pipeline.inference.proxies.advice import advise
from pipeline.inference.proxies.influence import most_influential
from pipeline.inference.proxies.liml import liml_slope
from pipeline.results.past_tests import (
    EffectScale,
    MeasuredLift,
    PastTests,
    PredictedLift,
    Proxy,
    ProxyLine,
    ProxyPoint,
)
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import Interval

_BAND_POINTS = 21
_CORRELATIONS = np.linspace(-0.95, 0.95, 39)


def analyse_past_tests(table: PastTestTable, options: ProxyOptions) -> PastTests:
    """Fit, compare and predict, for every metric and KPI.

    Raises:
        StudyError: if the correlation is not between -1 and 1, or the gain not a usable number.
    """
    if not -1 < options.error_correlation < 1:
        msg = (
            f"error correlation {options.error_correlation:g}: expected a number between -1 and 1, "
            "0 for metrics that are not measured on the test's users"
        )
        raise StudyError(msg)
    asked = _asked(options.gain, table.scale)
    ranked: list[Ranked] = []
    for kpi in table.kpis:
        found = [_proxy(table.effects, metric, kpi, options, asked) for metric in table.metrics]
        ranked.append(rank_proxies(table.effects, kpi, found, options))
    return PastTests(
        source=table.source,
        md5=None,
        level=options.level,
        scale=table.scale,
        error_correlation=options.error_correlation,
        tests=table.effects["test"].n_unique(),
        kpis=tuple(one.head for one in ranked),
        proxies=tuple(proxy for one in ranked for proxy in one.proxies),
        launches=tuple(advise(one, options) for one in ranked),
        duplicates=_duplicates(table.effects),
        effects=_effects(table.effects, table.kpis, options.level),
        left_out=table.left_out,
        read_as=table.notes,
    )


def _duplicates(effects: pl.DataFrame) -> tuple[tuple[str, str], ...]:
    """Pairs of tests that have exactly the same numbers."""
    numbers = effects.sort("variant", "name").select(
        "test", row=pl.concat_str("variant", "name", "estimate", "variance", ignore_nulls=True)
    )
    same = (
        numbers.group_by("test", maintain_order=True)
        .agg(rows=pl.col("row").str.join("|"))
        .group_by("rows", maintain_order=True)
        .agg(tests=pl.col("test").sort())
        .filter(pl.col("tests").list.len() > 1)
    )
    return tuple((one[0], one[1]) for one in same["tests"].to_list())


def _asked(gain: float | None, scale: EffectScale) -> float | None:
    """The requested change on the scale of the effects."""
    if gain is None:
        return None
    if not abs(gain) <= MOST:
        msg = f"gain = {gain:g}: expected a number from -{MOST:g} to {MOST:g}, such as 0.02"
        raise StudyError(msg)
    if scale is not EffectScale.LOG_RATIO:
        return gain
    if not gain > -1:
        msg = f"gain = {gain:g}: expected a fraction above -1; 0.02 is 2% more"
        raise StudyError(msg)
    return float(np.log1p(gain))


def _proxy(
    effects: pl.DataFrame, metric: str, kpi: str, options: ProxyOptions, asked: float | None
) -> Proxy:
    pairs = pair(effects, metric, kpi)
    model = ProxyModel(pairs.blocks, options.error_correlation, options.level)
    fit = fit_slope(model)
    groups = _groups(pairs, options.error_correlation)
    moments = total_covariance(groups, level=options.level)
    no_moments = isinstance(moments, UndefinedReason)
    bare = Proxy(
        metric=metric,
        kpi=kpi,
        tests=pairs.tests,
        contrasts=pairs.contrasts,
        line=None,
        undefined_reason=None,
        predictions=(),
        forecast=None,
        signs=sign_agreement(
            pairs.rows["delta"].to_numpy(), pairs.rows["lift"].to_numpy(), level=options.level
        ),
        correlation_range=None,
        without=None,
        total_covariance=None if no_moments else moments,
        total_covariance_undefined_reason=moments if no_moments else None,
        liml_slope=liml_slope(groups) if pairs.tests > 1 else None,
        true_correlation=None,
        true_correlation_interval=None,
        probability_of_best=None,
        tied=True,
        points=_points(pairs),
    )
    if isinstance(fit, UndefinedReason):
        return replace(bare, undefined_reason=fit)
    *band, at_gain = _predictions(model, fit, pairs, asked)
    return replace(
        bare,
        line=_line(model, fit, known=pairs.errors_known),
        predictions=tuple(band),
        forecast=None if asked is None else at_gain,
        correlation_range=_correlation_range(pairs, fit, options),
        without=most_influential(model, fit),
    )


def _line(model: ProxyModel, fit: SlopeFit, *, known: bool) -> ProxyLine:
    return ProxyLine(
        slope=fit.slope,
        standard_error=fit.standard_error,
        interval=fit.interval,
        p_value=fit.p_value,
        tau=fit.tau,
        cochran_q=fit.cochran_q,
        q_p_value=float(stats.chi2.sf(fit.cochran_q, model.df)),
        i_squared=max(0.0, 1 - model.df / fit.cochran_q) if fit.cochran_q else 0.0,
        reliability=fit.reliability if known else None,
        naive_slope=fit.naive_slope,
    )


def _predictions(
    model: ProxyModel, fit: SlopeFit, pairs: PairedEffects, asked: float | None
) -> tuple[PredictedLift, ...]:
    """Along the range of the past changes and 0; last, for the requested change (or 0)."""
    deltas = [*pairs.rows["delta"].to_list(), 0.0]
    along = np.linspace(min(deltas), max(deltas), _BAND_POINTS).tolist()
    return predict_lifts(model, fit, [*along, asked or 0.0])


def _correlation_range(
    pairs: PairedEffects, fit: SlopeFit, options: ProxyOptions
) -> Interval | None:
    """The correlations around the declared one with which the slope is significant."""
    alpha = 1 - options.level
    if fit.p_value >= alpha:
        return None
    declared = options.error_correlation

    def reach(correlations: Sequence[float]) -> float:
        last = declared
        for one in correlations:
            if ProxyModel(pairs.blocks, one, options.level).p_value(0.0) >= alpha:
                break
            last = one
        return last

    steps = _CORRELATIONS.tolist()
    below = [one for one in reversed(steps) if one < declared]
    return reach(below), reach([one for one in steps if one > declared])


def _points(pairs: PairedEffects) -> tuple[ProxyPoint, ...]:
    return tuple(
        ProxyPoint(
            test=row["test"],
            variant=row["variant"],
            delta=row["delta"],
            delta_standard_error=row["delta_error"],
            lift=row["lift"],
            lift_standard_error=row["lift_error"],
        )
        for row in pairs.rows.iter_rows(named=True)
    )


def _groups(pairs: PairedEffects, correlation: float) -> list[MeasuredGroups]:
    """The tests as groups, the first of which is the control, at 0 and without an error of its own."""
    found: list[MeasuredGroups] = []
    for block in pairs.blocks:
        e, c = block.delta_EC.shape
        zero = np.zeros((e, 1))
        proxy, kpi = (np.hstack([zero, side]) for side in (block.delta_EC, block.lift_EC))
        noise = np.zeros((e, 2, c + 1, 2, c + 1))
        noise[:, 0, 1:, 0, 1:] = block.delta_noise_ECC
        noise[:, 1, 1:, 1, 1:] = block.lift_noise_ECC
        noise[:, 0, 1:, 1, 1:] = correlation * block.cross_noise_ECC
        noise[:, 1, 1:, 0, 1:] = correlation * block.cross_noise_ECC.swapaxes(1, 2)
        size = 2 * (c + 1)
        found += [
            MeasuredGroups(
                proxy=proxy[k],
                kpi=kpi[k],
                noise=noise[k].reshape(size, size),
                noise_known=pairs.errors_known,
            )
            for k in range(e)
        ]
    return found


def _effects(effects: pl.DataFrame, kpis: Sequence[str], level: float) -> tuple[MeasuredLift, ...]:
    """Wald intervals and p-values of every lift."""
    rows = effects.filter(pl.col("name").is_in(list(kpis))).with_columns(
        error=(pl.col("variance") + pl.col("shared") ** 2).sqrt()
    )
    z = float(stats.norm.isf((1 - level) / 2))
    p_values = 2 * stats.norm.sf(np.abs(rows["estimate"].to_numpy()) / rows["error"].to_numpy())
    return tuple(
        MeasuredLift(
            test=row["test"],
            variant=row["variant"],
            kpi=row["name"],
            lift=row["estimate"],
            standard_error=row["error"],
            interval=(row["estimate"] - z * row["error"], row["estimate"] + z * row["error"]),
            p_value=float(p),
        )
        for row, p in zip(rows.iter_rows(named=True), p_values, strict=True)
    )
