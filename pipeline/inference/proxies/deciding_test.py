"""The experiment that would decide between a KPI's best metric and one that is tied with it.

Tests of the past that move both metrics together say little about which of them the KPI follows; variants
that move one and leave the other as it is say most. There the best metric predicts the lift ``± b Δ``, its
rival none. The logarithm of the ratio of the likelihoods decides, with what the past tests say to begin
with; it is simulated over the uncertainty of b.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.inference.past_tests.ranked_proxies import TIED
from pipeline.results.family import Floats
from pipeline.results.past_tests import Proxy, ProxyLine
from pipeline.results.proxies import DecidingTest

_POWER = 0.8
_DECIDES = float(np.log(1 / TIED - 1))
"""Logarithm of the ratio of likelihoods from which metrics are no longer tied."""

_SIMULATIONS = 2_000
_VARIANTS = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_SIZES: list[float] = np.geomspace(0.05, 25, 28).tolist()
"""Users per variant, relative to the median past test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Two metrics that are tied.

    Attributes:
        best: The best metric.
        rival: The other.
        evidence: Logarithm of the ratio of their likelihoods over the past tests.
        change: Standard deviation of the best metric's true changes.
        correlation: Of the true changes of both.
        change_error: Median standard error of the best metric's changes.
        lift_error: Median standard error of the lifts.
    """

    best: Proxy
    rival: Proxy
    evidence: float
    change: float
    correlation: float
    change_error: float
    lift_error: float


def deciding_test(rivals: Rivals, rng: np.random.Generator) -> DecidingTest | None:
    """The design with the fewest users that decides with 80% power; None if none of those tried does."""
    best, rival = rivals.best.line, rivals.rival.line
    assert best, "tied metrics have a line"
    assert rival, "tied metrics have a line"
    slopes_N = best.slope + best.standard_error * rng.standard_normal(_SIMULATIONS)
    units_NC = rng.standard_normal((_SIMULATIONS, _VARIANTS[-1]))
    found: list[DecidingTest] = []
    for variants in _VARIANTS:
        units = units_NC[:, :variants]

        def power_of(size: float, units: Floats = units) -> float:
            error = rivals.lift_error / size**0.5
            return _power(rivals, (best, rival), error, slopes_N, units)

        # power increases with the size
        index = bisect_left(_SIZES, _POWER, key=power_of)
        if index < len(_SIZES):
            found.append(_design(rivals, variants, _SIZES[index], power_of(_SIZES[index])))
    return min(found, key=lambda one: (one.variants + 1) * one.size, default=None)


def _power(
    rivals: Rivals,
    lines: Sequence[ProxyLine],
    lift_error: float,
    slopes_N: Floats,
    units_NC: Floats,
) -> float:
    """Share of simulations in which the ratio passes the threshold."""
    best, rival = lines
    # half of the variants up, half down: contrasts without correlation are √2 as long (no control is in them)
    change = rivals.change * 2**0.5
    own = best.tau**2 + lift_error**2 + (best.slope * rivals.change_error) ** 2
    others = rival.tau**2 + lift_error**2
    lifts_NC = slopes_N[:, None] * change + own**0.5 * units_NC
    of_best = -0.5 * (np.log(own) + (lifts_NC - best.slope * change) ** 2 / own)
    of_rival = -0.5 * (np.log(others) + lifts_NC**2 / others)
    ratio_N = rivals.evidence + (of_best - of_rival).sum(axis=1)
    return float((ratio_N > _DECIDES).mean())


def _design(rivals: Rivals, variants: int, size: float, power: float) -> DecidingTest:
    return DecidingTest(
        best=rivals.best.metric,
        rival=rivals.rival.metric,
        change=rivals.change,
        correlation=rivals.correlation,
        variants=variants,
        standard_error=rivals.lift_error / size**0.5,
        size=size,
        power=power,
    )
