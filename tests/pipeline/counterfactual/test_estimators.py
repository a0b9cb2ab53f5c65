"""Estimators: golden numbers, every formula done again in a loop, intervals that cover."""

import numpy as np
import pytest
from scipy.stats import norm

from pipeline.core.errors import DataError
from pipeline.counterfactual.actions import LoggedActions, weigh_actions, weigh_clusters
from pipeline.counterfactual.estimators import estimate, sums_of
from pipeline.counterfactual.lists import (
    weigh_cascades,
    weigh_examination,
    weigh_lists,
    weigh_positions,
)
from pipeline.counterfactual.user_sums import Estimate, UserSums, bootstrap, percentile_interval
from pipeline.results.counterfactual import Estimator
from tests.pipeline.counterfactual import golden

EXACT = {"rel": 1e-12, "abs": 1e-12}

GOLDEN = {
    Estimator.IPS: 0.5555555555555555,  # mean(w r)
    Estimator.CLIPPED_IPS: 0.5138888888888888,  # mean(min(w, 1.5) r)
    Estimator.SNIPS: 0.6845965770171147,  # Σ w r / Σ w
    Estimator.BETA_IPS: 0.7936436565835964,  # mean(w r) - b (mean w - 1), b = Cov(w r, w) / Var(w)
    Estimator.DM: 0.43375,  # mean Σ_a π_e(a) q(a)
    Estimator.DR: 0.5714087301587302,  # DM + mean w (r - q)
    Estimator.SNDR: 0.6033832518337409,  # DM + Σ w (r - q) / Σ w
    Estimator.BETA_DR: 0.6658358203782182,  # DR - b (mean w - 1), b = Cov(w (r - q), w) / Var(w)
    Estimator.SWITCH_DR: 0.5214087301587301,  # DM + mean 1{w <= 1.5} w (r - q)
    Estimator.DROS: 0.5109213166456418,  # DM + mean 4 w / (w² + 4) (r - q)
}
PARAMETER = {Estimator.CLIPPED_IPS: 1.5, Estimator.SWITCH_DR: 1.5, Estimator.DROS: 4.0}


@pytest.mark.parametrize("estimator", Estimator)
def test_an_action_estimator_gives_the_golden_number(estimator):
    log = weigh_actions(golden.rounds(full=False), golden.TARGET_NA)

    found = estimate(log, estimator, parameter=PARAMETER.get(estimator))

    assert found.value == pytest.approx(GOLDEN[estimator], **EXACT)
    assert found.name == estimator.value


def test_the_interval_of_snips_by_user_is_that_of_the_delta_method():
    log = weigh_actions(golden.rounds(user_N=golden.USER_N), golden.TARGET_NA)

    found = estimate(log, Estimator.SNIPS)

    assert found.interval == pytest.approx((0.4646385106913545, 0.904554643342875), **EXACT)


def test_the_interval_of_ips_without_repeated_users_is_that_of_a_mean():
    log = weigh_actions(golden.rounds(), golden.TARGET_NA)

    found = estimate(log, Estimator.IPS)

    assert found.interval == pytest.approx((0.14681748320769944, 0.9642936279034116), **EXACT)


def test_list_estimators_give_the_golden_numbers():
    conditional = golden.CONDITIONAL_E, golden.CONDITIONAL_0
    whole = weigh_lists(golden.lists(), *conditional)
    positions = weigh_positions(golden.lists(), golden.MARGINAL_E, golden.MARGINAL_0)
    cascades = weigh_cascades(golden.lists(), *conditional)

    found = {
        one.name: one.value
        for one in [
            *(estimate(log, Estimator.IPS) for log in (whole, positions, cascades)),
            *(estimate(log, Estimator.SNIPS) for log in (whole, positions, cascades)),
            estimate(cascades, Estimator.DR),
        ]
    }

    assert found == pytest.approx(
        {
            "SIPS": 1.265190476190476,  # mean Π_k w_k Σ_k r_k
            "IIPS": 1.1831349206349204,  # mean Σ_k w_k r_k
            "RIPS": 1.2017460317460316,  # mean Σ_k Π_{j<=k} w_j r_k
            "list-SNIPS": 0.9579362313266914,
            "position-SNIPS": 1.0857046831485557,  # each position by itself
            "cascade-SNIPS": 0.9871189281998634,
            "cascade-DR": 1.259825,  # mean Σ_k (w_k (r_k - q_k) + w_{k-1} v_k)
        },
        **EXACT,
    )


def examination():
    """Position of each logged item under the target, -1 if not listed; and E_0[θ(position)]."""
    theta_K = (1 + np.arange(3)) ** -0.6
    position_NK = np.array([[0, 2, 1], [1, 0, -1], [2, 0, 1], [0, 1, 2], [-1, 0, 1], [1, 2, 0]])
    propensity_NK = np.array(
        [[.7, .6, .5], [.65, .7, .4], [.8, .5, .45], [.7, .65, .5], [.5, .6, .55], [.7, .6, .5]]
    )  # fmt: skip
    examined_NK = np.where(position_NK >= 0, theta_K[position_NK.clip(0)], 0.0)
    return {"examined_NK": examined_NK, "propensity_NK": propensity_NK, "theta_K": theta_K}


def test_examination_estimators_give_the_golden_numbers():
    log = weigh_examination(golden.lists(model=False), **examination())

    ips, snips = estimate(log, Estimator.IPS), estimate(log, Estimator.SNIPS)

    assert (ips.name, snips.name) == ("PBM-IPS", "PBM-SNIPS")
    assert ips.value == pytest.approx(1.230327846294669, **EXACT)  # mean Σ_k θ_e / E θ_0 r_k
    assert snips.value == pytest.approx(1.126882561449136, **EXACT)
    assert log.control_NJ.mean() == pytest.approx(1.0917977510562467, **EXACT)


CLUSTERED = LoggedActions(
    action_N=np.array([0, 3, 1, 0, 1]),
    reward_N=np.array([1, 0, 1, 1, 0.0]),
    propensity_N=np.array([0.4, 0.4, 0.25, 0.7, 0.5]),
    user_N=np.arange(5),
    logging_NA=np.array(
        [[.4, .3, .2, .1], [.1, .2, .3, .4], [.25] * 4, [.7, .1, .1, .1], [.2, .5, .2, .1]]
    ),
    model_NA=np.array(
        [[.5, .3, .4, .2], [.2, .3, .1, .4], [.3, .6, .4, .2], [.8, .2, .1, .3], [.3, .2, .5, .1]]
    ),
)  # fmt: skip
CLUSTER_TARGET_NA = np.array(
    [[.1, .2, .3, .4], [.4, .3, .2, .1], [.1, .4, .4, .1], [.1, .1, .1, .7], [.3, .3, .3, .1]]
)  # fmt: skip


def test_cluster_estimators_give_the_golden_numbers():
    log = weigh_clusters(CLUSTERED, CLUSTER_TARGET_NA, np.array([0, 0, 1, 1]))
    actions = weigh_actions(CLUSTERED, CLUSTER_TARGET_NA)

    mips, offcem = estimate(log, Estimator.IPS), estimate(log, Estimator.DR)

    assert (mips.name, offcem.name) == ("MIPS", "OffCEM")
    assert log.weight_NK[:, 0] == pytest.approx([3 / 7, 3 / 7, 1, 1 / 4, 6 / 7], **EXACT)
    assert mips.value == pytest.approx(0.33571428571428574, **EXACT)
    assert offcem.value == pytest.approx(0.3882857142857143, **EXACT)
    assert estimate(actions, Estimator.IPS).value == pytest.approx(0.3985714285714286, **EXACT)


def test_the_difference_of_two_policies_gives_the_golden_numbers():
    target = weigh_actions(CLUSTERED, CLUSTER_TARGET_NA)
    logging = weigh_actions(CLUSTERED, CLUSTERED.logging_NA)
    difference = target.minus(logging)

    assert estimate(difference, Estimator.IPS).value == pytest.approx(-0.20142857142857143, **EXACT)
    assert estimate(difference, Estimator.BETA_IPS).value == pytest.approx(
        0.16260580538850486, **EXACT
    )


def test_actions_are_lists_of_one_position():
    n, target = golden.EACH_N, golden.TARGET_NA
    actions = weigh_actions(golden.rounds(), target)
    chosen = golden.MODEL_NA[n, golden.ACTION_N][:, None]
    expected = (target * golden.MODEL_NA).sum(axis=1)[:, None]
    lists = golden.LoggedLists(
        reward_NK=golden.REWARD_N[:, None], user_N=n, fitted_NK=chosen, expected_NK=expected
    )
    p_e = target[n, golden.ACTION_N][:, None]
    p_0 = golden.LOGGING_NA[n, golden.ACTION_N][:, None]

    for weigh in (weigh_lists, weigh_positions, weigh_cascades):
        for estimator in (Estimator.IPS, Estimator.SNIPS, Estimator.DR, Estimator.SNDR):
            log = weigh(lists, p_e, p_0)
            found = estimate(log, estimator)
            assert found.value == pytest.approx(estimate(actions, estimator).value, **EXACT)


@pytest.mark.parametrize("estimator", Estimator)
def test_the_value_of_the_logging_policy_is_the_mean_reward(estimator):
    """With w = 1 everywhere, w (r - q) averages to the mean reward less that of the model."""
    log = weigh_actions(golden.rounds(), golden.LOGGING_NA)

    found = estimate(log, estimator, parameter=1e15 if estimator.is_tuned else None).value

    direct = (golden.LOGGING_NA * golden.MODEL_NA).sum(axis=1).mean()
    fitted = golden.MODEL_NA[golden.EACH_N, golden.ACTION_N].mean()
    residual = 0.0 if estimator is Estimator.DM else golden.REWARD_N.mean() - fitted
    expected = direct + residual if estimator.needs_model else golden.REWARD_N.mean()
    assert found == pytest.approx(expected, **EXACT)


def bandit(rng, *, users=400, per_user=5):
    """Rounds of users who differ, with a known value of the target policy."""
    n = users * per_user
    user_N = np.repeat(np.arange(users), per_user)
    taste_N = np.repeat(rng.normal(0, 0.25, users), per_user)
    logging_A, target_A = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    action_N = rng.choice(3, n, p=logging_A)
    rate_A = np.array([0.2, 0.4, 0.5])
    chance_NA = np.clip(rate_A + taste_N[:, None], 0.02, 0.98)
    reward_N = (rng.random(n) < chance_NA[np.arange(n), action_N]).astype(float)
    log = LoggedActions(
        action_N=action_N,
        reward_N=reward_N,
        propensity_N=logging_A[action_N],
        user_N=user_N,
        logging_NA=np.tile(logging_A, (n, 1)),
        model_NA=np.tile([0.3, 0.3, 0.4], (n, 1)),
    )
    return log, np.tile(target_A, (n, 1))


def clipped_mean(rate):
    """E[clip(rate + N(0, .25), .02, .98)] by a fine sum."""
    z = (np.arange(200_000) + 0.5) / 200_000
    return np.clip(rate + 0.25 * norm.ppf(z), 0.02, 0.98).mean()


TRUTH = float(np.dot([0.2, 0.3, 0.5], [clipped_mean(rate) for rate in (0.2, 0.4, 0.5)]))


@pytest.mark.slow
def test_intervals_by_user_cover_the_truth():
    estimators = (
        Estimator.IPS, Estimator.SNIPS, Estimator.BETA_IPS, Estimator.DR, Estimator.SNDR,
        Estimator.BETA_DR,
    )  # fmt: skip
    covered = dict.fromkeys(estimators, 0)
    for seed in range(200):
        log = weigh_actions(*bandit(np.random.default_rng(seed)))
        for estimator in estimators:
            low, high = estimate(log, estimator).interval
            covered[estimator] += low <= TRUTH <= high

    shares = [n / 200 for n in covered.values()]
    assert min(shares) >= 0.90  # 0.95 within three binomial errors
    assert max(shares) <= 0.99


def test_intervals_that_ignore_users_are_too_short():
    ratio = [
        estimate(weigh_actions(log, target), Estimator.IPS).standard_error
        / estimate(
            weigh_actions(
                LoggedActions(
                    action_N=log.action_N,
                    reward_N=log.reward_N,
                    propensity_N=log.propensity_N,
                    user_N=np.arange(len(log.user_N)),
                ),
                target,
            ),
            Estimator.IPS,
        ).standard_error
        for log, target in [bandit(np.random.default_rng(seed)) for seed in range(5)]
    ]

    assert min(ratio) > 1.02


def test_the_bootstrap_of_a_lift_agrees_with_the_delta_method():
    log, target = bandit(np.random.default_rng(7), users=2000)
    new = sums_of(weigh_actions(log, target), Estimator.SNIPS)
    old = sums_of(weigh_actions(log, log.logging_NA), Estimator.IPS)
    delta = Estimate.of(new).lift_over(Estimate.of(old))

    new_B, old_B = bootstrap([new, old], np.random.default_rng(0))
    low, high = percentile_interval(new_B / old_B - 1, 0.95)

    assert delta.value == pytest.approx(new.value / old.value - 1)
    assert (low, high) == pytest.approx(delta.interval(0.95), abs=0.15 * (high - low))
    again = bootstrap([new, old], np.random.default_rng(0))
    assert np.array_equal(again, [new_B, old_B])


def test_a_whole_user_more_often_is_the_weight_of_the_bootstrap():
    log = weigh_actions(golden.rounds(user_N=golden.USER_N), golden.TARGET_NA)
    sums = sums_of(log, Estimator.SNIPS)
    rows = np.concatenate([np.flatnonzero(golden.USER_N != 3), np.flatnonzero(golden.USER_N == 3)] * 1
                          + [np.flatnonzero(golden.USER_N == 3)])  # fmt: skip

    w, r = log.weight_NK[rows, 0], golden.REWARD_N[rows]

    assert sums.resampled(np.array([[1, 1, 1, 2.0]]))[0] == pytest.approx((w * r).sum() / w.sum())


def test_weights_are_only_cut_where_it_is_worth_its_bias():
    log, target = bandit(np.random.default_rng(1))
    mild = weigh_actions(log, target)
    n = len(log.action_N)
    rare = np.where(
        np.arange(n) == 3, 1e-4, log.propensity_N
    )  # one round with a weight of thousands
    heavy = weigh_actions(
        LoggedActions(
            action_N=log.action_N, reward_N=log.reward_N, propensity_N=rare, user_N=log.user_N
        ),
        target,
    )
    assert heavy.reward_NK[3] == 1

    for estimator in (Estimator.CLIPPED_IPS, Estimator.SWITCH_DR, Estimator.DROS):
        plain = estimate(mild, Estimator.DR if estimator.needs_model else Estimator.IPS)
        tuned = estimate(mild, estimator)
        assert abs(tuned.value - plain.value) < plain.standard_error
        assert tuned.interval is None
        assert Estimate.of(sums_of(mild, estimator)).standard_error <= plain.standard_error
    lucky = estimate(
        heavy, Estimator.CLIPPED_IPS
    )  # one round, so its bias is no larger than its error
    assert lucky.parameter < 10
    variation = Estimate.of(sums_of(heavy, Estimator.CLIPPED_IPS)).standard_error
    assert variation < 0.1 * estimate(heavy, Estimator.IPS).standard_error


def test_what_cannot_be_estimated_is_refused_in_one_line():
    log = golden.rounds()
    zero = LoggedActions(
        action_N=log.action_N,
        reward_N=log.reward_N,
        propensity_N=np.where(golden.EACH_N == 4, 0.0, log.propensity_N),
        user_N=log.user_N,
    )
    short = golden.TARGET_NA * np.where(golden.EACH_N == 2, 0.9, 1.0)[:, None]
    cascades = weigh_cascades(golden.lists(), golden.CONDITIONAL_E, golden.CONDITIONAL_0)

    with pytest.raises(
        DataError, match=r"the propensity is 0 in row 5; expected a probability above"
    ):
        weigh_actions(zero, golden.TARGET_NA)
    with pytest.raises(
        DataError, match=r"row 3: the probabilities of the target policy sum to 0\.9"
    ):
        weigh_actions(log, short)
    with pytest.raises(DataError, match="DR needs a reward model"):
        estimate(weigh_actions(golden.rounds(model=False), golden.TARGET_NA), Estimator.DR)
    with pytest.raises(DataError, match="logged action only"):
        weigh_clusters(golden.rounds(full=False), golden.TARGET_NA, np.zeros(3, int))
    with pytest.raises(DataError, match="not defined for cascades"):
        estimate(cascades, Estimator.DM)


def test_ratios_and_replicates_of_estimates_that_end_at_different_users():
    early = UserSums.of(np.repeat(np.arange(20), 2), additive_N=np.arange(40.0))
    late = UserSums.of(np.repeat(np.arange(20, 50), 2), additive_N=np.arange(60.0))

    ratio = Estimate.of(early).over(Estimate.of(late))

    assert ratio.value == pytest.approx(19.5 / 29.5)
    by_hand = (
        np.append(early.influence_U / early.value, np.zeros(30)) - late.influence_U / late.value
    )
    assert ratio.influence_U == pytest.approx(ratio.value * by_hand)
    one, other = bootstrap([early, late], np.random.default_rng(0), replicates=7)
    assert (one.shape, other.shape) == ((7,), (7,))
