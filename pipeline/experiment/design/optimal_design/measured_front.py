"""The offline evaluation that a plan is made from, and the metrics of its hypotheses as axes of a design."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from pipeline.core.contracts import ALL_TARGETS
from pipeline.core.front_contract import front_metrics
from pipeline.experiment.design.optimal_design.exchange import Floats
from pipeline.experiment.design.optimal_design.metric_axis import JointMetrics, MetricAxis
from pipeline.study import Hypothesis

UserInformation = Callable[[Hypothesis, Floats], Floats]
"""Information per user on a hypothesis's KPI under each candidate, given the metric there."""


@dataclass(frozen=True, slots=True)
class MeasuredFront:
    """The offline evaluation of every candidate for a group.

    Attributes:
        points: The table ``pareto_front``.
        offline_metrics: The table ``offline_metrics``.
        covariance: The table ``offline_metric_covariance``; None if the metrics' errors are unknown.
        has_orders: Whether any test target is ordered.
        replicates: The table ``offline_metric_replicates``; None if it is not known how the errors of
            two metrics go together.
        off_front: Ids of the candidates that differ from the preferences of the front in more than
            their preference.
    """

    points: pl.DataFrame
    offline_metrics: pl.DataFrame
    covariance: pl.DataFrame | None = None
    has_orders: bool = True
    replicates: pl.DataFrame | None = None
    off_front: frozenset[str] = frozenset()

    @property
    def first_axis(self) -> str:
        """The first metric of the front: recall."""
        return front_metrics(self.points)[0]

    def values(self, metric: str, ids: Sequence[str]) -> Floats:
        """A metric under the given candidates, in their order; nan where undefined."""
        return metric_values(self.offline_metrics, metric, ids)


def metric_axes(
    front: MeasuredFront,
    hypotheses: Sequence[Hypothesis],
    ids: Sequence[str],
    information: UserInformation,
) -> tuple[dict[str, MetricAxis], dict[str, str]]:
    """An axis per hypothesis with a positive, varying metric, and why the others have none.

    The metrics that other hypotheses have for the same KPI are those that it is to be told apart from.
    """
    axes: dict[str, MetricAxis] = {}
    left_out: dict[str, str] = {}
    for one in hypotheses:
        found = front.values(str(one.metric), ids)
        if one.needs_orders and not front.has_orders:
            left_out[one.id] = "there are no orders"
        elif np.isnan(found).any() or found.min() <= 0:
            left_out[one.id] = "the metric is undefined, 0 or negative under a preference"
        elif not np.ptp(found) > 0:
            left_out[one.id] = "the metric is the same under all preferences"
        else:
            covariance = covariance_of(front.covariance, str(one.metric), ids)
            axes[one.id] = axis_of(found, covariance, information(one, found))
    defined = [one for one in hypotheses if one.id in axes]
    for one in defined:
        if rivals := rival_metrics(one, defined):
            joint = _joint_metrics(front, [str(one.metric), *rivals], ids)
            axes[one.id] = replace(axes[one.id], joint=joint)
    return axes, left_out


def rival_metrics(hypothesis: Hypothesis, hypotheses: Sequence[Hypothesis]) -> tuple[str, ...]:
    """The other metrics that the hypotheses have for the same KPI."""
    found = {str(one.metric): None for one in hypotheses if one.kpi is hypothesis.kpi}
    return tuple(name for name in found if name != str(hypothesis.metric))


def axis_of(values: Floats, covariance: Floats | None, information: Floats) -> MetricAxis:
    """The axis of a metric's values under each candidate."""
    scale = float(np.ptp(values)) or 1.0
    noise = np.zeros((len(values), len(values))) if covariance is None else covariance / scale**2
    return MetricAxis((values - values.min()) / scale, noise, information / information.mean())


def _joint_metrics(
    front: MeasuredFront, metrics: Sequence[str], ids: Sequence[str]
) -> JointMetrics:
    x_CK = np.stack([front.values(one, ids) for one in metrics], axis=1)
    scale_K = np.ptp(x_CK, axis=0)
    noise_KKCC = joint_covariance(front, metrics, ids)
    noise_KKCC = noise_KKCC / (scale_K[:, None] * scale_K)[..., None, None]
    return JointMetrics((x_CK - x_CK.min(axis=0)) / scale_K, noise_KKCC)


def joint_covariance(front: MeasuredFront, metrics: Sequence[str], ids: Sequence[str]) -> Floats:
    """Covariance of the errors of metric k under candidate c and metric l under candidate c'; K × K × C × C.

    From the bootstrap replicates of both. Without them, errors of two metrics count as independent.
    """
    drawn = [metric_replicates(front.replicates, one, ids) for one in metrics]
    known = [one for one in drawn if one is not None]
    size, number = len(ids), len(metrics)
    if len(known) == number:
        covariance = np.cov(np.concatenate(known, axis=1), rowvar=False)
        return covariance.reshape(number, size, number, size).transpose(0, 2, 1, 3)
    found = np.zeros((number, number, size, size))
    for k, one in enumerate(metrics):
        own = covariance_of(front.covariance, one, ids)
        if own is not None:
            found[k, k] = own
    return found


def metric_values(offline_metrics: pl.DataFrame, metric: str, ids: Sequence[str]) -> Floats:
    """A metric under the given candidates, in their order; nan where undefined."""
    rows = offline_metrics.filter(metric=metric, segment=ALL_TARGETS)
    known = dict(rows.select("preference_id", "value").iter_rows())
    found = [known.get(name) for name in ids]
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def metric_replicates(table: pl.DataFrame | None, metric: str, ids: Sequence[str]) -> Floats | None:
    """Bootstrap replicates of a metric under the given candidates, R × C; None where one is unknown."""
    if table is None:
        return None
    rows = table.filter(metric=metric).select("preference_id", "replicates")
    known = dict(rows.iter_rows())
    found = [known.get(name) for name in ids]
    if any(one is None or None in one for one in found):
        return None
    return np.array(found, dtype=np.float64).T


def covariance_of(table: pl.DataFrame | None, metric: str, ids: Sequence[str]) -> Floats | None:
    """Covariance of a metric's errors under the given candidates; None if unknown."""
    if table is None:
        return None
    rows = table.filter(metric=metric)
    keys = ("preference_id", "other_preference_id", "covariance")
    known = {(one, other): value for one, other, value in rows.select(keys).iter_rows()}
    found = [[known.get((one, other)) for other in ids] for one in ids]
    return None if any(None in row for row in found) else np.array(found, dtype=np.float64)
