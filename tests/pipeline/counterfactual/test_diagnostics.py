"""Diagnostics: golden numbers, the tail's shape against scipy, and every limit that refuses."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipeline.counterfactual.actions import LoggedActions, weigh_actions
from pipeline.counterfactual.diagnostics import diagnose, pareto_k
from pipeline.results.counterfactual import Estimator, SupportReason, SupportStatus
from tests.pipeline.counterfactual import golden

EXACT = {"rel": 1e-12, "abs": 1e-12}


def test_diagnostics_give_the_golden_numbers():
    found = diagnose(weigh_actions(golden.rounds(full=False), golden.TARGET_NA))

    assert (found.rows, found.users, found.support) == (12, 12, None)
    assert found.mean_weight == pytest.approx(0.8115079365079366, **EXACT)
    assert found.max_weight == pytest.approx(2.0, **EXACT)
    assert found.effective_sample_size == pytest.approx(8.545959289434913, **EXACT)
    assert found.z == pytest.approx(-1.211750823860678, **EXACT)
    assert found.k_hat == pytest.approx(0.09605083887983695, **EXACT)
    assert found.share_above_10 == 0
    assert found.status is SupportStatus.NO_SUPPORT
    assert [(one.reason, one.limit) for one in found.limits] == [
        (SupportReason.EFFECTIVE_SAMPLE_SIZE, 100),
    ]


def test_the_tail_shape_gives_the_golden_numbers():
    rng = np.random.default_rng(0)
    lognormal = np.exp(rng.normal(0, 1.0, 4000))
    lomax = rng.pareto(1.5, 4000)

    assert pareto_k(lognormal) == pytest.approx(0.10534296715942823, **EXACT)
    assert pareto_k(lomax) == pytest.approx(0.583207124025811, **EXACT)


def test_the_tail_shape_is_near_the_maximum_likelihood():
    lomax = np.sort(np.random.default_rng(0).pareto(1.5, 4000))
    tail = lomax[-190:] - lomax[-191]  # 3 √4000 = 190 points

    k = pareto_k(lomax)

    assert k == pytest.approx(stats.genpareto.fit(tail, floc=0)[0], abs=0.03)
    assert k == pytest.approx(1 / 1.5, abs=2 * (1 + 1 / 1.5) / 190**0.5)


def test_weights_with_few_values_have_no_tail():
    assert pareto_k(np.repeat([0.0, 5.0], [400, 100])) is None
    assert pareto_k(np.ones(1000)) is None


def log_of(weights, *, support=None):
    """A log whose weights are given: propensity p, target probability w p."""
    n, scale = len(weights), 1 / (2 * max(weights))
    target = np.stack([scale * np.asarray(weights), 1 - scale * np.asarray(weights)], axis=1)
    log = LoggedActions(
        action_N=np.zeros(n, int),
        reward_N=np.zeros(n),
        propensity_N=np.full(n, scale),
        user_N=np.arange(n),
    )
    found = weigh_actions(log, target)
    return found if support is None else replace(found, support_N=np.full(n, support))


def reasons(found):
    return {one.reason: one.status for one in found.limits}


NORMAL = np.abs(1 + 0.5 * np.random.default_rng(2).normal(size=4000)) + 0.0
EVEN = NORMAL / NORMAL.mean()


def test_weights_around_1_are_usable():
    found = diagnose(log_of(EVEN))

    assert found.status is SupportStatus.USABLE
    assert found.limits == ()


@pytest.mark.parametrize(
    ("weights", "support", "reason", "status"),
    [
        (0.79 * EVEN, 0.79, SupportReason.SUPPORT, SupportStatus.NO_SUPPORT),
        (0.9 * EVEN, 0.9, SupportReason.SUPPORT, SupportStatus.WEAK),
        (EVEN[:80], 1.0, SupportReason.EFFECTIVE_SAMPLE_SIZE, SupportStatus.NO_SUPPORT),
        (np.repeat([25.0, 0.0], [160, 3840]), 1.0, SupportReason.EFFECTIVE_SHARE, SupportStatus.WEAK),
        (np.random.default_rng(5).pareto(1.1, 4000) * 0.1, 1.0, SupportReason.TAIL,
         SupportStatus.NO_SUPPORT),
        (1.1 * EVEN, 1.0, SupportReason.MEAN_WEIGHT, SupportStatus.NO_SUPPORT),
    ],
)  # fmt: skip
def test_a_limit_is_named_with_its_number(weights, support, reason, status):
    found = diagnose(log_of(weights, support=support))

    assert reasons(found)[reason] is status
    assert found.status is (
        SupportStatus.NO_SUPPORT
        if SupportStatus.NO_SUPPORT in reasons(found).values()
        else SupportStatus.WEAK
    )
    limit = next(one for one in found.limits if one.reason is reason)
    beyond = abs(limit.value) > limit.limit
    assert beyond is (reason in {SupportReason.TAIL, SupportReason.MEAN_WEIGHT})


def test_the_mean_weight_is_compared_with_the_support():
    """With 90% support, weights of mean 0.9 are right, and of mean 1 are wrong."""
    right = diagnose(log_of(0.9 * EVEN, support=0.9))
    wrong = diagnose(log_of(EVEN, support=0.9))

    assert SupportReason.MEAN_WEIGHT not in reasons(right)
    assert reasons(wrong)[SupportReason.MEAN_WEIGHT] is SupportStatus.NO_SUPPORT


def test_an_unknown_support_is_limited_where_the_mean_weight_shows_it():
    """A mean of 0.7 ± 0.01 shows that 30% were never shown, of 0.99 ± 0.01 nothing."""
    assert reasons(diagnose(log_of(0.7 * EVEN)))[SupportReason.SUPPORT] is SupportStatus.NO_SUPPORT
    assert diagnose(log_of(0.99 * EVEN), Estimator.SNIPS).limits == ()


def test_a_self_normalised_estimator_needs_full_support():
    """Dividing by weights of mean 0.98 extends the supported part to the rest."""
    log = log_of(0.98 * EVEN, support=0.98)

    assert diagnose(log, Estimator.IPS).status is SupportStatus.USABLE
    assert reasons(diagnose(log, Estimator.SNIPS)) == {
        SupportReason.EXTRAPOLATION: SupportStatus.NO_SUPPORT
    }


def test_a_reward_model_alone_needs_no_even_weights():
    heavy = np.random.default_rng(5).pareto(1.1, 4000) * 0.1

    assert diagnose(log_of(heavy, support=1.0), Estimator.DM).status is SupportStatus.USABLE
