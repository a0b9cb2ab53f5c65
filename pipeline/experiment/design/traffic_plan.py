"""The traffic plan: the experiment's groups, their preferences and the assignment of users."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from pydantic import TypeAdapter, ValidationError

from models.strict import first_problem
from pipeline.artifacts.storage import StudyPaths, read_json
from pipeline.core.errors import LogError
from pipeline.experiment.design.assignment import N_BUCKETS, bucket_of, buckets_of
from pipeline.study import SecondAxis

PLAN = "traffic_plan.json"

AS_LOGGED = "as logged"
"""The ``assignment`` of a plan of external variants, whose users are assigned elsewhere."""


class Reason(StrEnum):
    """Why a user's group is not determined by its bucket; the first that applies counts."""

    DISABLED = "experiment disabled"
    FORCED = "forced assignment"
    HOLDOUT = "user in the holdout"
    OUTSIDE_TRAFFIC = "user outside the traffic share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A test group: users with buckets ``first_bucket … last_bucket``, served under ``preference``.

    With a second axis, ``preference_id`` is the id of the group's cell, and ``level`` its level.
    """

    name: str
    preference_id: str
    preference: tuple[float, ...]
    first_bucket: int
    last_bucket: int
    level: float | None = None

    @property
    def share(self) -> float:
        """Share of the experiment's users, in (0, 1]."""
        return (self.last_bucket - self.first_bucket + 1) / N_BUCKETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent:
    """What everyone outside the groups is served: a preference, and the model it belongs to.

    Attributes:
        preference_id: Id of the preference, or of a cell of the second axis.
        preference: Its weights, one per objective.
        model: Fingerprint of the checkpoint; None if unknown.
        level: Level of the second axis; None for the neutral one.
    """

    preference_id: str
    preference: tuple[float, ...]
    model: str | None = None
    level: float | None = None


class Assignment(NamedTuple):
    """A user's group (None outside the experiment), and the reason if the bucket did not decide."""

    group: Group | None
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPlan:
    """The groups of an experiment and the assignment of users to them.

    Holdout, traffic and group are decided by three hashes with different salts, so they are
    independent: raising the traffic share moves no user between groups.

    Attributes:
        experiment: Name of the experiment in the log.
        salt: Salt of the group hash; a new one for every experiment.
        list_length: Number of items in a recommendation list.
        second_axis: What the groups may differ in besides their preference.
        groups: Groups in bucket order; they cover all buckets without gap or overlap.
        incumbent: What the users outside the groups are served; None if the plan does not say.
        model: Fingerprint of the checkpoint that serves all groups; None if unknown.
        has_orders: Whether the shop's sessions have orders; if not, the experiment's log need not.
        enabled: Kill switch; False assigns no user.
        traffic_share: Share of the users outside the holdout that are in the experiment.
        traffic_salt: Salt of the traffic hash.
        holdout: Share of the users excluded from experiments.
        holdout_salt: Salt of the holdout hash; the same for all experiments with the same holdout.
        forced_assignment: Group name by user id, for QA; impressions of these users are rejected.
    """

    experiment: str
    salt: str
    list_length: int
    groups: tuple[Group, ...]
    incumbent: Incumbent | None = None
    second_axis: SecondAxis | None = None
    model: str | None = None
    has_orders: bool = True
    enabled: bool = True
    traffic_share: float = 1.0
    traffic_salt: str = "coverage"
    holdout: float = 0.0
    holdout_salt: str = "holdout"
    forced_assignment: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        edges = [(group.first_bucket, group.last_bucket + 1) for group in self.groups]
        starts, ends = [0, *(end for _, end in edges)], [*(s for s, _ in edges), N_BUCKETS]
        if starts != ends or any(first >= end for first, end in edges):
            msg = (
                f"the groups of experiment {self.experiment!r} cover the buckets "
                f"{[(first, end - 1) for first, end in edges]}; expected 0 to {N_BUCKETS - 1} in order, "
                "without gap or overlap. Materialise 'traffic_plan' again"
            )
            raise LogError(msg)
        names = [group.name for group in self.groups]
        if unknown := {
            user: name for user, name in self.forced_assignment.items() if name not in names
        }:
            msg = (
                f"experiment {self.experiment!r}: forced_assignment {unknown} has unknown groups; use "
                f"{', '.join(names)} in experiment.forced_assignment"
            )
            raise LogError(msg)

    def assign(self, user: str) -> Assignment:
        """The group of a user, and the reason if the bucket did not decide."""
        if not self.enabled:
            return Assignment(None, Reason.DISABLED)
        if forced := self.forced_assignment.get(user):
            return Assignment(self._named(forced), Reason.FORCED)
        if bucket_of(user, self.holdout_salt) < _buckets(self.holdout):
            return Assignment(None, Reason.HOLDOUT)
        if bucket_of(user, self.traffic_salt) >= _buckets(self.traffic_share):
            return Assignment(None, Reason.OUTSIDE_TRAFFIC)
        bucket = bucket_of(user, self.salt)
        return Assignment(next(one for one in self.groups if bucket <= one.last_bucket), None)

    def group_of(self, user: str) -> Group | None:
        """The group of a user; None outside the experiment."""
        return self.assign(user).group

    def assign_many(self, users: pl.Series) -> pl.DataFrame:
        """Vectorised :meth:`assign`: columns ``group`` (a name or null) and ``reason``."""
        if not self.enabled:
            nobody = pl.Series("group", [None] * len(users), dtype=pl.String)
            return nobody.to_frame().with_columns(reason=pl.lit(Reason.DISABLED.value))
        names = np.repeat(
            [group.name for group in self.groups],
            [group.last_bucket - group.first_bucket + 1 for group in self.groups],
        )
        by_bucket = pl.Series(names, dtype=pl.String).gather(buckets_of(users, self.salt))
        reason = pl.lit(None, dtype=pl.String)
        if self.traffic_share < 1:
            out = pl.Series(buckets_of(users, self.traffic_salt) >= _buckets(self.traffic_share))
            reason = pl.when(out).then(pl.lit(Reason.OUTSIDE_TRAFFIC.value)).otherwise(reason)
        if self.holdout > 0:
            out = pl.Series(buckets_of(users, self.holdout_salt) < _buckets(self.holdout))
            reason = pl.when(out).then(pl.lit(Reason.HOLDOUT.value)).otherwise(reason)
        assigned = pl.DataFrame({"group": by_bucket}).with_columns(reason=reason)
        assigned = assigned.with_columns(group=pl.when(pl.col("reason").is_null()).then("group"))
        if not self.forced_assignment:
            return assigned
        forced = users.replace_strict(
            list(self.forced_assignment),
            list(self.forced_assignment.values()),
            default=None,
            return_dtype=pl.String,
        )
        is_forced = forced.is_not_null()
        return assigned.with_columns(
            group=pl.when(is_forced).then(forced).otherwise("group"),
            reason=pl.when(is_forced).then(pl.lit(Reason.FORCED.value)).otherwise("reason"),
        )

    def groups_of(self, users: pl.Series) -> pl.Series:
        """Vectorised :meth:`group_of`: group names, null outside the experiment."""
        return self.assign_many(users)["group"]

    def list_length_at(self, level: float | None) -> int:
        """The number of items in lists at a level of the second axis; None for the neutral one."""
        if self.second_axis is None or level is None:
            return self.list_length
        return self.second_axis.list_length(level, self.list_length)

    def level_label(self, group: Group) -> str | None:
        """The group's level for the reader, such as ``diversity 0.3``; None without a second axis."""
        if self.second_axis is None or group.level is None:
            return None
        return self.second_axis.label(group.level)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values for JSON, with the groups' shares and names of their levels."""
        plan = asdict(self)
        for values, group in zip(plan["groups"], self.groups, strict=True):
            values["share"] = group.share
            values["level_label"] = self.level_label(group)
        return plan

    @classmethod
    def from_dict(cls, plan: Any) -> Self:
        """Read back what :meth:`as_dict` wrote.

        Raises:
            LogError: if it is not a valid traffic plan.
        """
        try:
            return TypeAdapter(cls).validate_json(json.dumps(plan))
        except ValidationError as error:
            msg = (
                f"{PLAN} is not a valid traffic plan: {first_problem(error)}; materialise "
                "'traffic_plan' again"
            )
            raise LogError(msg) from error

    def _named(self, name: str) -> Group:
        return next(group for group in self.groups if group.name == name)


def _buckets(share: float) -> int:
    return round(share * N_BUCKETS)


def read_plan(paths: StudyPaths) -> TrafficPlan:
    """The traffic plan of a study that trains a model.

    Raises:
        MissingArtifact: if it has none yet.
        LogError: if its groups are external variants, or the plan is not valid.
    """
    plan = read_json(paths.require("traffic_plan", PLAN))
    if plan.get("assignment") == AS_LOGGED:
        msg = (
            "the groups of this study are variants of your own recommender (experiment.variants), which assigns and serves "
            "users: there are no preferences to plan, serve or simulate. `paretoscope study` ingests its log"
        )
        raise LogError(msg)
    return TrafficPlan.from_dict(plan)
