"""The metrics of one KPI, compared on the tests that measured all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from pipeline.inference.past_tests.effects import pair
from pipeline.inference.past_tests.proxy_ranking import (
    Correlation,
    probabilities,
    true_correlations,
)
from pipeline.results.past_tests import Proxy, RankedKpi
from pipeline.results.reasons import UndefinedReason

LEAST_RANKED = 4
"""Tests; with fewer nothing is ranked."""

_ASSOCIATED = 0.10
"""A KPI is ranked if a metric has a smaller p-value."""

TIED = 0.05
"""A metric whose probability against the best one alone is above it is tied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyOptions:
    """How past tests are analysed.

    Attributes:
        level: Nominal coverage of the intervals.
        error_correlation: Correlation of the errors of metric and KPI in one variant, in (-1, 1): 0
            for offline metrics; unknown where both are measured on the same users.
        gain: A change of the metrics to predict the lifts for; of logarithms of ratios, a relative
            change above -1.
    """

    level: float = 0.95
    error_correlation: float = 0.0
    gain: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The metrics of one KPI.

    Attributes:
        head: The KPI.
        proxies: Its metrics, best first.
        common: The effects of the variants that measured all metrics with a line, and the KPI.
        evidence: By metric, the logarithm of its likelihood; empty where nothing is compared.
    """

    head: RankedKpi
    proxies: Sequence[Proxy]
    common: pl.DataFrame
    evidence: Mapping[str, float]


def rank_proxies(
    effects: pl.DataFrame, kpi: str, proxies: Sequence[Proxy], options: ProxyOptions
) -> Ranked:
    """The proxies of a KPI, best first, compared on the tests that measured all their metrics."""
    usable = [one for one in proxies if one.line]
    common = _with_all(effects, [kpi, *(one.metric for one in usable)])
    tests = common["test"].n_unique()
    reason = None
    if tests < LEAST_RANKED:
        reason = UndefinedReason.FEWER_THAN_4_TESTS
    elif min((one.line.p_value for one in usable if one.line), default=1.0) >= _ASSOCIATED:
        reason = UndefinedReason.NOT_ASSOCIATED
    head = RankedKpi(kpi=kpi, tests=tests, unranked_reason=reason)
    if tests < LEAST_RANKED or not usable:
        return Ranked(head=head, proxies=proxies, common=common, evidence={})
    found = true_correlations(
        [pair(common, one.metric, kpi) for one in usable],
        correlation=options.error_correlation,
        level=options.level,
    )
    described = [
        replace(one, true_correlation=r.median, true_correlation_interval=r.interval)
        for one, r in zip(usable, found, strict=True)
    ]
    if reason is None and len(usable) > 1:
        described = _with_probabilities(described, found)
    rest = [one for one in proxies if not one.line]
    return Ranked(
        head=head,
        proxies=[*described, *rest],
        common=common,
        evidence={one.metric: r.log_evidence for one, r in zip(usable, found, strict=True)},
    )


def _with_probabilities(proxies: Sequence[Proxy], found: Sequence[Correlation]) -> list[Proxy]:
    shares = probabilities(found)
    best = max(found, key=lambda one: one.log_evidence)
    ranked = [
        replace(
            one,
            probability_of_best=share,
            tied=r is not best and probabilities([r, best])[0] > TIED,
        )
        for one, r, share in zip(proxies, found, shares, strict=True)
    ]
    return sorted(ranked, key=lambda one: -(one.probability_of_best or 0.0))


def _with_all(effects: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The effects of the variants that measured all of the names."""
    wanted = effects.filter(pl.col("name").is_in(list(names)))
    complete = pl.col("name").n_unique().over("test", "variant") == len(set(names))
    return wanted.filter(complete)
