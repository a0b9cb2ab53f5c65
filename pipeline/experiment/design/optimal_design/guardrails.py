"""Guardrails of a plan: how much of an offline metric a group may lose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import StudyError
from pipeline.core.file_content import did_you_mean
from pipeline.experiment.design.optimal_design.exchange import Floats, Ints
from pipeline.experiment.design.optimal_design.measured_front import MeasuredFront
from pipeline.study import ExperimentConfig

_ROUND_OFF = 1e-12
"""A loss that exceeds its limit by less is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailLoss:
    """A guardrail, and what the plan's groups lose of its metric.

    Attributes:
        metric: The offline metric.
        limit: Largest allowed loss, relative to the reference; None without a guardrail.
        reference: Id of the incumbent, or of the best candidate without one.
        largest: Largest loss of a group, as a fraction; negative if all groups are better.
        excluded: Number of candidates that lose more than the limit.
    """

    metric: str
    limit: float | None
    reference: str
    largest: float
    excluded: int


def _losses(
    front: MeasuredFront, metric: str, ids: Sequence[str], incumbent: str | None
) -> tuple[Floats, int]:
    """Loss of a metric under each candidate, relative to the reference, and its index.

    Raises:
        StudyError: if the metric is undefined somewhere, or not positive under the reference.
    """
    values = front.values(metric, ids)
    reference = reference_of(front, metric, ids, incumbent)
    if not _has_losses(values, reference):
        msg = (
            f"experiment.guardrails: {metric} is undefined under a preference, or 0 under "
            f"{ids[reference]}, so that no loss is relative to it; choose another metric"
        )
        raise StudyError(msg)
    change = values / values[reference] - 1
    return -change if _higher_is_better(front, metric) else change, reference


def _has_losses(values: Floats, reference: int) -> bool:
    return not np.isnan(values).any() and bool(values[reference] > 0)


def _exceeds(loss_C: Floats, limit: float) -> NDArray[np.bool_]:
    return loss_C > limit + _ROUND_OFF


def allowed(front: MeasuredFront, section: ExperimentConfig, ids: Sequence[str]) -> Ints:
    """Indices of the candidates that lose no more than any guardrail allows.

    Raises:
        StudyError: if a guardrail's metric or the incumbent is unknown.
    """
    if section.incumbent is not None and section.incumbent not in ids:
        msg = (
            f"experiment.incumbent = {section.incumbent} is not a preference"
            f"{did_you_mean(section.incumbent, ids)}; expected one of {', '.join(ids)}"
        )
        raise StudyError(msg)
    kept = np.ones(len(ids), dtype=np.bool_)
    metrics = front.offline_metrics["metric"].unique(maintain_order=True).to_list()
    for metric, limit in section.guardrails.items():
        if metric not in metrics:
            msg = (
                f"experiment.guardrails: {metric!r} is not measured{did_you_mean(metric, metrics)}; use a "
                f"metric of {', '.join(metrics)}"
            )
            raise StudyError(msg)
        loss_C, _ = _losses(front, metric, ids, section.incumbent)
        kept &= ~_exceeds(loss_C, limit)
    return np.flatnonzero(kept)


def too_few_allowed(
    section: ExperimentConfig, ids: list[str], kept: Ints, needed: int
) -> StudyError:
    """The error of guardrails that leave fewer candidates than the plan needs."""
    limits = ", ".join(f"{metric}: {limit:g}" for metric, limit in section.guardrails.items())
    left = f" ({', '.join([ids[int(n)] for n in kept])})" if len(kept) else ""
    return StudyError(
        f"experiment.guardrails = {{{limits}}} leave {len(kept)} of {len(ids)} candidates{left}, but "
        f"experiment.groups = {section.groups} needs {needed}; allow a larger loss, use fewer groups, "
        "or raise evaluation.preferences"
    )


def plan_losses(
    front: MeasuredFront, section: ExperimentConfig, ids: Sequence[str], chosen: Sequence[str]
) -> tuple[GuardrailLoss, ...]:
    """What the groups lose of each guardrail's metric, and of the front's first metric.

    A metric that is undefined somewhere, or not positive under the reference, has no relative loss and is
    left out; as a guardrail, :func:`allowed` refuses it.
    """
    found: list[GuardrailLoss] = []
    for metric in dict.fromkeys((*section.guardrails, front.first_axis)):
        values = front.values(metric, ids)
        if not _has_losses(values, reference_of(front, metric, ids, section.incumbent)):
            continue
        loss_C, reference = _losses(front, metric, ids, section.incumbent)
        limit = section.guardrails.get(metric)
        found.append(
            GuardrailLoss(
                metric=metric,
                limit=limit,
                reference=ids[reference],
                largest=float(max(loss_C[list(ids).index(one)] for one in chosen)),
                excluded=0 if limit is None else int(_exceeds(loss_C, limit).sum()),
            )
        )
    return tuple(found)


def reference_of(
    front: MeasuredFront, metric: str, ids: Sequence[str], incumbent: str | None
) -> int:
    """The index of the incumbent, or without one of the candidate with the best metric."""
    if incumbent is not None:
        return list(ids).index(incumbent)
    values = front.values(metric, ids)
    best = values if _higher_is_better(front, metric) else -values
    return int(np.nanargmax(best)) if not np.isnan(values).all() else 0


def _higher_is_better(front: MeasuredFront, metric: str) -> bool:
    rows = front.offline_metrics.filter(metric=metric)
    return bool(rows["higher_is_better"][0]) if rows.height else True
