"""The value of a policy, estimated from the log of another, and how far to trust it."""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.results.slopes import Finite, Interval


class Weighting(StrEnum):
    """What an importance weight w is the ratio of, target over logging policy."""

    ACTION = "action"
    """P(action)."""
    CLUSTER = "cluster"
    """P(cluster of the action), which assumes that the action has no effect beyond its cluster."""
    LIST = "list"
    """P(whole list), which assumes nothing."""
    POSITION = "position"
    """P(item at its position), which assumes that positions are independent."""
    CASCADE = "cascade"
    """P(list down to the position), which assumes that later positions have no effect."""
    EXAMINATION = "examination"
    """P(item is examined), which assumes that a click is examination × attraction."""


class Estimator(StrEnum):
    """How weights w, rewards r and a reward model q become the value of a policy."""

    IPS = "IPS"
    CLIPPED_IPS = "clipped IPS"
    SNIPS = "SNIPS"
    BETA_IPS = "β-IPS"
    DM = "DM"
    DR = "DR"
    SNDR = "SNDR"
    BETA_DR = "β-DR"
    SWITCH_DR = "SWITCH-DR"
    DROS = "DRos"

    @property
    def needs_model(self) -> bool:
        """Whether a reward model is required."""
        return "D" in self

    @property
    def is_self_normalised(self) -> bool:
        """Whether it divides by the sum of the weights."""
        return self in {Estimator.SNIPS, Estimator.SNDR}

    @property
    def is_tuned(self) -> bool:
        """Whether it has a parameter that trades variance for bias."""
        return self in {Estimator.CLIPPED_IPS, Estimator.SWITCH_DR, Estimator.DROS}

    @property
    def unknown_error(self) -> "NoInterval | None":
        """Why its error is unknown: a bias that the variation of the rows does not show; None if it is known."""
        if self is Estimator.DM:
            return NoInterval.MODEL
        return NoInterval.CUT_WEIGHTS if self.is_tuned else None


class NoInterval(StrEnum):
    """Why a value has no interval."""

    MODEL = "model"
    """The value is the reward model's, whose own error is unknown."""
    CUT_WEIGHTS = "cut_weights"
    """Cutting weights has a bias, as that of the reward model or of clipping, which is unknown."""
    SUPPORT = "support"
    """So much of the policy is not in the log that the estimate has a bias, which is unknown."""
    ONE_USER = "one_user"
    """The rows are of one user."""
    EQUAL_REWARDS = "equal_rewards"
    """All rewards are equal that the value rests on, so that they show no variation."""


class SupportStatus(StrEnum):
    """How far the logging policy supports the estimate of another policy."""

    USABLE = "usable"
    WEAK = "weak"
    NO_SUPPORT = "no support"
    """No value is given."""


class SupportReason(StrEnum):
    """What limits the support."""

    SUPPORT = "support"
    """The share of the target policy that the logging policy could show."""
    EFFECTIVE_SAMPLE_SIZE = "effective_sample_size"
    EFFECTIVE_SHARE = "effective_share"
    """The effective sample size, as a share of the rows."""
    TAIL = "tail"
    """The shape k̂ of the tail of the weights."""
    MEAN_WEIGHT = "mean_weight"
    """The mean weight's distance from its expectation, in standard errors: wrong propensities."""
    EXTRAPOLATION = "extrapolation"
    """The support of a self-normalised estimator, which extends to items that were never shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportLimit:
    """A number that limits the support.

    Attributes:
        reason: What it is.
        value: The number.
        limit: The value from which the status would be better.
        status: The status that it causes.
    """

    reason: SupportReason
    value: Finite
    limit: Finite
    status: SupportStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightDiagnostics:
    """What the weights of an estimate look like; where positions differ, those of the worst.

    Attributes:
        rows: Number of rows.
        users: Number of users.
        support: Share of the target policy that the logging policy could show; None if unknown.
        mean_weight: Mean weight; its expectation is the support.
        z: Distance of the mean weight from its expectation, in standard errors clustered by user; None
            if all weights are equal.
        max_weight: The largest weight.
        share_above_10: Share of weights above 10.
        effective_sample_size: (Σ w)² / Σ w².
        k_hat: Shape of the generalised Pareto distribution of the largest weights (PSIS; Vehtari et al.
            2024); None if they have no tail.
        status: How far the estimate is supported.
        limits: What limits the support, the worst first.
    """

    rows: int
    users: int
    support: Finite | None
    mean_weight: Finite
    z: Finite | None
    max_weight: Finite
    share_above_10: Finite
    effective_sample_size: Finite
    k_hat: Finite | None
    status: SupportStatus
    limits: tuple[SupportLimit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyValue:
    """The value of a policy under one estimator.

    Attributes:
        name: The name of the estimator, such as ``IIPS`` for IPS with weights of positions.
        estimator: The estimator.
        weighting: What its weights are.
        parameter: Its clip, switch or shrinkage parameter; None if it has none.
        value: Reward per row.
        standard_error: Clustered by user; None without an interval.
        level: Nominal coverage of the interval.
        interval: Confidence interval, clustered by user; None if the error is unknown.
        no_interval: Why it has none; None if it has one.
    """

    name: str
    estimator: Estimator
    weighting: Weighting
    parameter: Finite | None
    value: Finite
    standard_error: Finite | None
    level: Finite
    interval: Interval | None
    no_interval: NoInterval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLift:
    """The estimated and the realised lift of one policy over another.

    Attributes:
        policy: The policy.
        estimated: Lift that an estimator gives.
        realised: Lift of the experiment.
        interval: Confidence interval of the realised lift.
    """

    policy: str
    estimated: Finite
    realised: Finite
    interval: Interval

    @property
    def recovery(self) -> float:
        """Estimated over realised lift; 1 is exact."""
        return self.estimated / self.realised

    @property
    def is_realised(self) -> bool:
        """Whether the interval of the realised lift excludes 0."""
        return self.interval[0] > 0 or self.interval[1] < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySummary:
    """Recovery of an estimator over several policies; 1 is exact.

    Attributes:
        policies: Number of policies whose realised lift differs from 0.
        excluded: The other policies.
        mean: Mean Recovery.
        mean_distance: Mean of |Recovery - 1|.
        cv_absolute: Mean absolute deviation over the mean (Eq. 1).
        cv_standard: Population standard deviation over the mean (Eq. 6).
        rank_correlation: Spearman's, of estimated and realised lifts of all policies; None if either
            has no order.
    """

    policies: int
    excluded: tuple[str, ...]
    mean: Finite
    mean_distance: Finite
    cv_absolute: Finite
    cv_standard: Finite
    rank_correlation: Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedChoice:
    """The estimator chosen by its Recovery.

    Attributes:
        estimator: The one chosen on all policies.
        nested_recovery: Recovery of each policy under the estimator chosen on the others.
        mean_distance: Mean of |Recovery - 1|, nested.
    """

    estimator: str
    nested_recovery: tuple[Finite, ...]
    mean_distance: Finite


_NAMES = {
    (Weighting.CLUSTER, Estimator.IPS): "MIPS",
    (Weighting.CLUSTER, Estimator.DR): "OffCEM",
    (Weighting.LIST, Estimator.IPS): "SIPS",
    (Weighting.POSITION, Estimator.IPS): "IIPS",
    (Weighting.CASCADE, Estimator.IPS): "RIPS",
    (Weighting.CASCADE, Estimator.DR): "cascade-DR",
}


def estimator_name(weighting: Weighting, estimator: Estimator) -> str:
    """The literature's name of an estimator, such as ``IIPS`` for IPS with weights of positions."""
    if weighting is Weighting.ACTION or estimator is Estimator.DM:
        return estimator.value
    prefix = "PBM" if weighting is Weighting.EXAMINATION else weighting.value
    return _NAMES.get((weighting, estimator), f"{prefix}-{estimator.value}")
