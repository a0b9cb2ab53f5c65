"""The power of a planned experiment: what ``power.json`` holds."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.core.contracts import Kpi
from pipeline.experiment.design.make_plan import Design, HypothesisInformation
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import Finite


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
    """

    planned_days: int
    target_power: float
    level: float
    traffic: TrafficStatistics
    design: Design
    hypotheses: tuple[PlannedHypothesis, ...]
