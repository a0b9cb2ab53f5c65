"""The power of a planned experiment: what ``power.json`` holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.core.contracts import Kpi
from pipeline.experiment.design.make_plan import Design, HypothesisInformation
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import Finite, Interval

POWER = "power.json"
"""Stored with the traffic plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficStatistics:
    """The users of an experiment.

    Attributes:
        ctr: Clicks per impression.
        cvr: Orders per click.
        units_per_order: Units per order; those beyond the first are Poisson.
        revenue_variation: Standard deviation of an order's revenue over its mean.
        impressions_per_day: Recommendation lists shown per day.
        returning_users: Users who come from the first day on and return every day.
        new_users_per_day: Users who come for the first time on a day.
        impressions_variation: Standard deviation of the impressions per user over their mean.
        correlation: Of the outcomes of two trials of a user, for ``ctr``, ``cvr`` and
            ``orders_per_impression``.
    """

    ctr: float
    cvr: float
    units_per_order: float
    revenue_variation: float
    impressions_per_day: float
    returning_users: float
    new_users_per_day: float
    impressions_variation: float
    correlation: Mapping[Kpi, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """The power for one true slope.

    Attributes:
        slope: True change of the link per unit of x, in the declared direction.
        standard_error: Of the estimated slope, from the users; the median of the simulated
            experiments. None where none has a slope.
        suggestive: Share of simulated experiments whose verdict is *confirmed* or *suggestive*.
        confirmed: Share whose verdict is *confirmed* at the planned end; None with two groups, where
            none can be.
    """

    slope: float
    standard_error: float | None
    suggestive: float
    confirmed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPower:
    """The power of one set of preferences for a hypothesis.

    Attributes:
        power: At the planned end.
        days_to_confirmed: Days to the target power of *confirmed*; None if more than ten years.
        impressions_to_confirmed: In those days.
        minimum_detectable_slope: Smallest slope with the target power at the planned end, for a
            change of the metric from the front's worst preference; None if there is none.
        days: Of the power curve.
        power_confirmed: Power after so many days, were that the planned end; None with two groups.
    """

    power: Power
    days_to_confirmed: int | None
    impressions_to_confirmed: int | None
    minimum_detectable_slope: Finite | None
    days: tuple[int, ...]
    power_confirmed: tuple[Finite | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldApart:
    """Whether an experiment can distinguish the metric of a hypothesis from its rivals.

    Attributes:
        partial: Power that its slope is confirmed with the rivals held fixed, if the KPI follows this
            metric alone; None where metrics move together too closely for a partial slope, or the
            groups are too few for so many metrics.
        mistaken: Share of experiments in which its own slope, without the rivals held fixed, is
            significant in any direction although the KPI follows the rival that it correlates with
            the most.
    """

    partial: Finite | None
    mistaken: Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveEnd:
    """What an experiment that ends when a hypothesis is decided, or cannot be any more, is expected to do.

    Attributes:
        days: Mean number of days, at the assumed slope.
        confirmed: Share of experiments that end as confirmed.
        days_without_slope: Mean number of days where the metric does nothing.
        given_up: Share of experiments at the assumed slope that end early without a decision.
    """

    days: Finite
    confirmed: Finite
    days_without_slope: Finite
    given_up: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCost:
    """What an experiment costs next to serving everybody the reference.

    Attributes:
        quantity: ``clicks``, ``orders`` or ``revenue``.
        reference: Id of the incumbent, or without one of the best candidate for the quantity.
        hypotheses: Whose slopes are assumed.
        amount: Expected loss over the planned days; negative for a gain.
        interval: Of the loss, from the errors of the metrics and the groups' deviations.
        share: Expected loss as a share of what the reference would give.
    """

    quantity: str
    reference: str
    hypotheses: tuple[str, ...]
    amount: Finite
    interval: Interval
    share: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOffer:
    """A change of the plan at the same traffic, and what it would gain.

    Attributes:
        change: The keys of ``experiment`` that make it.
        power: Power at the planned end by hypothesis; None with two groups.
    """

    change: str
    power: Mapping[str, Finite | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedHypothesis:
    """The power of an experiment for one hypothesis.

    Attributes:
        id: Of the hypothesis.
        metric: Its metric.
        kpi: Its KPI.
        response: The KPI that will be fitted.
        direction: Of the slope.
        slope: The assumed slope, for a change from the front's worst preference.
        undefined_reason: Why there is no power; None where there is.
        information: The design's information on the slope.
        chosen: With the plan's groups.
        even: With as many evenly spaced preferences, for the same truth.
        apart: Whether the metric can be distinguished from its rivals; None without any.
        apart_one_front: The same with the plan on the front alone; None if that is the plan.
        adaptive: With an end that adapts; None with two groups.
    """

    id: str
    metric: str
    kpi: Kpi
    response: Kpi
    direction: str
    slope: Finite
    undefined_reason: UndefinedReason | None = None
    information: HypothesisInformation | None = None
    chosen: PlanPower | None = None
    even: PlanPower | None = None
    apart: ToldApart | None = None
    apart_one_front: ToldApart | None = None
    adaptive: AdaptiveEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerAnalysis:
    """The power of a traffic plan.

    Attributes:
        planned_days: Planned duration.
        target_power: The power that durations and slopes refer to.
        level: Nominal coverage of the intervals.
        traffic: The users of the experiment.
        design: The chosen preferences, next to evenly spaced ones.
        hypotheses: One per declared hypothesis.
        cost: Expected, of clicks, orders and revenue.
        offers: Shares and replicates that would give more power.
    """

    planned_days: int
    target_power: float
    level: float
    traffic: TrafficStatistics
    design: Design
    hypotheses: tuple[PlannedHypothesis, ...]
    cost: tuple[ExpectedCost, ...] = ()
    offers: tuple[PlanOffer, ...] = ()
