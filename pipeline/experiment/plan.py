"""The traffic plan: g groups, each with a preference of its own and a range of buckets."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl

from pipeline.errors import LogError
from pipeline.experiment.assignment import N_BUCKETS, bucket_of, buckets_of
from pipeline.storage import StudyPaths, read_json
from pipeline.study import ExperimentSection

PLAN = "traffic_plan.json"


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
        """Share of the users; in (0, 1]."""
        return (self.last_bucket - self.first_bucket + 1) / N_BUCKETS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPlan:
    """Who gets what: the experiment's name, the salt of its assignment, and its groups."""

    experiment: str
    salt: str
    list_length: int
    groups: tuple[Group, ...]

    def group_of(self, unit: str) -> Group:
        """The group a unit is assigned to."""
        bucket = bucket_of(unit, self.salt)
        for group in self.groups:
            if group.first_bucket <= bucket <= group.last_bucket:
                return group
        msg = f"unit {unit!r} falls into bucket {bucket}, which no group covers; mend the plan"
        raise LogError(msg)

    def groups_of(self, units: pl.Series) -> pl.Series:
        """The names of the groups of many units; null where no group covers a unit's bucket."""
        buckets = buckets_of(units, self.salt)
        names = np.full(N_BUCKETS, None, dtype=object)
        for group in self.groups:
            names[group.first_bucket : group.last_bucket + 1] = group.name
        found = pl.Series(names, dtype=pl.String)
        return found.gather(buckets)

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON holds it; shares are added for the reader."""
        plan = asdict(self)
        for values, group in zip(plan["groups"], self.groups, strict=True):
            values["share"] = group.share
        return plan

    @classmethod
    def from_dict(cls, plan: dict[str, Any]) -> Self:
        """Read back what :meth:`as_dict` wrote."""
        groups = [
            Group(
                name=group["name"],
                preference_id=group["preference_id"],
                preference=tuple(group["preference"]),
                first_bucket=group["first_bucket"],
                last_bucket=group["last_bucket"],
            )
            for group in plan["groups"]
        ]
        return cls(
            experiment=plan["experiment"],
            salt=plan["salt"],
            list_length=plan["list_length"],
            groups=tuple(groups),
        )


def read_plan(paths: StudyPaths) -> TrafficPlan:
    """The traffic plan of a study; raises :class:`MissingArtifact` if it has none yet."""
    return TrafficPlan.from_dict(read_json(paths.require("traffic_plan", PLAN)))


def check_same_preferences(plan: TrafficPlan, offline_metrics: pl.DataFrame) -> None:
    """Check that every group was served under the preference its metrics were computed for.

    Raises:
        LogError: if the grid of preferences changed after the plan was made.
    """
    measured = dict(offline_metrics.select("preference_id", "preference").unique().iter_rows())
    for group in plan.groups:
        found = measured.get(group.preference_id)
        if found is None or not np.allclose(found, group.preference):
            msg = (
                f"group {group.name} was served under {list(group.preference)}, but preference "
                f"{group.preference_id} of the offline metrics is {found}; materialise "
                "'traffic_plan' and what follows anew, or restore the study's preferences"
            )
            raise LogError(msg)


def check_not_under_way(running: TrafficPlan, new: TrafficPlan) -> None:
    """Check that a plan users are being served under is not replaced under the same name.

    Raises:
        LogError: if the two differ and belong to the same experiment.
    """
    if running.experiment == new.experiment and running != new:
        msg = (
            f"experiment {new.experiment!r} is under way with other groups than the model of today "
            "would get, and its log would be read as theirs. Give the new model's experiment "
            "another experiment.name and experiment.salt"
        )
        raise LogError(msg)


def make_plan(front: pl.DataFrame, section: ExperimentSection) -> TrafficPlan:
    """Choose groups that spread evenly over the measured recall, and split the buckets evenly.

    Even spacing in π would crowd the groups where recall hardly moves, so groups are chosen by
    the recall they have. Dominated preferences are used only if the others are too few. With
    replicates, every preference has so many groups: g1 and g4, say, that differ by chance alone.
    """
    preferences = section.groups // section.replicates
    undominated = front.filter(~pl.col("dominated"))
    candidates = undominated if undominated.height >= preferences else front
    chosen = spread(candidates["recall"].to_numpy(), preferences)
    rows = candidates[chosen].sort("recall").to_dicts() * section.replicates
    edges = [round(N_BUCKETS * n / section.groups) for n in range(section.groups + 1)]
    groups = [
        Group(
            name=f"g{n + 1}",
            preference_id=row["preference_id"],
            preference=tuple(row["preference"]),
            first_bucket=edges[n],
            last_bucket=edges[n + 1] - 1,
        )
        for n, row in enumerate(rows)
    ]
    return TrafficPlan(
        experiment=section.name,
        salt=section.salt,
        list_length=section.list_length,
        groups=tuple(groups),
    )


def spread(values: np.ndarray, n: int) -> list[int]:
    """Indices of ``n`` values close to even steps from the smallest to the largest.

    The two ends first, then the inner steps from the smallest up, each the nearest value left.
    """
    targets = np.linspace(values.min(), values.max(), n)
    chosen: list[int] = []
    for target in (targets[0], targets[-1], *targets[1:-1]):
        distance = np.abs(values - target)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
    return sorted(chosen)
