"""What the experiment's own log says of policies, checked by leaving each group out."""

from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.core.contracts import Kpi
from pipeline.results.counterfactual import (
    NestedChoice,
    RecoverySummary,
    SupportLimit,
    SupportStatus,
    WeightDiagnostics,
)
from pipeline.results.slopes import Finite, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingSummary:
    """What was counted when the lists of all groups were computed.

    Attributes:
        groups: Names of the groups, in the order of the traffic plan.
        list_length: Positions of a list.
        requests: Number of requests.
        users: Number of users.
        equal_share: Share of the shown lists that the model reproduced.
        fallbacks: Impressions that are left out, since their list was not the model's.
        unplaced_clicks: Clicks that count as none, since they are on no item of their list.
        log_version: Version of the log, the traffic plan and the model that they are of.
    """

    groups: tuple[str, ...]
    list_length: int
    requests: int
    users: int
    equal_share: Finite
    fallbacks: int
    unplaced_clicks: int
    log_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """The examination curve (1 + k)^-exponent, harvested from the log.

    Attributes:
        exponent: The decay.
        standard_error: By a bootstrap of users.
        pairs: Pairs of positions that it was fitted to.
        clicks: Clicks on items that groups place differently.
    """

    exponent: Finite
    standard_error: Finite
    pairs: int
    clicks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutGroup:
    """A group as the target of the other groups.

    Attributes:
        group: Its name.
        requests: Requests of the other groups.
        diagnostics: Of the weights of PBM-IPS.
    """

    group: str
    requests: int
    diagnostics: WeightDiagnostics


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEstimate:
    """One KPI of one group, estimated from the other groups and realised by itself.

    Lifts are over the other groups together. An estimate is given even without support, because here the
    realised value is next to it.

    Attributes:
        group: The group.
        status: How far the other groups support the estimate.
        limits: What limits the support, the worst first.
        value: Estimated KPI.
        interval: Its confidence interval, clustered by user; None for DM.
        realised: KPI of the group itself.
        lift: Estimated lift.
        lift_interval: Its confidence interval by a bootstrap of users; None for DM.
        realised_lift: Lift of the experiment.
        realised_interval: Its confidence interval.
        recovery: Estimated over realised lift; None if the realised lift's interval includes 0.
        recovery_interval: Its interval by a bootstrap of users; None for DM.
    """

    group: str
    status: SupportStatus
    limits: tuple[SupportLimit, ...]
    value: Finite
    interval: Interval | None
    realised: Finite
    lift: Finite
    lift_interval: Interval | None
    realised_lift: Finite
    realised_interval: Interval
    recovery: Finite | None
    recovery_interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorCheck:
    """One estimator of one KPI, checked on every group.

    Attributes:
        name: The estimator.
        groups: One estimate per group.
        recovery: Over the groups; None if no realised lift differs from 0.
        supported: Whether no group with a realised lift lacks support.
    """

    name: str
    groups: tuple[GroupEstimate, ...]
    recovery: RecoverySummary | None
    supported: bool


class NoChoice(StrEnum):
    """Why Recovery chooses no estimator."""

    TOO_FEW_GROUPS = "too_few_groups"
    """Fewer than two groups have a realised lift: one to choose on and one to check."""
    NO_SUPPORT = "no_support"
    """Every estimator with a known error lacks support on a group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiCheck:
    """One KPI under every estimator.

    Attributes:
        kpi: The KPI.
        estimators: Every estimator.
        choice: The one with the best Recovery, chosen among the supported ones; None if fewer than two
            groups have a realised lift, or no estimator is supported.
    """

    kpi: Kpi
    estimators: tuple[EstimatorCheck, ...]
    choice: NestedChoice | None

    @property
    def headline(self) -> EstimatorCheck:
        """The chosen estimator; without a choice PBM-DR."""
        name = self.choice.estimator if self.choice else DEFAULT_ESTIMATOR
        return next(one for one in self.estimators if one.name == name)

    @property
    def no_choice(self) -> NoChoice | None:
        """Why there is no choice."""
        if self.choice:
            return None
        recovery = self.headline.recovery
        few = recovery is None or recovery.policies < 2
        return NoChoice.TOO_FEW_GROUPS if few else NoChoice.NO_SUPPORT


DEFAULT_ESTIMATOR = "PBM-DR"
"""Where Recovery cannot choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualEstimates:
    """The artifact ``counterfactual_estimates``.

    Attributes:
        pairing: How the lists of all groups were computed.
        examination: The harvested curve.
        level: Nominal coverage of intervals.
        groups: The groups as targets.
        kpis: One check per KPI.
    """

    pairing: PairingSummary
    examination: Examination
    level: Finite
    groups: tuple[LeftOutGroup, ...]
    kpis: tuple[KpiCheck, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyKpi:
    """One KPI of a policy that was not served.

    Attributes:
        kpi: The KPI.
        estimator: The one that Recovery chose on the groups.
        chosen: Whether it was chosen; otherwise it is the default.
        status: How far the log supports it.
        limits: What limits the support, the worst first.
        value: The KPI under the policy; None without support.
        interval: Its confidence interval, clustered by user; None without support, or for DM.
        realised: KPI of the experiment, all groups together.
        lift: Relative change from it; None without support.
        lift_interval: Its confidence interval; None without support, or for DM.
        nested_distance: Mean |Recovery - 1| of the estimator on groups that did not choose it; None
            without a choice.
        no_choice: Why Recovery chose none; None if it did.
    """

    kpi: Kpi
    estimator: str
    chosen: bool
    status: SupportStatus
    limits: tuple[SupportLimit, ...]
    value: Finite | None
    interval: Interval | None
    realised: Finite
    lift: Finite | None
    lift_interval: Interval | None
    nested_distance: Finite | None
    no_choice: NoChoice | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnservedPolicy:
    """A policy that was not served, on the requests of the experiment.

    Attributes:
        policy: Preference, rules and model, for the reader.
        preference: Weights of the objectives.
        requests: Number of requests.
        left_out: Requests for which the policy has no list: its model knows no clicked item, or its filters
            leave no item.
        new_lists: Share of the lists that are those of no group.
        diagnostics: Of the weights of PBM-IPS.
        kpis: One per KPI.
    """

    policy: str
    preference: tuple[Finite, ...]
    requests: int
    left_out: int
    new_lists: Finite
    diagnostics: WeightDiagnostics
    kpis: tuple[PolicyKpi, ...]

    @property
    def is_refused(self) -> bool:
        """Whether a KPI has no value, for lack of support."""
        return any(one.value is None for one in self.kpis)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnservedPolicies:
    """What ``paretoscope counterfactual`` finds in an experiment."""

    level: Finite
    users: int
    policies: tuple[UnservedPolicy, ...]
