"""The traffic plan: who is in the experiment, and which group, each with a preference, gets them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from pydantic import TypeAdapter, ValidationError

from pipeline.artifacts.storage import StudyPaths, read_json
from pipeline.core.errors import LogError
from pipeline.experiment.design.assignment import N_BUCKETS, bucket_of, buckets_of

PLAN = "traffic_plan.json"


class Reason(StrEnum):
    """Why a user is not where its bucket would put it; the first that holds counts."""

    OFF = "the experiment is switched off"
    FORCED = "a tester, whose group is forced"
    HELD_OUT = "a user that is held out of experiments"
    NOT_COVERED = "a user outside of the coverage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Users whose bucket lies in ``first_bucket … last_bucket`` get lists under ``preference``."""

    name: str
    preference_id: str
    preference: tuple[float, ...]
    first_bucket: int
    last_bucket: int

    @property
    def share(self) -> float:
        """Share of the experiment's users; in (0, 1]."""
        return (self.last_bucket - self.first_bucket + 1) / N_BUCKETS


class Assignment(NamedTuple):
    """Where a user belongs: to a group, or (None) not to the experiment; and why, if not by bucket."""

    group: Group | None
    reason: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPlan:
    """Who gets what.

    Every question has a bucket of its own, from a hash with a salt of its own, so that the answers
    are independent: raising the coverage moves nobody between groups.

    Attributes:
        experiment: Its name in the log.
        salt: Of the hash that chooses the group; a new one for every experiment.
        list_length: Items in a recommended list.
        groups: In order of their buckets, which they cover without gap or overlap.
        model: Fingerprint of the checkpoint that serves all groups; None if it is not known.
        enabled: The kill switch: nobody is in an experiment that is not.
        traffic_share: Share of the users (that are not held out) that are in the experiment; raised, it
            adds users and moves none.
        traffic_salt: Of the hash that chooses them.
        holdout: Share of the users that are kept out.
        holdout_salt: Of the hash that chooses them; the same for all experiments, so that the same
            users are kept out of all.
        forced_assignment: Units whose group is forced, by name of the group. Their impressions do not count.
    """

    experiment: str
    salt: str
    list_length: int
    groups: tuple[Group, ...]
    model: str | None = None
    enabled: bool = True
    traffic_share: float = 1.0
    traffic_salt: str = "traffic_share"
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
                "without gap or overlap. Materialise 'traffic_plan' anew"
            )
            raise LogError(msg)
        names = [group.name for group in self.groups]
        if strange := {
            user: name for user, name in self.forced_assignment.items() if name not in names
        }:
            msg = (
                f"forced_assignment {strange} of experiment {self.experiment!r} are to get groups it does not "
                f"have ({', '.join(names)}); correct experiment.forced_assignment"
            )
            raise LogError(msg)

    def assign(self, user: str) -> Assignment:
        """Where a user belongs, and why if not by its bucket."""
        if not self.enabled:
            return Assignment(None, Reason.OFF)
        if forced := self.forced_assignment.get(user):
            return Assignment(self._named(forced), Reason.FORCED)
        if bucket_of(user, self.holdout_salt) < _buckets(self.holdout):
            return Assignment(None, Reason.HELD_OUT)
        if bucket_of(user, self.traffic_salt) >= _buckets(self.traffic_share):
            return Assignment(None, Reason.NOT_COVERED)
        bucket = bucket_of(user, self.salt)
        return Assignment(next(one for one in self.groups if bucket <= one.last_bucket), None)

    def group_of(self, user: str) -> Group | None:
        """The group a user is served as; None if it is not in the experiment."""
        return self.assign(user).group

    def assign_many(self, users: pl.Series) -> pl.DataFrame:
        """:meth:`place` for many users: the columns ``group`` (a name, or null) and ``reason``."""
        if not self.enabled:
            nobody = pl.Series("group", [None] * len(users), dtype=pl.String)
            return nobody.to_frame().with_columns(reason=pl.lit(Reason.OFF.value))
        names = np.repeat(
            [group.name for group in self.groups],
            [group.last_bucket - group.first_bucket + 1 for group in self.groups],
        )
        by_bucket = pl.Series(names, dtype=pl.String).gather(buckets_of(users, self.salt))
        reason = pl.lit(None, dtype=pl.String)
        if self.traffic_share < 1:
            out = pl.Series(buckets_of(users, self.traffic_salt) >= _buckets(self.traffic_share))
            reason = pl.when(out).then(pl.lit(Reason.NOT_COVERED.value)).otherwise(reason)
        if self.holdout > 0:
            out = pl.Series(buckets_of(users, self.holdout_salt) < _buckets(self.holdout))
            reason = pl.when(out).then(pl.lit(Reason.HELD_OUT.value)).otherwise(reason)
        placed = pl.DataFrame({"group": by_bucket}).with_columns(reason=reason)
        placed = placed.with_columns(group=pl.when(pl.col("reason").is_null()).then("group"))
        if not self.forced_assignment:
            return placed
        forced = users.replace_strict(
            list(self.forced_assignment),
            list(self.forced_assignment.values()),
            default=None,
            return_dtype=pl.String,
        )
        is_forced = forced.is_not_null()
        return placed.with_columns(
            group=pl.when(is_forced).then(forced).otherwise("group"),
            reason=pl.when(is_forced).then(pl.lit(Reason.FORCED.value)).otherwise("reason"),
        )

    def groups_of(self, users: pl.Series) -> pl.Series:
        """The names of the groups many users are served as; null where a user is in none."""
        return self.assign_many(users)["group"]

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON holds it; shares are added for the reader."""
        plan = asdict(self)
        for values, group in zip(plan["groups"], self.groups, strict=True):
            values["share"] = group.share
        return plan

    @classmethod
    def from_dict(cls, plan: Any) -> Self:
        """Read back what :meth:`as_dict` wrote.

        Raises:
            LogError: if it is no traffic plan.
        """
        try:
            return TypeAdapter(cls).validate_python(plan)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "all of it"
            msg = (
                f"the traffic plan cannot be read, {place}: {first['msg']}; materialise "
                "'traffic_plan' anew"
            )
            raise LogError(msg) from error

    def _named(self, name: str) -> Group:
        return next(group for group in self.groups if group.name == name)


def _buckets(share: float) -> int:
    return round(share * N_BUCKETS)


def read_plan(paths: StudyPaths) -> TrafficPlan:
    """The traffic plan of a study; raises :class:`MissingArtifact` if it has none yet."""
    return TrafficPlan.from_dict(read_json(paths.require("traffic_plan", PLAN)))
