"""What ``paretoscope counterfactual`` finds in a logged bandit table."""

from dataclasses import dataclass

from pipeline.results.counterfactual import (
    NoInterval,
    PolicyValue,
    SupportLimit,
    SupportStatus,
    WeightDiagnostics,
)
from pipeline.results.slopes import Finite, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanReward:
    """The mean reward of a log, the value of the policy that wrote it.

    Attributes:
        source: The log.
        rows: Number of rows.
        value: Reward per row.
        standard_error: Clustered by user; None without an interval.
        interval: Confidence interval; None if the rewards show no variation.
        no_interval: Why it has none; None if it has one.
    """

    source: str
    rows: int
    value: Finite
    standard_error: Finite | None
    interval: Interval | None
    no_interval: NoInterval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloggedAction:
    """An action that a policy chooses and the log never shows.

    Attributes:
        action: Its id.
        share: Share of the policy's choices on the rows of the log.
    """

    action: str
    share: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorResult:
    """One estimator of one policy.

    Attributes:
        name: The estimator; DA is DM with the domain-adapted reward model, for policies with contexts.
        status: How far the log supports it.
        limits: What limits the support, the worst first.
        found: The value of the policy; None without support.
        lift: Relative change from the logging policy's mean reward, for DM and DA from the model's of what was
            logged; None without support, or if that is 0.
        lift_interval: Its confidence interval, clustered by user; None if the value or the mean reward has none.
    """

    name: str
    status: SupportStatus
    limits: tuple[SupportLimit, ...]
    found: PolicyValue | None
    lift: Finite | None
    lift_interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """The estimates of one policy.

    Attributes:
        policy: Its name.
        diagnostics: Of its weights.
        unlogged: If the logging policy is unknown, the actions that the log never shows, the most frequent first: they
            count as without support.
        headline: The estimator to read, DR with a reward model and else IPS.
        estimators: All estimators.
        betting: Betting interval of IPS, which holds at any number of rows; None if rewards are not in
            [0, 1], users repeat, the largest possible weight is unknown, or support is lacking.
    """

    policy: str
    diagnostics: WeightDiagnostics
    unlogged: tuple[UnloggedAction, ...]
    headline: str
    estimators: tuple[EstimatorResult, ...]
    betting: Interval | None

    @property
    def headline_result(self) -> EstimatorResult:
        """The estimate to read."""
        return next(one for one in self.estimators if one.name == self.headline)

    @property
    def is_refused(self) -> bool:
        """Whether there is no estimate to read."""
        return self.headline_result.found is None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValues:
    """Policies evaluated on the log of another.

    Attributes:
        logged: Mean reward of the log.
        users: Number of users; None if the log does not name them, and rows count as independent.
        actions: Number of actions.
        level: Nominal coverage of intervals.
        policies: The evaluated policies.
        realised: Mean reward of a log of the one evaluated policy; None without.
        difference: Headline estimate less realised mean, in standard errors; None without the error of either.
    """

    logged: MeanReward
    users: int | None
    actions: int
    level: Finite
    policies: tuple[PolicyResult, ...]
    realised: MeanReward | None
    difference: Finite | None
