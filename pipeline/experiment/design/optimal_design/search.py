"""The search for a plan's candidates: which may be chosen, and by which criterion."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from pipeline.experiment.design.optimal_design.criterion import DesignCriterion
from pipeline.experiment.design.optimal_design.exchange import Floats, Ints
from pipeline.experiment.design.optimal_design.guardrails import allowed, too_few_allowed
from pipeline.experiment.design.optimal_design.joint_information import LARGEST_INFLATION
from pipeline.experiment.design.optimal_design.measured_front import (
    MeasuredFront,
    UserInformation,
    axis_of,
    metric_axes,
)
from pipeline.experiment.design.optimal_design.metric_axis import MetricAxis, lowest_inflation
from pipeline.experiment.design.optimal_design.optimal_shares import optimal_shares
from pipeline.study import ExperimentConfig, Study


@dataclass(frozen=True, kw_only=True)
class Search:
    """The candidates of a plan, in ascending order of the front's first metric.

    Attributes:
        ids: Of all candidates.
        axes: By hypothesis with a metric that varies, over all candidates.
        left_out: The other hypotheses, with the reason.
        spare: The axis of the front's first metric, for a study without any other.
        pool: Indices of those that may be chosen.
        on_front: Indices of those that may be chosen and differ in their preference alone.
        only_undominated: Whether dominated candidates are not in the pool.
        grid: Indices of the allowed candidates on the front, in the order of the grid.
        weights_G: Traffic share of every chosen candidate.
        floor: ``experiment.planning.curvature_floor``.
        seed: Of the search.
    """

    ids: tuple[str, ...]
    axes: dict[str, MetricAxis]
    left_out: dict[str, str]
    spare: MetricAxis
    pool: Ints
    on_front: Ints
    only_undominated: bool
    grid: Ints
    weights_G: Floats
    floor: float
    seed: int

    @classmethod
    def of(
        cls, front: MeasuredFront, study: Study, points: pl.DataFrame, information: UserInformation
    ) -> "Search":
        """The search of a study; ``points`` are those of the front, sorted.

        Raises:
            StudyError: if the guardrails leave too few candidates.
        """
        section, ids = study.experiment, points["preference_id"].to_list()
        axes, left_out = metric_axes(front, study.regression.hypotheses, ids, information)
        weights_G = preference_shares(section)
        kept = allowed(front, section, ids)
        if len(kept) < len(weights_G):
            raise too_few_allowed(section, ids, kept, len(weights_G))
        pool, only_undominated = _undominated(front, points, kept, len(weights_G))
        off = np.array([name in front.off_front for name in ids])
        return cls(
            ids=tuple(ids),
            axes=axes,
            left_out=left_out,
            spare=axis_of(points[front.first_axis].to_numpy(), None, np.ones(len(ids))),
            pool=pool,
            on_front=pool[~off[pool]],
            only_undominated=only_undominated,
            grid=_grid(points, kept[~off[kept]], len(weights_G), kept),
            weights_G=weights_G,
            floor=section.planning.curvature_floor,
            seed=study.study.seed,
        )

    @cached_property
    def inflation(self) -> dict[str, float]:
        """The smallest variance inflation of each hypothesis with rivals, over designs of the pool."""
        return {
            name: lowest_inflation(axis.of(self.pool), self.weights_G, seed=self.seed)
            for name, axis in self.axes.items()
            if axis.joint is not None
        }

    @cached_property
    def joint_axes(self) -> dict[str, MetricAxis]:
        """The axes, with rivals where a design off the front can tell them apart."""
        off_front = len(self.on_front) < len(self.pool)
        return {
            name: axis
            if off_front and self.inflation.get(name, np.inf) <= LARGEST_INFLATION
            else axis.marginal
            for name, axis in self.axes.items()
        }

    @property
    def tells_apart(self) -> bool:
        """Whether any hypothesis is designed for its partial slope."""
        return any(axis.joint is not None for axis in self.joint_axes.values())

    def criterion(self, axes: dict[str, MetricAxis], candidates: Ints) -> DesignCriterion:
        """The criterion of designs of some candidates."""
        chosen = [axis.of(candidates) for axis in (axes or {"": self.spare}).values()]
        return DesignCriterion.of(chosen, self.weights_G, seed=self.seed)

    @property
    def marginal_axes(self) -> dict[str, MetricAxis]:
        """The axes without rivals."""
        return {name: one.marginal for name, one in self.axes.items()}

    @cached_property
    def marginal(self) -> DesignCriterion:
        """The criterion of marginal slopes over all that may be chosen."""
        return self.criterion(self.marginal_axes, self.pool)

    @cached_property
    def one_front(self) -> Ints:
        """The optimal candidates that differ in their preference alone, for marginal slopes.

        All of them, and so fewer than the plan's groups, where there are not enough.
        """
        within = self.on_front
        if len(within) == len(self.pool):
            return self._best(self.marginal, within)
        if len(within) <= len(self.weights_G):
            return within
        return self._best(self.criterion(self.marginal_axes, within), within)

    def weights_of(self, chosen: Ints) -> Floats:
        """The traffic shares of a plan; equal ones if it has another number of candidates."""
        same = len(chosen) == len(self.weights_G)
        return self.weights_G if same else np.full(len(chosen), 1 / len(chosen))

    def chosen(self) -> Ints:
        """The plan's candidates: for partial slopes where metrics can be told apart, else on one front.

        Where the front has too few, they are the optimal ones for marginal slopes, wherever they are.
        """
        if self.tells_apart:
            return self._best(self._joint, self.pool)
        alone = self.one_front
        enough = len(alone) == len(self.weights_G)
        return alone if enough else self._best(self.marginal, self.pool)

    def shares(self, chosen: Ints) -> Floats:
        """The shares with the most information on the slopes that the plan is made for."""
        criterion = self._joint if self.tells_apart else self.marginal
        if not any(best > 0 for best in criterion.best_slope):
            return self.weights_G
        return optimal_shares(criterion, np.searchsorted(self.pool, chosen), floor=self.floor)

    @cached_property
    def _joint(self) -> DesignCriterion:
        return self.criterion(self.joint_axes, self.pool)

    def even(self) -> Ints:
        """As many candidates, evenly spaced on the grid of those that the guardrails allow; ascending."""
        places = np.round(np.linspace(0, len(self.grid) - 1, len(self.weights_G))).astype(int)
        return np.sort(self.grid[places])

    def _best(self, criterion: DesignCriterion, candidates: Ints) -> Ints:
        if not any(best > 0 for best in criterion.best_slope):  # all metrics vary by chance alone
            return self.even()
        return candidates[criterion.choose(floor=self.floor, seed=self.seed)]


def preference_shares(section: ExperimentConfig) -> Floats:
    """Traffic share of every preference over all its groups; sums to 1."""
    preferences = section.groups // section.replicates
    shares = np.array(section.relative_shares)
    return shares.reshape(section.replicates, preferences).sum(axis=0) / shares.sum()


def _grid(points: pl.DataFrame, on_front: Ints, needed: int, kept: Ints) -> Ints:
    """Allowed candidates in the order of the table: on the front, or all if those are too few."""
    within = on_front if len(on_front) >= needed else kept
    return within[np.argsort(points["position"].to_numpy()[within], kind="stable")]


def _undominated(
    front: MeasuredFront, points: pl.DataFrame, kept: Ints, needed: int
) -> tuple[Ints, bool]:
    """The allowed candidates that are not dominated, or all if they are too few.

    Off the front, a candidate is dominated as soon as it gives up relevance for something else: all of
    them are kept.
    """
    off = points["preference_id"].is_in(list(front.off_front)).to_numpy()
    undominated = (~points["dominated"]).fill_null(value=False).to_numpy()
    found = kept[(undominated | off)[kept]]
    enough = (undominated & ~off)[kept].sum() >= (needed if not off.any() else 2)
    return (found, True) if enough else (kept, False)
