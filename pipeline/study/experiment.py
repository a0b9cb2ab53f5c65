"""The experiment of a study: its groups, its users, its log."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from annotated_types import Ge, Gt, Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.errors import StudyError
from pipeline.study.log_mapping import LogColumns


class LogSource(StrEnum):
    """Where the experiment's log comes from."""

    SIMULATED_SHOP = "simulated-shop"
    DIRECT = "direct"
    REPLAY = "held-out-replay"
    FILES = "files"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PlanningConfig:
    """How groups are chosen, and what the power of the experiment is foretold from.

    Attributes:
        curvature_floor: How well x² must be told from a straight line, as a share of how well the
            best groups for that would; 0 puts the groups at the ends of the metrics.
        power: Chance the experiment is to have of showing a slope as steep as expected.
        slope: How steep a slope is expected, if it is not said for the hypothesis; 1 is a per cent
            more odds of the KPI (of amounts: more KPI) for a per cent more of the metric.
        slopes: The same by the hypothesis's id.
        past_study: A study whose ``group_kpis`` tell what the keys below would; None for those.
        ctr: Clicks an impression.
        cvr: Orders a click.
        units_per_order: Pieces an order; those beyond the first are Poisson.
        revenue_variation: Standard deviation of an order's revenue over its mean.
        impressions_per_day: Lists shown on a day to all users, of whom the experiment gets what it
            covers.
        returning_users: Users who are there from the first day and come back all the time.
        new_users_per_day: Users who come for the first time on a day.
        impressions_variation: Standard deviation of the impressions a user over their mean.
        user_correlation: Of what comes of two impressions of a user (two clicks, for conversion).
        group_deviation: Standard deviation of groups from the line for reasons beyond the metric,
            in log odds (of amounts: in the logarithm).
    """

    curvature_floor: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    power: Annotated[float, Interval(gt=0.05, lt=1)] = 0.8
    slope: Annotated[float, Gt(0)] = 1.0
    slopes: dict[str, Annotated[float, Gt(0)]] = Field(default_factory=dict[str, float])
    past_study: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] | None = None
    ctr: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    cvr: Annotated[float, Interval(gt=0, lt=1)] = 0.03
    units_per_order: Annotated[float, Ge(1)] = 1.2
    revenue_variation: Annotated[float, Ge(0)] = 1.0
    impressions_per_day: Annotated[float, Gt(0)] = 10000.0
    returning_users: Annotated[float, Ge(0)] = 0.0
    new_users_per_day: Annotated[float, Ge(0)] = 1000.0
    impressions_variation: Annotated[float, Ge(0)] = 1.0
    user_correlation: Annotated[float, Interval(ge=0, lt=1)] = 0.02
    group_deviation: Annotated[float, Ge(0)] = 0.0

    def __post_init__(self) -> None:
        if self.returning_users + self.new_users_per_day <= 0:
            msg = (
                "experiment.planning: returning_users and new_users_per_day are both 0; an "
                "experiment needs users"
            )
            raise StudyError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ExperimentConfig:
    """The online experiment.

    Attributes:
        name: Of the experiment, in its log.
        source: ``simulated-shop`` (users of the synthetic shop), ``direct`` (drawn from chosen
            slopes), ``replay`` (held-out sessions play the users) or ``files`` (a log you bring, in
            ``log_path``).
        log_path: Folder of the log's files when ``source`` is ``files``.
        columns: How they are to be read if they are not in this project's contract.
        variants: CSV or parquet file of the groups, if they are variants of a recommender that is
            not this project's: name, share of the users, and offline metrics of each.
        salt: Seed of the assignment hash; change it for every new experiment.
        enabled: The kill switch: nobody is assigned to a group of an experiment that is not.
        traffic_share: Share of the users that are in the experiment; raised under way, it adds users
            and leaves all others in their groups.
        traffic_salt: Seed of the hash that chooses them; None for one made of ``salt``.
        holdout: Share of the users that are kept out of the experiment.
        holdout_salt: Seed of the hash that chooses them; keep it, and the same users are kept out
            of every experiment.
        forced_assignment: Users who are served as a group of your choice; their impressions do not count.
        groups: Number of groups, g1 … with the smallest recall first.
        shares: How the users are divided between the groups, a number above 0 each, such as
            ``[2, 1, 2]``; None for evenly.
        replicates: Groups under each preference. From 2 on, groups of one preference are an A/A test
            within the experiment, and tell what groups differ by for reasons beyond π.
        list_length: Items in a recommended list.
        days: Days the experiment is planned to run; the simulated shop is open so long. With
            ``first_day`` and ``last_day``, those say it.
        users: Users of the simulated experiment.
        first_day: Impressions before this day (UTC) are none of the experiment's; None for any.
        last_day: Impressions after this day (UTC) are none of the experiment's; None for any.
        attribution_hours: Where clicks and orders have files of their own, a click counts for so
            long after its impression, and an order for so long after its click.
        max_impressions_per_hour: A user who is shown more lists within an hour of the clock is a
            bot, and set aside.
        planning: What the groups are chosen by, and what is known of the traffic.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = "pareto-1"
    source: LogSource = LogSource.SIMULATED_SHOP
    log_path: str | None = None
    columns: LogColumns | None = None
    variants: Annotated[str, Len(1)] | None = None
    salt: Annotated[str, Len(1)] = "pareto-1"
    enabled: bool = True
    traffic_share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    traffic_salt: Annotated[str, Len(1)] | None = None
    holdout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    holdout_salt: Annotated[str, Len(1)] = "holdout"
    forced_assignment: dict[str, str] = Field(default_factory=dict[str, str])
    groups: Annotated[int, Ge(3)] = 5
    shares: tuple[Annotated[float, Gt(0)], ...] | None = None
    replicates: Annotated[int, Ge(1)] = 1
    list_length: Annotated[int, Ge(1)] = 20
    days: Annotated[int, Ge(1)] = 14
    users: Annotated[int, Ge(10)] = 40000
    first_day: date | None = None
    last_day: date | None = None
    attribution_hours: Annotated[float, Gt(0)] = 24.0
    max_impressions_per_hour: Annotated[int, Ge(1)] = 500
    planning: PlanningConfig = Field(default_factory=PlanningConfig)

    def __post_init__(self) -> None:
        self._check_groups()
        if self.groups % self.replicates or self.groups // self.replicates < 2:
            msg = (
                f"experiment.groups = {self.groups} and experiment.replicates = {self.replicates}; "
                "the groups are so many of each of two or more preferences"
            )
            raise StudyError(msg)
        if self.first_day and self.last_day and self.first_day > self.last_day:
            msg = (
                f"experiment.first_day = {self.first_day} is after experiment.last_day = "
                f"{self.last_day}; the first comes first"
            )
            raise StudyError(msg)

    def _check_groups(self) -> None:
        """Raise if shares or testers are of other groups than there are."""
        names = [f"g{number}" for number in range(1, self.groups + 1)]
        if self.shares is not None and len(self.shares) != self.groups:
            msg = (
                f"experiment.shares = {list(self.shares)} are {len(self.shares)}, but "
                f"experiment.groups = {self.groups}; give a share for each of {', '.join(names)}"
            )
            raise StudyError(msg)
        if self.shares is not None and min(self.shares) < sum(self.shares) / 1000:
            msg = (
                f"experiment.shares = {list(self.shares)}: every group needs at least 0.1 % of the "
                "users"
            )
            raise StudyError(msg)
        if strange := {
            user: name for user, name in self.forced_assignment.items() if name not in names
        }:
            msg = f"experiment.forced_assignment = {strange}: the groups are {', '.join(names)}"
            raise StudyError(msg)

    @property
    def planned_days(self) -> int | None:
        """How long the experiment is to run; None for replayed sessions, of which all are there."""
        if self.source is LogSource.REPLAY:
            return None
        if self.first_day and self.last_day:
            return (self.last_day - self.first_day).days + 1
        return self.days
