"""The mean reward of a log: the value of the policy that wrote it."""

from pipeline.counterfactual.bandit.read_log import LoggedRewards
from pipeline.counterfactual.estimators import without_variation
from pipeline.counterfactual.user_sums import Estimate, UserSums
from pipeline.results.policy_values import MeanReward


def mean_reward(log: LoggedRewards, level: float) -> MeanReward:
    """The mean reward of a log, clustered by user."""
    found = logged_value(log)
    reason = without_variation(log.user_N, log.reward_N)
    return MeanReward(
        source=log.source,
        rows=len(log.reward_N),
        value=found.value,
        standard_error=None if reason else found.standard_error,
        interval=None if reason else found.interval(level),
        no_interval=reason,
    )


def logged_value(log: LoggedRewards) -> Estimate:
    """The mean reward with each user's influence, for lifts over it."""
    return Estimate.of(UserSums.of(log.user_N, additive_N=log.reward_N))
