"""What launching by a metric would have earned in past tests.

Three numbers per rule, after Chou et al. (2025, arXiv 2502.08763). How often it chose the right variant,
and its share of the best possible sum of lifts, are posterior: they need the true lifts, which the
hierarchical model has (:mod:`pipeline.inference.proxies.latent_effects`). What it earned per test is
cross-validated and needs no model: users are split into folds, variants chosen on all folds but one, and
their lift measured on that one; otherwise a rule is praised for the luck it chose by. A table has no users,
but lifts of folds have normal errors of known size, so folds are drawn from the errors (as in data thinning,
Neufeld et al. 2024), many times.

A rule learns the direction of a metric and the weights of a portfolio from other tests than it is
applied to.

Shape suffixes: M metrics, E tests, C variants besides the control, N draws, F folds of tests, L folds of users.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from pipeline.inference.proxies.latent_effects import Draws, sample
from pipeline.inference.proxies.portfolio import NextTest, lift_weights
from pipeline.inference.proxies.rotated_tests import RotatedTests, TestsOfSize
from pipeline.results.family import Floats
from pipeline.results.proxies import LaunchRule, RuleKind

_USER_FOLDS = 10
_REPEATS = 20
_MOST_FOLDS = 10
_TESTS_OF_A_FIT = 400
"""Tests from which a direction is learned well enough; with more, fewer folds are left out."""

_FOLD_DRAWS = 150
_FOLD_BURN_IN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Weights on metrics and KPI by which a rule chooses, one row per test.

    Attributes:
        kind: Of the rule.
        metric: Of the rule.
        weights_ED: The KPI last.
    """

    kind: RuleKind
    metric: str | None
    weights_ED: Floats


def rule_scores(
    tests: RotatedTests, metrics: Sequence[str], usual: NextTest, rng: np.random.Generator
) -> list[Scores]:
    """The rules: every metric in its direction, the portfolio of several, and the KPI itself."""
    signs_EM, weights_EM = _learned_elsewhere(tests, usual, rng)
    nothing_E1 = np.zeros((len(signs_EM), 1))
    found = [
        Scores(
            kind=RuleKind.METRIC,
            metric=name,
            weights_ED=np.hstack([signs_EM * (np.arange(len(metrics)) == column), nothing_E1]),
        )
        for column, name in enumerate(metrics)
    ]
    if len(metrics) > 1:
        portfolio_ED = np.hstack([weights_EM, nothing_E1])
        found.append(Scores(kind=RuleKind.PORTFOLIO, metric=None, weights_ED=portfolio_ED))
    of_kpi_ED = np.hstack([np.zeros_like(weights_EM), nothing_E1 + 1])
    return [*found, Scores(kind=RuleKind.KPI, metric=None, weights_ED=of_kpi_ED)]


def _learned_elsewhere(
    tests: RotatedTests, usual: NextTest, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Of every test: the signs of the metrics, and the portfolio's weights, without its own fold."""
    e = tests.tests
    folds = int(np.clip(1 + _TESTS_OF_A_FIT // e, 2, min(_MOST_FOLDS, e)))
    fold_E = rng.permutation(np.arange(e) % folds)
    used_FK = fold_E[tests.test_K] != np.arange(folds)[:, None]
    measured = tests.measured
    shape = (folds, *measured.values_KD.shape)
    repeated = replace(
        measured,
        values_KD=np.broadcast_to(measured.values_KD, shape),
        errors_KD=np.broadcast_to(measured.errors_KD, shape),
        used_K=used_FK,
    )
    draws = sample(repeated, rng, draws=_FOLD_DRAWS, burn_in=_FOLD_BURN_IN)
    covariance_NFDD = draws.covariance_NDD
    signs_FM = np.sign(covariance_NFDD[..., :-1, -1].mean(axis=0))
    weights_FM = lift_weights(covariance_NFDD, usual.noise_DD).mean(axis=0)
    return signs_FM[fold_E], weights_FM[fold_E]


def evaluate(
    tests: RotatedTests,
    draws: Draws,
    rules: Sequence[Scores],
    rng: np.random.Generator,
    *,
    level: float,
) -> tuple[LaunchRule, ...]:
    """Evaluate the rules."""
    true = tests.variants(draws.kpi_NK)
    earned_RE = _earned(tests, rules, rng)
    return tuple(
        _launch_rule(one, _choices(tests, one), true, earned_E, level=level)
        for one, earned_E in zip(rules, earned_RE, strict=True)
    )


def _launch_rule(
    rule: Scores,
    choices: Sequence[np.ndarray],
    true: Sequence[Floats],
    earned_E: Floats,
    *,
    level: float,
) -> LaunchRule:
    outcomes = [_outcome(one_E, true_NEC) for one_E, true_NEC in zip(choices, true, strict=True)]
    right_N, chosen_N, best_N = np.sum(outcomes, axis=0)
    tails = [(1 - level) / 2, 0.5, (1 + level) / 2]
    fewest, right, most = np.quantile(right_N, tails, method="nearest").astype(int).tolist()
    possible_N = best_N > 0
    low = share = high = None
    # nothing could be won in too many draws for a share to have an interval
    if possible_N.mean() > tails[-1]:
        shares_N = chosen_N[possible_N] / best_N[possible_N]
        low, share, high = np.quantile(shares_N, tails).tolist()
    mean, e = float(earned_E.mean()), len(earned_E)
    reach = float(-stats.t.ppf(tails[0], e - 1) * earned_E.std(ddof=1) / e**0.5)
    return LaunchRule(
        kind=rule.kind,
        metric=rule.metric,
        lower=None if rule.metric is None else int((rule.weights_ED.sum(axis=1) < 0).sum()),
        launched=int(sum((one > 0).sum() for one in choices)),
        right=right,
        right_interval=(fewest, most),
        share=share,
        share_interval=None if low is None or high is None else (low, high),
        earned=mean,
        earned_interval=(mean - reach, mean + reach),
    )


def _outcome(choice_E: np.ndarray, true_NEC: Floats) -> Floats:
    """Of every draw: right choices, the sum of the chosen lifts, and of the best ones."""
    n, e, _ = true_NEC.shape
    with_control_NEC = np.concatenate([np.zeros((n, e, 1)), true_NEC], axis=2)
    chosen_NE = with_control_NEC[:, np.arange(e), choice_E]
    best_NE = with_control_NEC.max(axis=2)
    right_NE = with_control_NEC.argmax(axis=2) == choice_E
    return np.array([side.sum(axis=1) for side in (right_NE, chosen_NE, best_NE)], np.float64)


def _choices(tests: RotatedTests, rule: Scores) -> list[np.ndarray]:
    """The chosen variants of every block, 0 for the control."""
    found, first = [], 0
    for one in tests.blocks:
        weights_ED = rule.weights_ED[first : first + one.tests]
        found.append(_best(_score(weights_ED, one.metrics_MEC, one.kpi_EC)))
        first += one.tests
    return found


def _score(weights_ED: Floats, metrics_MEC: Floats, kpi_EC: Floats) -> Floats:
    of_metrics = np.einsum("em,...mec->...ec", weights_ED[:, :-1], metrics_MEC)
    return of_metrics + weights_ED[:, -1:] * kpi_EC


def _best(score_EC: Floats) -> np.ndarray:
    return np.where(score_EC.max(axis=-1) > 0, score_EC.argmax(axis=-1) + 1, 0)


def _earned(tests: RotatedTests, rules: Sequence[Scores], rng: np.random.Generator) -> Floats:
    """Cross-validated lifts, rules by tests."""
    total_RE = np.zeros((len(rules), tests.tests))
    for _ in range(_REPEATS):
        first = 0
        for one in tests.blocks:
            here = slice(first, first + one.tests)
            for row, rule in zip(total_RE, rules, strict=True):
                row[here] += _earned_of(one, rule.weights_ED[here], tests.measured.correlation, rng)
            first = here.stop
    return total_RE / _REPEATS


def _earned_of(
    one: TestsOfSize, weights_ED: Floats, correlation: float, rng: np.random.Generator
) -> Floats:
    """The mean over folds of users of the lift of the variant that the other folds choose."""
    shares_kpi = bool(weights_ED[:, -1].any())
    if not shares_kpi and not correlation:
        # no user of the KPI has chosen
        return _lift(
            one.kpi_EC[None], _best(_score(weights_ED, one.metrics_MEC, one.kpi_EC))[None]
        )[0]
    kpi_LEC, unit_LEC = _folds(one.kpi_EC, one.kpi_root_ECC, rng)
    metrics_LMEC = _metric_folds(one, unit_LEC, correlation, rng)
    others = 1 / (_USER_FOLDS - 1)
    train_kpi_LEC = (_USER_FOLDS * one.kpi_EC - kpi_LEC) * others
    train_LMEC = (_USER_FOLDS * one.metrics_MEC - metrics_LMEC) * others
    choice_LE = _best(_score(weights_ED, train_LMEC, train_kpi_LEC))
    return _lift(kpi_LEC, choice_LE).mean(axis=0)


def _lift(kpi_LEC: Floats, choice_LE: np.ndarray) -> Floats:
    chosen = np.take_along_axis(kpi_LEC, np.maximum(choice_LE - 1, 0)[..., None], axis=-1)[..., 0]
    return np.where(choice_LE > 0, chosen, 0.0)


def _folds(
    measured_EC: Floats, root_ECC: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Measurements on the folds of users, which are independent, and the normal errors behind them."""
    unit_LEC = rng.standard_normal((_USER_FOLDS, *measured_EC.shape))
    unit_LEC -= unit_LEC.mean(axis=0)
    return measured_EC + _USER_FOLDS**0.5 * _times(root_ECC, unit_LEC), unit_LEC


def _metric_folds(
    one: TestsOfSize, unit_LEC: Floats, correlation: float, rng: np.random.Generator
) -> Floats:
    """The metrics on the same folds, where they are measured on the KPI's users."""
    if not correlation:
        return np.broadcast_to(one.metrics_MEC, (_USER_FOLDS, *one.metrics_MEC.shape))
    own_LMEC = rng.standard_normal((_USER_FOLDS, *one.metrics_MEC.shape))
    own_LMEC -= own_LMEC.mean(axis=0)
    both = correlation * unit_LEC[:, None] + (1 - correlation**2) ** 0.5 * own_LMEC
    return one.metrics_MEC + _USER_FOLDS**0.5 * _times(one.metric_roots_MECC, both)


def _times(root_ECC: Floats, unit: Floats) -> Floats:
    return np.einsum("...ij,...j->...i", root_ECC, unit)
