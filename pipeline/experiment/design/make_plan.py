"""Derive a traffic plan from the Pareto front: the groups' preferences and their buckets.

With a second axis, the candidates are the cells, of which preferences are those of the neutral level.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.optimal_design.criterion import DesignCriterion, Efficiency
from pipeline.experiment.design.optimal_design.exchange import Ints
from pipeline.experiment.design.optimal_design.guardrails import (
    GuardrailLoss,
    plan_losses,
    reference_of,
)
from pipeline.experiment.design.optimal_design.measured_front import (
    MeasuredFront,
    UserInformation,
    rival_metrics,
)
from pipeline.experiment.design.optimal_design.metric_axis import MetricAxis
from pipeline.experiment.design.optimal_design.search import Search
from pipeline.experiment.design.traffic_plan import Group, Incumbent, TrafficPlan
from pipeline.study import ExperimentConfig, Study, level_of


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisInformation:
    """The efficiency of a design for one hypothesis.

    Attributes:
        hypothesis: Id of the hypothesis.
        metric: Name of its metric.
        chosen: Efficiency of the chosen preferences, relative to the best design for this hypothesis.
        even: Efficiency of evenly spaced preferences, likewise.
        gain: Ratio of the slope information of the chosen to that of the evenly spaced preferences,
            minus 1: the additional traffic that the latter need. None if either has no information.
        one_front: Efficiency of the plan on the front alone, likewise; None if that is the plan.
        rivals: The other metrics that hypotheses have for the same KPI.
        partial: Efficiency of the chosen for the slope with the rivals held fixed; None without any.
        partial_one_front: The same of the plan on the front alone.
        lowest_inflation: Smallest variance inflation of that slope in any design; None if infinite.
    """

    hypothesis: str
    metric: str
    chosen: Efficiency
    even: Efficiency
    gain: float | None
    one_front: Efficiency | None = None
    rivals: tuple[str, ...] = ()
    partial: Efficiency | None = None
    partial_one_front: Efficiency | None = None
    lowest_inflation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The preferences of a plan, compared with evenly spaced ones.

    Attributes:
        chosen: Ids of the chosen preferences, by ascending first metric of the front (recall).
        even: Ids of the same number of preferences, evenly spaced on the grid.
        candidates: Number of candidate preferences.
        only_undominated: Whether the candidates are the undominated preferences only.
        curvature_floor: ``experiment.planning.curvature_floor``.
        hypotheses: Efficiency of both for each hypothesis whose metric varies.
        left_out: Hypotheses not in the criterion, with the reason.
        one_front: Ids of the plan on the front alone, if the groups differ in more than their
            preference; it cannot tell metrics apart.
        guardrails: What the groups lose of the guardrails' metrics, and of the first of the front.
        optimal_shares: The traffic shares of the chosen with the most information.
    """

    chosen: tuple[str, ...]
    even: tuple[str, ...]
    candidates: int
    only_undominated: bool
    curvature_floor: float
    hypotheses: tuple[HypothesisInformation, ...]
    left_out: dict[str, str]
    one_front: tuple[str, ...] = ()
    guardrails: tuple[GuardrailLoss, ...] = ()
    optimal_shares: tuple[float, ...] = ()


def make_plan(
    front: MeasuredFront,
    study: Study,
    *,
    model: str | None = None,
    information: UserInformation = lambda _, metric: np.ones_like(metric),
) -> tuple[TrafficPlan, Design]:
    """Choose the groups' preferences for the study's hypotheses, and allocate the buckets.

    Dominated preferences are candidates only if there are too few others. Where the metrics of all
    hypotheses vary by no more than their errors, preferences are evenly spaced. If there are
    candidates off the front, with which metrics of one KPI can be told apart, the partial slopes of
    those metrics take the place of the marginal ones.

    Args:
        front: The offline evaluation.
        study: The study, with its hypotheses and its experiment.
        model: Fingerprint of the evaluated checkpoint.
        information: Information per user under each preference; equal by default.

    Raises:
        StudyError: if the guardrails leave too few candidates, or one is undefined.
    """
    section = study.experiment
    points = front.points.with_row_index("position").sort(front.first_axis, maintain_order=True)
    search = Search.of(front, study, points, information)
    one_front, even, ids = search.one_front, search.even(), search.ids
    chosen = search.chosen()
    design = Design(
        chosen=tuple(ids[n] for n in chosen),
        even=tuple(ids[n] for n in even),
        candidates=len(search.pool),
        only_undominated=search.only_undominated,
        curvature_floor=section.planning.curvature_floor,
        hypotheses=_compare(search, study, chosen, even, one_front),
        left_out=search.left_out,
        one_front=tuple(ids[n] for n in one_front) if search.tells_apart else (),
        guardrails=plan_losses(front, section, ids, [ids[n] for n in chosen]),
        optimal_shares=tuple(search.shares(chosen).tolist()) if search.axes else (),
    )
    rows = [points.row(int(n), named=True) for n in chosen]
    best = reference_of(front, front.first_axis, ids, section.incumbent)
    incumbent = _incumbent(points.row(best, named=True), section, model)
    plan = _allocate(rows, section, model)
    return replace(plan, has_orders=front.has_orders, incumbent=incumbent), design


def _incumbent(row: dict[str, Any], section: ExperimentConfig, model: str | None) -> Incumbent:
    return Incumbent(
        preference_id=row["preference_id"],
        preference=tuple(row["preference"]),
        model=model,
        level=level_of(section.second_axis, row["preference_id"]),
    )


def _compare(
    search: Search, study: Study, chosen: Ints, even: Ints, one_front: Ints
) -> tuple[HypothesisInformation, ...]:
    """The efficiencies of the chosen, of evenly spaced and of the one front's preferences."""
    if not search.axes:
        return ()
    defined = [one for one in study.regression.hypotheses if one.id in search.axes]
    axes = list(search.axes.values())
    marginal = list(search.marginal_axes.values())
    has_rivals = any(axis.joint for axis in axes)
    partial = search.criterion(search.axes, search.pool) if has_rivals else search.marginal

    def efficiencies(
        criterion: DesignCriterion, design: Ints, of: list[MetricAxis]
    ) -> list[Efficiency]:
        weights_G = search.weights_of(design)
        return replace(criterion, weights_G=weights_G).efficiencies(design, of)

    rows = zip(
        defined,
        *(efficiencies(search.marginal, one, marginal) for one in (chosen, even, one_front)),
        *(efficiencies(partial, one, axes) for one in (chosen, one_front)),
        strict=True,
    )
    return tuple(
        HypothesisInformation(
            hypothesis=one.id,
            metric=str(one.metric),
            chosen=a,
            even=b,
            gain=_gain(a, b),
            one_front=c if search.tells_apart else None,
            rivals=(rivals := rival_metrics(one, defined)),
            partial=d if rivals else None,
            partial_one_front=e if rivals and search.tells_apart else None,
            lowest_inflation=_finite(search.inflation.get(one.id, np.inf)),
        )
        for one, a, b, c, d, e in rows
    )


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _gain(chosen: Efficiency, even: Efficiency) -> float | None:
    if not chosen.slope or not even.slope or min(chosen.slope, even.slope) <= 0:
        return None
    return chosen.slope / even.slope - 1


def _allocate(
    rows: Sequence[dict[str, Any]], section: ExperimentConfig, model: str | None
) -> TrafficPlan:
    shares = np.array(section.relative_shares)
    ends = [0, *(round(N_BUCKETS * end) for end in shares.cumsum() / shares.sum())]
    axis = section.second_axis
    groups = [
        Group(
            name=f"g{n + 1}",
            preference_id=row["preference_id"],
            preference=tuple(row["preference"]),
            first_bucket=ends[n],
            last_bucket=ends[n + 1] - 1,
            level=level_of(axis, row["preference_id"]),
        )
        for n, row in enumerate(list(rows) * section.replicates)
    ]
    return TrafficPlan(
        experiment=section.name,
        salt=section.salt,
        list_length=section.list_length,
        second_axis=axis,
        groups=tuple(groups),
        model=model,
        enabled=section.enabled,
        traffic_share=section.traffic_share,
        traffic_salt=f"{section.salt} coverage",
        holdout=section.holdout,
        holdout_salt=section.holdout_salt,
        forced_assignment=dict(section.forced_assignment),
    )
