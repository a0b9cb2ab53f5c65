"""From the measured front to a traffic plan: which preferences get users, and which buckets."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import ALL_TARGETS
from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.optimal_design import (
    DesignCriterion,
    Efficiency,
    Floats,
    Ints,
    MetricAxis,
)
from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.study import ExperimentConfig, Hypothesis, Study

Telling = Callable[[Hypothesis, Floats], Floats]
"""What the same users tell of a hypothesis's KPI under each preference, from its metric there."""


@dataclass(frozen=True, slots=True)
class MeasuredFront:
    """What the model was found to do, preference by preference.

    Attributes:
        points: The table ``pareto_front``.
        offline_metrics: The table of that name.
        covariance: ``offline_metric_covariance``; None if the metrics' errors are not known.
    """

    points: pl.DataFrame
    offline_metrics: pl.DataFrame
    covariance: pl.DataFrame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisInformation:
    """How much a design says of one hypothesis.

    Attributes:
        hypothesis: Its id.
        metric: Its metric.
        chosen: The chosen preferences beside the best for this hypothesis alone.
        even: Evenly spaced preferences beside the same.
        gain: Information on the slope of the chosen over that of the evenly spaced, less 1: so
            much more traffic the latter need. None where one of them has none.
    """

    hypothesis: str
    metric: str
    chosen: Efficiency
    even: Efficiency
    gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The preferences of a plan, beside evenly spaced ones.

    Attributes:
        chosen: Ids of the preferences, the smallest recall first.
        even: Ids of as many preferences, evenly spaced over the grid.
        candidates: From how many they were chosen.
        only_undominated: Whether those are the preferences that no other dominates.
        curvature_floor: Of the study.
        hypotheses: What both say of each hypothesis whose metric varies.
        left_out: Hypotheses that could not be planned for, with the reason.
    """

    chosen: tuple[str, ...]
    even: tuple[str, ...]
    candidates: int
    only_undominated: bool
    curvature_floor: float
    hypotheses: tuple[HypothesisInformation, ...]
    left_out: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The design as JSON has it."""
        return asdict(self)


def make_plan(
    front: MeasuredFront,
    study: Study,
    *,
    model: str | None = None,
    telling: Telling = lambda _, metric: np.ones_like(metric),
) -> tuple[TrafficPlan, Design]:
    """Choose the groups' preferences by the study's hypotheses, and divide the users.

    Dominated preferences are candidates only if the others are too few. With replicates, every
    preference has so many groups: g1 and g4, say, that differ by chance alone.

    Args:
        front: What was measured.
        study: Its hypotheses, and the experiment it plans.
        model: Fingerprint of the checkpoint that was measured.
        telling: What users tell under each preference; the same under all, if it is not said.
    """
    section = study.experiment
    points = front.points.with_row_index("place").sort("recall", maintain_order=True)
    weights_G = preference_shares(section)
    undominated = points.filter(~pl.col("dominated"))
    only_undominated = undominated.height >= len(weights_G)
    candidates = (undominated if only_undominated else points)["preference_id"].to_list()
    ids: list[str] = points["preference_id"].to_list()
    axes, left_out = _axes(front, study, ids, telling)
    recall = points["recall"].to_numpy()
    told = list(axes.values()) or [_axis_of(recall, None, np.ones_like(recall))]
    pool = np.array([ids.index(one) for one in candidates])
    seed = study.study.seed
    criterion = DesignCriterion.of([_at(axis, pool) for axis in told], weights_G, seed=seed)
    chosen = pool[criterion.choose(floor=section.planning.curvature_floor, seed=seed)]
    even = _even(points, len(weights_G))
    found = (criterion.efficiencies(design, told) for design in (chosen, even))
    metrics = {one.id: str(one.metric) for one in study.regression.hypotheses}
    design = Design(
        chosen=tuple(ids[n] for n in chosen),
        even=tuple(ids[n] for n in even),
        candidates=len(pool),
        only_undominated=only_undominated,
        curvature_floor=section.planning.curvature_floor,
        hypotheses=tuple(
            HypothesisInformation(
                hypothesis=name, metric=metrics[name], chosen=a, even=b, gain=_gain(a, b)
            )
            for name, a, b in zip(axes, *found, strict=False)
        ),
        left_out=left_out,
    )
    rows = [points.row(int(n), named=True) for n in chosen]
    return _divide(rows, section, model), design


def preference_shares(section: ExperimentConfig) -> Floats:
    """Share of the users of every preference, over all its groups; sums to 1."""
    preferences = section.groups // section.replicates
    shares = np.array(section.shares or [1.0] * section.groups)
    return shares.reshape(section.replicates, preferences).sum(axis=0) / shares.sum()


def _divide(
    rows: Sequence[dict[str, Any]], section: ExperimentConfig, model: str | None
) -> TrafficPlan:
    shares = np.array(section.shares or [1.0] * section.groups)
    ends = [0, *(round(N_BUCKETS * end) for end in shares.cumsum() / shares.sum())]
    groups = [
        Group(
            name=f"g{n + 1}",
            preference_id=row["preference_id"],
            preference=tuple(row["preference"]),
            first_bucket=ends[n],
            last_bucket=ends[n + 1] - 1,
        )
        for n, row in enumerate(list(rows) * section.replicates)
    ]
    return TrafficPlan(
        experiment=section.name,
        salt=section.salt,
        list_length=section.list_length,
        groups=tuple(groups),
        model=model,
        enabled=section.enabled,
        traffic_share=section.traffic_share,
        traffic_salt=section.traffic_salt or f"{section.salt} coverage",
        holdout=section.holdout,
        holdout_salt=section.holdout_salt,
        forced_assignment=dict(section.forced_assignment),
    )


def _axes(
    front: MeasuredFront, study: Study, ids: list[str], telling: Telling
) -> tuple[dict[str, MetricAxis], dict[str, str]]:
    """An axis for every hypothesis whose metric is positive and varies; why the others have none."""
    axes: dict[str, MetricAxis] = {}
    left_out: dict[str, str] = {}
    for one in study.regression.hypotheses:
        found = metric_values(front.offline_metrics, str(one.metric), ids)
        if np.isnan(found).any() or found.min() <= 0:
            left_out[one.id] = "the metric is undefined, 0 or negative under a preference"
        elif not np.ptp(found) > 0:
            left_out[one.id] = "the metric is the same under all preferences"
        else:
            covariance = covariance_of(front.covariance, str(one.metric), ids)
            axes[one.id] = _axis_of(found, covariance, telling(one, found))
    return axes, left_out


def metric_values(offline_metrics: pl.DataFrame, metric: str, ids: Sequence[str]) -> Floats:
    """A metric under some preferences, in their order; nan where it is undefined."""
    rows = offline_metrics.filter(metric=metric, segment=ALL_TARGETS)
    known = dict(rows.select("preference_id", "value").iter_rows())
    found = [known.get(name) for name in ids]
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def covariance_of(table: pl.DataFrame | None, metric: str, ids: Sequence[str]) -> Floats | None:
    """Covariance of a metric's errors under some preferences; None where it is not known."""
    if table is None:
        return None
    rows = table.filter(metric=metric)
    keys = ("preference_id", "other_preference_id", "covariance")
    known = {(one, other): value for one, other, value in rows.select(keys).iter_rows()}
    found = [[known.get((one, other)) for other in ids] for one in ids]
    return None if any(None in row for row in found) else np.array(found, dtype=np.float64)


def _axis_of(values: Floats, covariance: Floats | None, told: Floats) -> MetricAxis:
    user = float(np.ptp(values)) or 1.0
    noise = np.zeros((len(values), len(values))) if covariance is None else covariance / user**2
    return MetricAxis((values - values.min()) / user, noise, told / told.mean())


def _at(axis: MetricAxis, places: Ints) -> MetricAxis:
    return MetricAxis(axis.x_C[places], axis.noise_CC[np.ix_(places, places)], axis.told_C[places])


def _even(points: pl.DataFrame, n: int) -> Ints:
    """Places of ``n`` preferences that are evenly spaced in the order of the grid, by recall."""
    grid = points.with_row_index("by_recall").sort("place")["by_recall"].to_numpy()
    return np.sort(grid[np.round(np.linspace(0, len(grid) - 1, n)).astype(np.int64)])


def _gain(chosen: Efficiency, even: Efficiency) -> float | None:
    if not chosen.slope or not even.slope or min(chosen.slope, even.slope) <= 0:
        return None
    return chosen.slope / even.slope - 1
