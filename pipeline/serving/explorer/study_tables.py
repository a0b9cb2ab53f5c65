"""The study's tables for the front explorer; tables that are missing are reported, not required."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.contracts import ALL_TARGETS, OFFLINE_METRICS, Split
from pipeline.core.errors import DataError, MissingArtifact
from pipeline.evaluation.front_axes import front_axes
from pipeline.evaluation.interpolation import SimplexInterpolator
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.kpis.contracts import GROUP_KPIS
from pipeline.inference.hypotheses.prediction import FittedLine, fitted_line
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.stored import HYPOTHESES, read_hypotheses
from pipeline.sessions.token_store import open_tokens
from pipeline.study import SecondAxis, Study

_SAMPLE_SESSIONS = 8
_MIN_CLICKS, _MAX_CLICKS = 4, 13
"""The length of sample sessions, if there are enough."""

_METRICS = ("offline_metrics", "offline_metrics.parquet")
_KPIS = ("group_kpis", "group_kpis.parquet")
_ESTIMATES = ("regression_estimates", HYPOTHESES)
_TOKENS = ("sessions", "tokens.safetensors")
FILES = (_METRICS, _KPIS, _ESTIMATES, _TOKENS)
"""The files that are read, as (asset, file)."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricByPreference:
    """An offline metric of every measured preference; nan where it is undefined.

    Attributes:
        name: As in ``offline_metrics``.
        cutoff: Its k; None if it has none.
        higher_is_better: Its direction.
        value_G: One value per measured cell.
        standard_error_G: Their standard errors.
    """

    name: str
    cutoff: int | None
    higher_is_better: bool
    value_G: NDArray[np.float64]
    standard_error_G: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredMetrics:
    """The offline metrics of all measured preferences.

    Attributes:
        interpolator: Of the preferences.
        preference_ids: Their ids, then those of the other cells of a second axis.
        preferences: The preference of each of these cells.
        metrics: Their metrics.
        axes: The two metrics of the plot, the first axes of the Pareto front.
    """

    interpolator: SimplexInterpolator
    preference_ids: tuple[str, ...]
    preferences: tuple[tuple[float, ...], ...]
    metrics: tuple[MetricByPreference, ...]
    axes: tuple[str, str]

    @classmethod
    def of(
        cls,
        offline_metrics: pl.DataFrame,
        objectives: Sequence[str],
        second_axis: SecondAxis | None = None,
    ) -> Self:
        """The rows of ``offline_metrics`` for the whole test set, of a model with these losses."""
        x, y, *_ = front_axes(offline_metrics, objectives)
        rows = offline_metrics.filter(segment=ALL_TARGETS)
        preferences = (
            rows.select("preference_id", "preference").unique("preference_id").sort("preference_id")
        )
        off_front = second_axis.off_front(preferences["preference_id"]) if second_axis else ()
        is_neutral = ~preferences["preference_id"].is_in(list(off_front))
        preferences = pl.concat([preferences.filter(is_neutral), preferences.filter(~is_neutral)])
        weights = [tuple(one) for one in preferences["preference"].to_list()]
        metrics = [
            MetricByPreference(
                name=str(name),
                cutoff=found["cutoff"][0],
                higher_is_better=found["higher_is_better"][0],
                value_G=found["value"].fill_null(np.nan).to_numpy(),
                standard_error_G=found["standard_error"].fill_null(np.nan).to_numpy(),
            )
            for (name,), part in rows.group_by("metric", maintain_order=True)
            for found in [
                preferences.join(part, on="preference_id", how="left", maintain_order="left")
            ]
        ]
        return cls(
            interpolator=SimplexInterpolator.of(
                np.array(weights[: len(weights) - len(off_front)], dtype=np.float64)
            ),
            preference_ids=tuple(preferences["preference_id"]),
            preferences=tuple(weights),
            metrics=tuple(metrics),
            axes=(x, y),
        )

    def metric(self, name: str) -> MetricByPreference | None:
        """A metric by its name."""
        return next((one for one in self.metrics if one.name == name), None)


@dataclass(frozen=True, slots=True)
class SampleSession:
    """A session of the test set: all clicks but the last, and the last."""

    items: tuple[int, ...]
    next_item: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorerData:
    """The study's tables for the explorer.

    Attributes:
        objectives: The objectives, in the order of a preference's weights.
        measured: The offline metrics; None if missing.
        fitted_lines: The estimate of each hypothesis, and its fitted line if it has one.
        level: The confidence level of the study.
        sample_sessions: Some sessions of the test set.
        category_I: The category of every item; None if unknown.
        has_rules: Whether rules or filters change lists.
        missing: Missing artifacts and how to create them.
    """

    objectives: tuple[str, ...]
    measured: MeasuredMetrics | None
    fitted_lines: tuple[tuple[HypothesisResult, FittedLine | None], ...]
    level: float
    sample_sessions: tuple[SampleSession, ...]
    category_I: tuple[str | None, ...]
    has_rules: bool
    missing: tuple[str, ...]

    @classmethod
    def load(
        cls, study: Study, paths: StudyPaths, *, plan: TrafficPlan, attributes: pl.DataFrame
    ) -> Self:
        """Read the available tables; ``attributes`` has one row per item, by model index."""
        missing: list[str] = []

        def available(read: Callable[[], T], default: T) -> T:
            try:
                return read()
            except (MissingArtifact, DataError) as error:
                missing.append(str(error))
                return default

        return cls(
            objectives=_names(
                [one.loss for one in study.training.objectives], len(plan.groups[0].preference)
            ),
            measured=available(lambda: _measured(paths, plan, study.training.losses), None),
            fitted_lines=available(lambda: _fitted_lines(paths, plan), ()),
            level=study.regression.level,
            sample_sessions=available(
                lambda: _sample_sessions(study, paths, attributes.height), ()
            ),
            category_I=tuple(attributes["category"]),
            has_rules=not study.serving.rule_set.is_empty,
            missing=tuple(missing),
        )


def _measured(paths: StudyPaths, plan: TrafficPlan, objectives: Sequence[str]) -> MeasuredMetrics:
    table = OFFLINE_METRICS.validate(read_table(paths.require(*_METRICS)))
    known = objectives[: len(plan.groups[0].preference)]
    measured = MeasuredMetrics.of(table, known, plan.second_axis)
    unknown = [g.name for g in plan.groups if g.preference_id not in measured.preference_ids]
    if unknown or measured.interpolator.preference_GO.shape[1] != len(plan.groups[0].preference):
        msg = (
            "offline_metrics lacks preferences of the traffic plan. Re-create both with: "
            "dagster asset materialize --select offline_metrics,traffic_plan"
        )
        raise DataError(msg)
    return measured


def _fitted_lines(
    paths: StudyPaths, plan: TrafficPlan
) -> tuple[tuple[HypothesisResult, FittedLine | None], ...]:
    results = read_hypotheses(paths.require(*_ESTIMATES))
    kpis = GROUP_KPIS.validate(read_table(paths.require(*_KPIS)))
    planned = {(group.name, group.preference_id) for group in plan.groups}
    if not set(kpis.select("group", "preference_id").iter_rows()) <= planned:
        msg = (
            "group_kpis has other groups than the traffic plan. Re-create it with: "
            "dagster asset materialize --select 'group_kpis*'"
        )
        raise DataError(msg)
    return tuple((result, fitted_line(result)) for result in results)


def _sample_sessions(study: Study, paths: StudyPaths, n_items: int) -> tuple[SampleSession, ...]:
    store = paths.require(*_TOKENS)
    tokens = open_tokens(store, Split.TEST)
    lengths = tokens.lengths
    rows = np.flatnonzero((lengths >= _MIN_CLICKS) & (lengths <= _MAX_CLICKS))
    if len(rows) < _SAMPLE_SESSIONS:
        rows = np.flatnonzero(lengths > 1)
    rng = np.random.default_rng([study.study.seed, len(rows)])
    rows = np.sort(rng.choice(rows, min(_SAMPLE_SESSIONS, len(rows)), replace=False))
    clicks = [tokens.items[tokens.offsets[row] : tokens.offsets[row + 1]].tolist() for row in rows]
    if any(item >= n_items for items in clicks for item in items):
        msg = (
            f"{store.name} contains items that the catalogue lacks. Re-create it with: "
            "dagster asset materialize --select sessions"
        )
        raise DataError(msg)
    return tuple(SampleSession(tuple(items[:-1]), items[-1]) for items in clicks)


def _names(losses: list[str], count: int) -> tuple[str, ...]:
    """Unique names of the objectives; numbered if params.yaml has changed since training."""
    if len(losses) != count:
        return tuple(f"objective {n + 1}" for n in range(count))
    return tuple(
        f"{loss} {losses[: n + 1].count(loss)}" if losses.count(loss) > 1 else loss
        for n, loss in enumerate(losses)
    )
