"""``simulator``: the users of a simulated experiment, and injected faults."""

from dataclasses import asdict
from typing import Annotated

from annotated_types import Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.contracts import Metric


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class InjectedFaults:
    """Faults injected into a simulated experiment, to test the diagnostics; none by default.

    Carry-over and novelty effects are proportional to the preference's first weight.

    Attributes:
        carry_over: Change of a user's click log odds per doubling of the lists shown before, at
            weight 1.
        novelty: Change of the click log odds on the first day, at weight 1; it halves every three
            days.
        lost_users: Share of the last group's users missing from the log: a sample ratio mismatch.
        bots: Number of bots, each with one impression every five seconds for an hour of day one.
        lost_events: Share of the impressions, and of the clicks, missing from the log while their
            outcomes are logged; impressions, clicks and orders are then in separate files.
        duplicates: Share of the impressions that are logged twice.
    """

    carry_over: Annotated[float, Interval(ge=-3, le=3)] = 0.0
    novelty: Annotated[float, Interval(ge=-3, le=3)] = 0.0
    lost_users: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    bots: Annotated[int, Interval(ge=0, le=1_000_000)] = 0
    lost_events: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    duplicates: Annotated[float, Interval(ge=0, lt=1)] = 0.0

    def active(self) -> dict[str, float]:
        """The faults that are not 0, by name."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrueSlope:
    """The true slope of a KPI's log odds in the relative change of a metric against the worst group."""

    metric: str
    slope: Annotated[float, Interval(ge=-100, le=100)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DirectConfig:
    """The distribution that ``experiment.source: direct`` draws its log from.

    Attributes:
        impressions_per_user: Mean number of impressions, over all users.
        activity_shape: Impressions per user are Poisson with a Gamma-distributed mean of this shape;
            lower values give more variation.
        ctr: CTR of the group with the worst metric.
        cvr: CVR of the group with the worst metric.
        ctr_slope: True slope of the CTR.
        cvr_slope: True slope of the CVR.
        user_spread: Standard deviation over users of the log odds of a click, and of an order.
        group_spread: Standard deviation of the groups around the regression line, in log odds.
    """

    impressions_per_user: Annotated[float, Interval(gt=0, le=100_000)] = 13.25
    activity_shape: Annotated[float, Interval(gt=0, le=1_000_000)] = 1.0
    ctr: Annotated[float, Interval(gt=0, lt=1)] = 0.10
    cvr: Annotated[float, Interval(gt=0, lt=1)] = 0.027
    ctr_slope: TrueSlope = Field(
        default_factory=lambda: TrueSlope(metric=Metric.RECALL.value, slope=0.9)
    )
    cvr_slope: TrueSlope = Field(
        default_factory=lambda: TrueSlope(metric=Metric.ORDER_DENSITY.value, slope=1.26)
    )
    user_spread: Annotated[float, Interval(ge=0, le=3)] = 0.8
    group_spread: Annotated[float, Interval(ge=0, le=3)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SimulatorConfig:
    """The users of a simulated experiment.

    Attributes:
        weekdays: Relative number of sessions on each day of the week, Monday first.
        learning: Probability that a click on a recommended item makes its category the user's
            favourite.
        drift: Probability per day that a user replaces a favourite category.
        truth_users: Number of additional users over whom the true KPIs of the groups are computed;
            0 to skip them.
        faults: Injected faults.
        direct: Distribution of a log that is drawn without a recommender.
    """

    weekdays: Annotated[tuple[Annotated[int, Interval(ge=1, le=1_000_000)], ...], Len(7, 7)] = (
        1,
    ) * 7
    learning: Annotated[float, Interval(ge=0, le=1)] = 0.0
    drift: Annotated[float, Interval(ge=0, le=1)] = 0.0
    truth_users: Annotated[int, Interval(ge=0, le=100_000_000)] = 2000
    faults: InjectedFaults = Field(default_factory=InjectedFaults)
    direct: DirectConfig = Field(default_factory=DirectConfig)
