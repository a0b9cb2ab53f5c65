"""What the metrics of one KPI would have earned, and what to run next."""

from collections.abc import Sequence

import numpy as np

from pipeline.inference.past_tests.ranked_proxies import LEAST_RANKED, ProxyOptions, Ranked
from pipeline.inference.proxies.deciding_test import Rivals, deciding_test
from pipeline.inference.proxies.latent_effects import Draws, sample
from pipeline.inference.proxies.launch_rules import evaluate, rule_scores
from pipeline.inference.proxies.portfolio import (
    NextTest,
    lift_weights,
    pareto_front,
    quality,
    sensitivity,
    usual_test,
)
from pipeline.inference.proxies.rotated_tests import RotatedTests, rotate
from pipeline.results.family import Floats
from pipeline.results.proxies import DecidingTest, LaunchAdvice, Portfolio
from pipeline.results.reasons import UndefinedReason

_LEAST_DRAWS, _MOST_DRAWS, _BURN_IN = 250, 500, 100
_MOST_EFFECTS = 1_000_000
"""That are drawn in all; the more tests, the less their posterior needs."""

_SEED = 0
_MOST_RIVALS = 3


def advise(ranked: Ranked, options: ProxyOptions) -> LaunchAdvice:
    """Launch rules, portfolio and deciding tests of one KPI.

    Args:
        ranked: Its metrics, best first.
        options: Level and correlation of errors.
    """
    kpi, metrics = ranked.head.kpi, [one.metric for one in ranked.proxies if one.line]
    reason = None
    if not metrics:
        reason = UndefinedReason.NO_SLOPE
    elif ranked.head.tests < LEAST_RANKED:
        reason = UndefinedReason.FEWER_THAN_4_TESTS
    if reason:
        return LaunchAdvice(kpi=kpi, tests=ranked.head.tests, undefined_reason=reason)
    rng = np.random.default_rng(_SEED)
    tests = rotate(ranked.common, metrics, kpi, options.error_correlation)
    usual = usual_test(tests.measured.errors_KD, options.error_correlation)
    number = int(np.clip(_MOST_EFFECTS // len(tests.test_K), _LEAST_DRAWS, _MOST_DRAWS))
    draws = sample(tests.measured, rng, draws=number, burn_in=_BURN_IN)
    rules = rule_scores(tests, metrics, usual, rng)
    units_MM = np.eye(len(metrics))
    variance = float(draws.covariance_NDD[:, -1, -1].mean())
    return LaunchAdvice(
        kpi=kpi,
        tests=tests.tests,
        undefined_reason=None,
        rules=evaluate(tests, draws, rules, rng, level=options.level),
        qualities=tuple(
            (name, quality(unit_M, draws, usual, level=options.level))
            for name, unit_M in zip(metrics, units_MM, strict=True)
        ),
        kpi_sensitivity=sensitivity(
            np.ones(1),
            np.array([[variance]]),
            usual.noise_DD[-1:, -1:],
            level=options.level,
        ),
        portfolio=_portfolio(metrics, draws, usual, level=options.level),
        deciding_tests=_deciding_tests(ranked, metrics, tests, draws, rng),
    )


def _portfolio(
    metrics: Sequence[str], draws: Draws, usual: NextTest, *, level: float
) -> Portfolio | None:
    if len(metrics) == 1:
        return None
    weights_M = lift_weights(draws.covariance_NDD, usual.noise_DD).mean(axis=0)
    mean_DD = draws.covariance_NDD.mean(axis=0)
    return Portfolio(
        metrics=tuple(metrics),
        weights=tuple(weights_M.tolist()),
        quality=quality(weights_M, draws, usual, level=level),
        front=pareto_front(mean_DD, usual, level=level) if usual.known_M.all() else (),
    )


def _deciding_tests(
    ranked: Ranked,
    metrics: Sequence[str],
    tests: RotatedTests,
    draws: Draws,
    rng: np.random.Generator,
) -> tuple[DecidingTest, ...]:
    """Against each of the metrics that are tied with the best, most probable first."""
    best, *others = [one for one in ranked.proxies if one.line]
    tied = [one for one in others if one.tied and one.probability_of_best is not None]
    errors_D = np.median(tests.measured.errors_KD, axis=0)
    spread_D, correlations_DD = _spread(draws.covariance_NDD.mean(axis=0))
    first = metrics.index(best.metric)
    found: list[DecidingTest] = []
    for one in tied[:_MOST_RIVALS]:
        rivals = Rivals(
            best=best,
            rival=one,
            evidence=ranked.evidence[best.metric] - ranked.evidence[one.metric],
            change=float(spread_D[first]),
            correlation=float(correlations_DD[first, metrics.index(one.metric)]),
            change_error=float(errors_D[first]),
            lift_error=float(errors_D[-1]),
        )
        if planned := deciding_test(rivals, rng):
            found.append(planned)
    return tuple(found)


def _spread(covariance_DD: Floats) -> tuple[Floats, Floats]:
    spread_D = np.sqrt(covariance_DD.diagonal())
    return spread_D, covariance_DD / np.outer(spread_D, spread_D)
