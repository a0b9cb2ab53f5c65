"""Evaluate policies on a logged bandit table: every estimator, its support, and the lift.

Shape suffixes: N rows, A actions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.errors import DataError
from pipeline.counterfactual.actions import LoggedActions, weigh_actions
from pipeline.counterfactual.bandit.mean_reward import logged_value, mean_reward
from pipeline.counterfactual.bandit.policies import (
    PROPENSITY_ROUNDING,
    ContextPolicy,
    unlogged_actions,
)
from pipeline.counterfactual.bandit.read_log import BanditLog
from pipeline.counterfactual.bandit.reward_model import RewardRows, fit_rewards, fold_of
from pipeline.counterfactual.betting import betting_interval
from pipeline.counterfactual.diagnostics import diagnose_each
from pipeline.counterfactual.domain_adaptation import loss_weights
from pipeline.counterfactual.estimators import (
    estimate,
    sums_of,
    tuned_parameter,
)
from pipeline.counterfactual.user_sums import Estimate
from pipeline.counterfactual.weighted_log import RewardModel, WeightedLog
from pipeline.results.counterfactual import (
    Estimator,
    NoInterval,
    SupportReason,
    SupportStatus,
    WeightDiagnostics,
    Weighting,
)
from pipeline.results.family import Floats
from pipeline.results.policy_values import (
    EstimatorResult,
    MeanReward,
    PolicyResult,
    PolicyValues,
)
from pipeline.results.slopes import Interval

ADAPTED = "DA"
"""DM with the domain-adapted reward model."""
_CHUNK = 100_000
"""Rows whose probabilities of all actions are in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedProbability:
    """A policy of which only the probability of the logged action is known."""

    name: str
    probability_N: Floats


Policy = ContextPolicy | LoggedProbability


def evaluate_policies(
    log: BanditLog,
    policies: Sequence[Policy],
    *,
    logging: ContextPolicy | None = None,
    realised: MeanReward | None = None,
    level: float = 0.95,
) -> PolicyValues:
    """The value of every policy on a log.

    Args:
        log: The log.
        policies: The policies.
        logging: The policy that wrote the log; without it the support is estimated by the mean weight.
        realised: Mean reward of a log of the only policy, to compare with.
        level: Nominal coverage of intervals.

    Raises:
        DataError: if ``realised`` is given and there are several policies.
    """
    if realised is not None and len(policies) != 1:
        msg = f"{len(policies)} policies and one realised mean reward; expected one policy"
        raise DataError(msg)
    weight_NT = np.stack([_weights(log, one) for one in policies], axis=1)
    adapted_N = loss_weights(weight_NT)
    found = tuple(
        _evaluate(log, policy, logging, level=level, adapted_N=adapted_N) for policy in policies
    )
    return PolicyValues(
        logged=mean_reward(log, level),
        users=int(log.user_N.max()) + 1 if log.has_users else None,
        actions=len(log.actions),
        level=level,
        policies=found,
        realised=realised,
        difference=_difference(found[0], realised),
    )


def _difference(policy: PolicyResult, realised: MeanReward | None) -> float | None:
    value = policy.headline_result.found
    if realised is None or realised.standard_error is None:
        return None
    if value is None or value.standard_error is None:
        return None
    return (value.value - realised.value) / math.hypot(
        value.standard_error, realised.standard_error
    )


def _weights(log: BanditLog, policy: Policy) -> Floats:
    probability_N = (
        policy.probability_CA[policy.context_N, log.action_N]
        if isinstance(policy, ContextPolicy)
        else policy.probability_N
    )
    return probability_N / log.propensity_N


def _evaluate(
    log: BanditLog,
    policy: Policy,
    logging: ContextPolicy | None,
    *,
    level: float,
    adapted_N: Floats,
) -> PolicyResult:
    """Every estimator of a policy; ``adapted_N`` are the weights of the domain-adapted reward model."""
    weighted = (
        _weigh_by_context(log, policy, logging)
        if isinstance(policy, ContextPolicy)
        else _weigh_logged(log, policy)
    )
    estimators = [one for one in Estimator if weighted.model is not None or not one.needs_model]
    logged = logged_value(log)
    headline = Estimator.IPS if weighted.model is None else Estimator.DR
    support = diagnose_each(weighted, estimators)
    results = [
        _result(weighted, one, support[one], logged=logged, level=level) for one in estimators
    ]
    if isinstance(policy, ContextPolicy) and policy.level_CX.shape[1]:
        adapted = replace(weighted, model=_reward_model(log, policy, adapted_N))
        direct = _result(adapted, Estimator.DM, support[Estimator.DM], logged=logged, level=level)
        value = direct.found and replace(direct.found, name=ADAPTED)
        direct = replace(direct, name=ADAPTED, found=value)
        results.insert(estimators.index(Estimator.DM) + 1, direct)
    return PolicyResult(
        policy=policy.name,
        diagnostics=support[headline],
        unlogged=(
            unlogged_actions(log, policy)
            if isinstance(policy, ContextPolicy) and logging is None
            else ()
        ),
        headline=headline.value,
        estimators=tuple(results),
        betting=(
            None
            if _lacks_support(support[headline])
            else _betting(log, weighted, policy, logging, level=level)
        ),
    )


def _result(
    weighted: WeightedLog,
    estimator: Estimator,
    support: WeightDiagnostics,
    *,
    logged: Estimate,
    level: float,
) -> EstimatorResult:
    found = lift = interval = None
    if support.status is not SupportStatus.NO_SUPPORT:
        parameter = tuned_parameter(weighted, estimator) if estimator.is_tuned else None
        found = estimate(weighted, estimator, parameter=parameter, level=level)
        if found.interval and _lacks_support(support):
            found = replace(
                found, standard_error=None, interval=None, no_interval=NoInterval.SUPPORT
            )
        if estimator is Estimator.DM and weighted.model is not None:
            lift = weighted.model.lift
        elif logged.value:
            sums = sums_of(weighted, estimator, parameter=parameter)
            change = Estimate.of(sums).lift_over(logged)
            lift, interval = change.value, change.interval(level) if found.interval else None
    return EstimatorResult(
        name=estimator.value,
        status=support.status,
        limits=support.limits,
        found=found,
        lift=lift,
        lift_interval=interval,
    )


def _lacks_support(found: WeightDiagnostics) -> bool:
    return any(one.reason is SupportReason.SUPPORT for one in found.limits)


def _weigh_logged(log: BanditLog, policy: LoggedProbability) -> WeightedLog:
    weight_NK = _weights(log, policy)[:, None]
    return WeightedLog(
        weighting=Weighting.ACTION,
        user_N=log.user_N,
        weight_NK=weight_NK,
        reward_NK=log.reward_N[:, None],
        control_NJ=weight_NK,
    )


def _weigh_by_context(
    log: BanditLog, policy: ContextPolicy, logging: ContextPolicy | None
) -> WeightedLog:
    """Weights in chunks of rows, with the plain reward model.

    If the logging policy is unknown, actions that the log never shows count as without support: they can have no
    weight, so that the mean weight is expected to be the probability of the others.
    """
    logged_C = policy.probability_CA[:, : len(log.actions)].sum(axis=1)
    parts = [
        weigh_actions(
            LoggedActions(
                action_N=log.action_N[rows],
                reward_N=log.reward_N[rows],
                propensity_N=log.propensity_N[rows],
                user_N=log.user_N[rows],
                logging_NA=None if logging is None else logging.of_actions(policy.actions, rows),
            ),
            policy.probability_CA[policy.context_N[rows]],
        )
        for rows in (slice(first, first + _CHUNK) for first in range(0, len(log.user_N), _CHUNK))
    ]
    weight_NK = np.concatenate([one.weight_NK for one in parts])
    supports = [one.support_N for one in parts if one.support_N is not None]
    support_N = np.concatenate(supports) if supports else None
    if support_N is None and policy.probability_CA.shape[1] > len(log.actions):
        support_N = logged_C[policy.context_N]
    return WeightedLog(
        weighting=Weighting.ACTION,
        user_N=log.user_N,
        weight_NK=weight_NK,
        reward_NK=np.concatenate([one.reward_NK for one in parts]),
        control_NJ=weight_NK,
        support_N=support_N,
        model=_reward_model(log, policy, np.ones(len(log.user_N))),
    )


def _reward_model(log: BanditLog, policy: ContextPolicy, loss_weight_N: Floats) -> RewardModel:
    """Predictions of the reward model whose rows have these weights in the loss."""
    fold_N = fold_of(log.user_N)
    rows = RewardRows(
        action_N=log.action_N,
        context_N=policy.context_N,
        reward_N=log.reward_N,
        loss_weight_N=loss_weight_N,
        fold_N=fold_N,
    )
    predicted_FCA = fit_rewards(rows, policy.level_CX, len(policy.actions))
    direct_FC = np.einsum("fca,ca->fc", predicted_FCA, policy.probability_CA)
    return RewardModel(
        fitted_NK=predicted_FCA[fold_N, policy.context_N, log.action_N][:, None],
        direct_N=direct_FC[fold_N, policy.context_N],
    )


def _betting(
    log: BanditLog,
    weighted: WeightedLog,
    policy: Policy,
    logging: ContextPolicy | None,
    *,
    level: float,
) -> Interval | None:
    """Of IPS, if each user has one row, rewards are in [0, 1] and weights are bounded."""
    repeated = log.has_users and int(log.user_N.max()) + 1 < len(log.user_N)
    bounded = log.reward_N.min() >= 0 and log.reward_N.max() <= 1
    if repeated or not bounded or logging is None or not isinstance(policy, ContextPolicy):
        return None
    logged_A = len(log.actions)
    pairs = np.unique(np.stack([policy.context_N, logging.context_N]), axis=1)
    target = policy.probability_CA[pairs[0], :logged_A]
    chosen = logging.probability_CA[pairs[1], :logged_A]
    bound = (1 + PROPENSITY_ROUNDING) * float((target[chosen > 0] / chosen[chosen > 0]).max())
    values_N = (weighted.weight_NK * weighted.reward_NK).sum(axis=1)
    if not values_N.max() <= bound or not bound:
        return None
    return betting_interval(values_N, bound=bound, level=level)
