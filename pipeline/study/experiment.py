"""``experiment``: the online experiment's groups, users and log."""

from datetime import date
from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from annotated_types import Gt, Interval, Len
from pydantic import Discriminator, Field, Tag
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.errors import StudyError
from pipeline.study.local_path import DataPath, LocalPath
from pipeline.study.log_mapping import LogColumns, LogFileNames
from pipeline.study.second_axis import SecondAxis

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]*$"
"""Of the names of studies, experiments and releases, which are also names of folders."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]

Shares = Annotated[
    dict[Annotated[str, Len(1)], Annotated[float, Interval(gt=0, le=1e9)]], Len(2, 1000)
]
"""The planned share of the users by variant."""

Variants = Annotated[
    Annotated[LocalPath, Tag("(file)")] | Annotated[Shares, Tag("(shares)")],
    Discriminator(lambda value: "(shares)" if isinstance(value, dict) else "(file)"),
]
"""The file of a table, or the shares themselves; tags in parentheses are not part of the key."""


class LogSource(StrEnum):
    """Source of the experiment log."""

    SIMULATED_SHOP = "simulated-shop"
    DIRECT = "direct"
    HELD_OUT_REPLAY = "held-out-replay"
    FILES = "files"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PlanningConfig:
    """How the groups' preferences are selected, and the traffic assumptions of the power analysis.

    Attributes:
        curvature_floor: Minimum efficiency for detecting curvature (x²), relative to the best
            design for it; 0 places all groups at the extremes of the metrics.
        power: Target power at the expected slopes.
        slope: Default expected slope. A slope of 1 means 1% higher odds of the KPI (for count and
            value metrics: a 1% higher KPI) per 1% of the metric.
        slopes: Expected slopes by hypothesis id.
        past_study: A study whose ``group_kpis`` replace the assumptions below; None to use them.
        ctr: Click-through rate.
        cvr: Post-click conversion rate.
        units_per_order: Mean units per order; units beyond the first are Poisson.
        revenue_variation: Coefficient of variation of the revenue per order.
        order_value: Mean revenue of an order, in your currency: the expected cost of the experiment
            is then stated in revenue, too. None to state it as a share.
        impressions_per_day: Impressions per day over all users; ``traffic_share`` of the users are
            in the experiment.
        returning_users: Users present from the first day who keep coming back.
        new_users_per_day: New users per day.
        impressions_variation: Coefficient of variation of the impressions per user.
        user_correlation: Correlation of two outcomes of one user (of two clicks, for the CVR).
        group_deviation: Standard deviation of the groups' KPIs around the regression line for
            reasons other than the metric, in log odds (for count and value metrics: in logs).
    """

    curvature_floor: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    power: Annotated[float, Interval(gt=0.05, lt=1)] = 0.8
    slope: Annotated[float, Interval(gt=0, le=100)] = 1.0
    slopes: dict[str, Annotated[float, Interval(gt=0, le=100)]] = Field(
        default_factory=dict[str, float]
    )
    past_study: Name | None = None
    ctr: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    cvr: Annotated[float, Interval(gt=0, lt=1)] = 0.03
    units_per_order: Annotated[float, Interval(ge=1, le=1_000_000)] = 1.2
    revenue_variation: Annotated[float, Interval(ge=0, le=1000)] = 1.0
    order_value: Annotated[float, Interval(gt=0, le=1e9)] | None = None
    impressions_per_day: Annotated[float, Interval(gt=0, le=1e10)] = 10000.0
    returning_users: Annotated[float, Interval(ge=0, le=1e10)] = 0.0
    new_users_per_day: Annotated[float, Interval(ge=0, le=1e10)] = 1000.0
    impressions_variation: Annotated[float, Interval(ge=0, le=1000)] = 1.0
    user_correlation: Annotated[float, Interval(ge=0, lt=1)] = 0.02
    group_deviation: Annotated[float, Interval(ge=0, le=10)] = 0.0

    def __post_init__(self) -> None:
        if self.returning_users + self.new_users_per_day <= 0:
            msg = (
                "experiment.planning: returning_users and new_users_per_day are both 0; an "
                "experiment needs users. Raise one of them"
            )
            raise StudyError(msg)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ExperimentConfig:
    """The online experiment.

    Attributes:
        name: Name of the experiment in its log.
        source: ``simulated-shop`` (users of the synthetic shop), ``direct`` (drawn from known
            slopes, without a recommender), ``held-out-replay`` (a simulation in which held-out
            sessions act as users) or ``files`` (your own log, in ``log_path``, or in the tables of
            ``compute.warehouse``).
        log_path: Folder of the log files when ``source`` is ``files``, also ``s3://bucket/key``.
        columns: Column mapping of the log files; None if they follow the contract.
        files: Which log files have which table; None if their names say so.
        subfolders: Whether the log files in subfolders of ``log_path`` are read.
        variants: The groups, if they are variants of another recommender: their planned shares, such
            as ``{control: 1, treatment: 1}``; or a CSV or parquet file with name, share of the users
            and offline metrics of each.
        salt: Seed of the assignment hash; change it for every new experiment.
        enabled: Kill switch; False assigns no user to the experiment.
        traffic_share: Share of the users in the experiment. Raising it adds users and moves none
            between groups.
        holdout: Share of the users excluded from the experiment.
        holdout_salt: Seed of the holdout hash. Experiments with the same salt exclude the same
            users.
        forced_assignment: Group by user id, for QA; impressions of these users are rejected.
        groups: Number of groups, named g1, g2, … by ascending recall.
        shares: Relative traffic share of each group, such as ``[2, 1, 2]``; None for equal shares.
        guardrails: Largest loss of offline metrics that a group may have, such as ``{recall: 0.15}``
            for 15% less than under the incumbent, or without one under the best preference.
        incumbent: Id of the preference in production, such as ``p07``: everyone outside the groups is
            served it, and guardrails and the expected cost of the experiment compare with it. None if
            there is none; the preference with the best recall is then served to them.
        replicates: Number of groups per preference. Two or more provide an A/A test within the
            experiment, and an estimate of the variance between groups that π does not explain.
        second_axis: What groups may differ in besides their preference; None for preferences only.
        list_length: Number of items in a recommendation list.
        days: Planned duration in days, and the duration of a simulated experiment; ``first_day``
            and ``last_day`` take precedence.
        users: Number of users in a simulated experiment.
        first_day: First day of the experiment; earlier impressions are rejected.
        last_day: Last day of the experiment; later impressions are rejected.
        time_zone: Time zone of the days, such as ``Europe/Berlin``: of the two above, of the daily
            totals, and of a log with local times.
        ignored_groups: Groups of the log that are left out, if the plan or the table of variants does
            not have them.
        attribution_hours: Attribution window from impression to click, and from click to order,
            for logs with separate files of clicks and orders.
        clock_tolerance_seconds: How much earlier than its impression a click may be logged, and an
            order than its click, if two clocks differ.
        max_faulty_share: Maximum share of faulty rows in the log; with more, it is refused. 1 waives
            the limit. Rows out of scope are not faulty.
        max_impressions_per_hour: A user with more impressions within a clock hour is a bot, and
            excluded.
        planning: Selection of the groups' preferences, and traffic assumptions.
    """

    name: Name = "pareto-1"
    source: LogSource = LogSource.SIMULATED_SHOP
    log_path: DataPath | None = None
    columns: LogColumns | None = None
    files: LogFileNames | None = None
    subfolders: bool = False
    variants: Variants | None = None
    salt: Annotated[str, Len(1)] = "pareto-1"
    enabled: bool = True
    traffic_share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    holdout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    holdout_salt: Annotated[str, Len(1)] = "holdout"
    forced_assignment: dict[str, str] = Field(default_factory=dict[str, str])
    groups: Annotated[int, Interval(ge=3, le=1000)] = 5
    shares: tuple[Annotated[float, Gt(0)], ...] | None = None
    guardrails: dict[Annotated[str, Len(1)], Annotated[float, Interval(gt=0, lt=1)]] = Field(
        default_factory=dict[str, float]
    )
    incumbent: Annotated[str, Len(1)] | None = None
    replicates: Annotated[int, Interval(ge=1, le=100)] = 1
    second_axis: SecondAxis | None = None
    list_length: Annotated[int, Interval(ge=1, le=1000)] = 20
    days: Annotated[int, Interval(ge=1, le=3650)] = 14
    users: Annotated[int, Interval(ge=10, le=100_000_000)] = 40000
    first_day: date | None = None
    last_day: date | None = None
    time_zone: str = "UTC"
    attribution_hours: Annotated[float, Interval(gt=0, le=87_600)] = 24.0
    ignored_groups: tuple[Annotated[str, Len(1)], ...] = ()
    clock_tolerance_seconds: Annotated[float, Interval(ge=0, le=3600)] = 0.0
    max_faulty_share: Annotated[float, Interval(ge=0, le=1)] = 0.05
    max_impressions_per_hour: Annotated[int, Interval(ge=1, le=1_000_000_000)] = 500
    planning: PlanningConfig = Field(default_factory=PlanningConfig)

    @property
    def relative_shares(self) -> tuple[float, ...]:
        """``shares``, or equal ones; of each group, in any scale."""
        return self.shares or (1.0,) * self.groups

    def __post_init__(self) -> None:
        self._check_groups()
        if self.groups % self.replicates or self.groups // self.replicates < 2:
            msg = (
                f"experiment.groups = {self.groups} and experiment.replicates = {self.replicates}; "
                "expected a multiple of replicates with at least two preferences"
            )
            raise StudyError(msg)
        try:
            ZoneInfo(self.time_zone)
        except (ValueError, OSError, ZoneInfoNotFoundError) as error:
            msg = (
                f"experiment.time_zone = {self.time_zone!r} is not a time zone; expected a name such "
                "as UTC or Europe/Berlin"
            )
            raise StudyError(msg) from error
        if self.first_day and self.last_day and self.first_day > self.last_day:
            msg = (
                f"experiment.first_day = {self.first_day} is after experiment.last_day = "
                f"{self.last_day}; expected first_day <= last_day"
            )
            raise StudyError(msg)

    def _check_groups(self) -> None:
        """Raise if ``shares`` or ``forced_assignment`` do not match the groups."""
        names = [f"g{number}" for number in range(1, self.groups + 1)]
        if self.shares is not None and len(self.shares) != self.groups:
            msg = (
                f"experiment.shares = {list(self.shares)} has {len(self.shares)} values, but "
                f"experiment.groups = {self.groups}; give one share per group ({', '.join(names)})"
            )
            raise StudyError(msg)
        if self.shares is not None and min(self.shares) < sum(self.shares) / 1000:
            msg = (
                f"experiment.shares = {list(self.shares)}: every group needs at least 0.1% of the "
                "users"
            )
            raise StudyError(msg)
        if unknown := {
            user: name for user, name in self.forced_assignment.items() if name not in names
        }:
            msg = (
                f"experiment.forced_assignment = {unknown}: unknown groups; use {', '.join(names)}"
            )
            raise StudyError(msg)

    @property
    def planned_days(self) -> int | None:
        """Planned duration in days; None for a held-out replay, which has no schedule."""
        if self.source is LogSource.HELD_OUT_REPLAY:
            return None
        if self.first_day and self.last_day:
            return (self.last_day - self.first_day).days + 1
        return self.days
