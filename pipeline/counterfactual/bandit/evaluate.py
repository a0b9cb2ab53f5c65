"""Evaluate policies on a logged bandit table: every estimator, its support, and the lift.

Shape suffixes: N rows, A actions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.core.errors import DataError
from pipeline.counterfactual.actions import LoggedActions, weigh_actions
from pipeline.counterfactual.bandit.policies import PROPENSITY_ROUNDING, ContextPolicy
from pipeline.counterfactual.bandit.read_log import BanditLog
from pipeline.counterfactual.bandit.reward_model import RewardRows, fit_rewards, fold_of
from pipeline.counterfactual.betting import betting_interval
from pipeline.counterfactual.diagnostics import diagnose_each
from pipeline.counterfactual.domain_adaptation import loss_weights
from pipeline.counterfactual.estimators import estimate, sums_of, tuned_parameter
from pipeline.counterfactual.user_sums import Estimate, UserSums
from pipeline.counterfactual.weighted_log import RewardModel, WeightedLog
from pipeline.results.counterfactual import Estimator, SupportStatus, WeightDiagnostics, Weighting
from pipeline.results.family import Floats
from pipeline.results.policy_values import EstimatorResult, MeanReward, PolicyResult, PolicyValues
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
    difference = None
    value = found[0].headline_result.found
    if realised is not None and value is not None and value.standard_error is not None:
        error = float(np.hypot(value.standard_error, realised.standard_error))
        difference = (value.value - realised.value) / error if error else None
    return PolicyValues(
        logged=mean_reward(log, level),
        users=int(log.user_N.max()) + 1 if log.has_users else None,
        actions=len(log.actions),
        level=level,
        policies=found,
        realised=realised,
        difference=difference,
    )


def mean_reward(log: BanditLog, level: float) -> MeanReward:
    """The mean reward of a log, clustered by user."""
    found = _logged_value(log)
    return MeanReward(
        source=log.source,
        rows=len(log.reward_N),
        value=found.value,
        standard_error=found.standard_error,
        interval=found.interval(level),
    )


def _logged_value(log: BanditLog) -> Estimate:
    return Estimate.of(UserSums.of(log.user_N, additive_N=log.reward_N))


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
    logged = _logged_value(log)
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
        headline=headline.value,
        estimators=tuple(results),
        betting=_betting(log, weighted, policy, logging, level=level),
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
        if estimator is Estimator.DM and weighted.model is not None:
            lift = weighted.model.lift if logged.value else None
        elif logged.value:
            sums = sums_of(weighted, estimator, parameter=parameter)
            change = Estimate.of(sums).lift_over(logged)
            lift, interval = change.value, change.interval(level)
    return EstimatorResult(
        name=estimator.value,
        status=support.status,
        limits=support.limits,
        found=found,
        lift=lift,
        lift_interval=interval,
    )


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
    """Weights in chunks of rows, with the plain reward model."""
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
    return WeightedLog(
        weighting=Weighting.ACTION,
        user_N=log.user_N,
        weight_NK=weight_NK,
        reward_NK=np.concatenate([one.reward_NK for one in parts]),
        control_NJ=weight_NK,
        support_N=np.concatenate(supports) if supports else None,
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
