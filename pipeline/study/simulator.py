"""What simulated users do, and what is wrong with their log."""

from dataclasses import asdict
from typing import Annotated

from annotated_types import Ge, Gt, Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.contracts import Metric


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PlantedFaults:
    """What is wrong with a simulated experiment, so that one can see it found; nothing by default.

    Attributes:
        carry_over: What every doubling of the lists a user was shown before adds to the log odds of
            a click, under the preference for the first objective alone; nothing under the
            preference for none of it.
        novelty: What the first day adds to the log odds of a click, under the preference for the
            first objective alone; half of that is left every three days later.
        lost_users: Share of the last group's users of whom the log knows nothing: a sample-ratio
            mismatch.
        bots: Programs that ask for a list every five seconds for an hour of the first day.
        lost_events: Share of the impressions, and of the clicks, that the log lacks, though what came
            of them is there; impressions, clicks and orders then have files of their own.
        duplicates: Share of the impressions that are in the log twice.
    """

    carry_over: Annotated[float, Interval(ge=-3, le=3)] = 0.0
    novelty: Annotated[float, Interval(ge=-3, le=3)] = 0.0
    lost_users: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    bots: Annotated[int, Ge(0)] = 0
    lost_events: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    duplicates: Annotated[float, Interval(ge=0, lt=1)] = 0.0

    def planted(self) -> dict[str, float]:
        """What is not 0, by name."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ChosenSlope:
    """The log odds of a KPI rise by ``slope`` for each time the metric of the worst group."""

    metric: str
    slope: float


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DirectConfig:
    """The world without a recommender: what its log is drawn from.

    Attributes:
        impressions_per_user: Mean over all users, those who never come included.
        activity_shape: Users' impressions are Poisson with a Gamma mean of this shape; the smaller,
            the more users differ.
        ctr: Impressions clicked / impressions, in the group with the worst metric.
        cvr: Clicks ordered / clicks, likewise.
        ctr_slope: How the CTR depends on a metric.
        cvr_slope: How the CVR does.
        user_spread: Standard deviation of users' log odds of a click, and of those of an order.
        group_spread: Standard deviation of the groups around their line, in log odds.
    """

    impressions_per_user: Annotated[float, Gt(0)] = 13.25
    activity_shape: Annotated[float, Gt(0)] = 1.0
    ctr: Annotated[float, Interval(gt=0, lt=1)] = 0.10
    cvr: Annotated[float, Interval(gt=0, lt=1)] = 0.027
    ctr_slope: ChosenSlope = Field(
        default_factory=lambda: ChosenSlope(metric=Metric.RECALL.value, slope=0.9)
    )
    cvr_slope: ChosenSlope = Field(
        default_factory=lambda: ChosenSlope(metric=Metric.ORDER_DENSITY.value, slope=1.26)
    )
    user_spread: Annotated[float, Interval(ge=0, le=3)] = 0.8
    group_spread: Annotated[float, Interval(ge=0, le=3)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SimulatorConfig:
    """The users of a simulated experiment.

    Attributes:
        weekdays: How many visits fall on each day of the week, Monday first, relative to the others.
        learning: Chance that a click on a list makes the item's category the user's favourite.
        drift: Chance that a user exchanges a favourite category for another, each day.
        truth_users: Users, none of the log's, over whom the expected KPIs of every group of the
            simulated shop are summed; 0 to go without.
        faults: What is wrong with the experiment.
        direct: What a log without a recommender is drawn from.
    """

    weekdays: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(7, 7)] = (1,) * 7
    learning: Annotated[float, Interval(ge=0, le=1)] = 0.0
    drift: Annotated[float, Interval(ge=0, le=1)] = 0.0
    truth_users: Annotated[int, Ge(0)] = 2000
    faults: PlantedFaults = Field(default_factory=PlantedFaults)
    direct: DirectConfig = Field(default_factory=DirectConfig)
