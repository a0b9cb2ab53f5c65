"""What the front explorer shows besides lists: the finished study's tables, as far as they are there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.contracts import ALL_TARGETS, OFFLINE_METRICS, Split
from pipeline.core.errors import DataError, MissingArtifact
from pipeline.evaluation.interpolation import SimplexInterpolator
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.kpis.contracts import GROUP_KPIS
from pipeline.inference.hypotheses.prediction import FittedLine, fitted_line
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.serialization import HYPOTHESES, read_hypotheses
from pipeline.sessions.token_store import open_tokens
from pipeline.study import ServingFilters, Study

_VISITS = 8
_SHORTEST, _LONGEST = 4, 13
"""Clicks of the sessions that are offered, where there are enough such."""

_METRICS = ("offline_metrics", "offline_metrics.parquet")
_KPIS = ("group_kpis", "group_kpis.parquet")
_ESTIMATES = ("regression_estimates", HYPOTHESES)
_TOKENS = ("sessions", "tokens.safetensors")
FILES = (_METRICS, _KPIS, _ESTIMATES, _TOKENS)
"""What is read, by artifact and file."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricOfAll:
    """An offline metric under every measured preference; nan where it is undefined.

    Attributes:
        name: As in ``offline_metrics``.
        cutoff: Its k; None if it has none.
        higher_is_better: Its direction.
        value_G: The metric, one a preference.
        standard_error_G: Of it.
    """

    name: str
    cutoff: int | None
    higher_is_better: bool
    value_G: NDArray[np.float64]
    standard_error_G: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The offline metrics, and the preferences they were measured at."""

    mesh: SimplexInterpolator
    names: tuple[str, ...]
    metrics: tuple[MetricOfAll, ...]

    @classmethod
    def of(cls, offline_metrics: pl.DataFrame) -> Self:
        """The whole test set's rows of ``offline_metrics``."""
        rows = offline_metrics.filter(segment=ALL_TARGETS)
        places = (
            rows.select("preference_id", "preference").unique("preference_id").sort("preference_id")
        )
        metrics = [
            MetricOfAll(
                name=str(name),
                cutoff=found["cutoff"][0],
                higher_is_better=found["higher_is_better"][0],
                value_G=found["value"].fill_null(np.nan).to_numpy(),
                standard_error_G=found["standard_error"].fill_null(np.nan).to_numpy(),
            )
            for (name,), part in rows.group_by("metric", maintain_order=True)
            for found in [places.join(part, on="preference_id", how="left", maintain_order="left")]
        ]
        return cls(
            mesh=SimplexInterpolator.of(np.array(places["preference"].to_list(), dtype=np.float64)),
            names=tuple(places["preference_id"]),
            metrics=tuple(metrics),
        )

    def metric(self, name: str) -> MetricOfAll | None:
        """A metric by its name."""
        return next((one for one in self.metrics if one.name == name), None)


@dataclass(frozen=True, slots=True)
class SampleSession:
    """A session of the test set as far as its last click but one, and what was clicked then."""

    items: tuple[int, ...]
    next_item: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorerData:
    """What the finished study says of its preferences.

    Attributes:
        objectives: What the preference weighs, in its order.
        measured: The offline metrics; None where there are none.
        lines: The answers to the hypotheses, and the line of each that has one.
        level: Coverage that the study's intervals aim at.
        visits: Some held-out sessions.
        category_I: Of every item; None where the shop does not say.
        has_rules: Whether rules or filters change lists.
        missing: What is not there, and the command that makes it.
    """

    objectives: tuple[str, ...]
    measured: Measured | None
    lines: tuple[tuple[HypothesisResult, FittedLine | None], ...]
    level: float
    visits: tuple[SampleSession, ...]
    category_I: tuple[str | None, ...]
    has_rules: bool
    missing: tuple[str, ...]

    @classmethod
    def load(
        cls, study: Study, paths: StudyPaths, *, plan: TrafficPlan, attributes: pl.DataFrame
    ) -> Self:
        """Read what there is; ``attributes`` has one row an item, by index."""
        missing: list[str] = []

        def what_there_is(read: Callable[[], T], otherwise: T) -> T:
            try:
                return read()
            except (MissingArtifact, DataError) as error:
                missing.append(str(error))
                return otherwise

        return cls(
            objectives=_names(
                [one.loss for one in study.training.objectives], len(plan.groups[0].preference)
            ),
            measured=what_there_is(lambda: _measured(paths, plan), None),
            lines=what_there_is(lambda: _lines(paths, plan), ()),
            level=study.regression.level,
            visits=what_there_is(lambda: _visits(study, paths, attributes.height), ()),
            category_I=tuple(attributes["category"]),
            has_rules=bool(study.serving.rules) or study.serving.filters != ServingFilters(),
            missing=tuple(missing),
        )


def _measured(paths: StudyPaths, plan: TrafficPlan) -> Measured:
    measured = Measured.of(OFFLINE_METRICS.validate(read_table(paths.require(*_METRICS))))
    unknown = [g.name for g in plan.groups if g.preference_id not in measured.names]
    if unknown or measured.mesh.preference_GO.shape[1] != len(plan.groups[0].preference):
        msg = (
            "offline_metrics are not those that the traffic plan was made from. Make both anew with: "
            "dagster asset materialize --select offline_metrics,traffic_plan"
        )
        raise DataError(msg)
    return measured


def _lines(
    paths: StudyPaths, plan: TrafficPlan
) -> tuple[tuple[HypothesisResult, FittedLine | None], ...]:
    answers = read_hypotheses(paths.require(*_ESTIMATES))
    kpis = GROUP_KPIS.validate(read_table(paths.require(*_KPIS)))
    planned = {(group.name, group.preference_id) for group in plan.groups}
    if not set(kpis.select("group", "preference_id").iter_rows()) <= planned:
        msg = (
            "group_kpis are of other groups than the traffic plan's: nothing is known yet of how "
            "these do. Make them with: dagster asset materialize --select 'group_kpis*'"
        )
        raise DataError(msg)
    return tuple((answer, fitted_line(answer, kpis)) for answer in answers)


def _visits(study: Study, paths: StudyPaths, n_items: int) -> tuple[SampleSession, ...]:
    store = paths.require(*_TOKENS)
    tokens = open_tokens(store, Split.TEST)
    lengths = tokens.lengths
    fit = np.flatnonzero((lengths >= _SHORTEST) & (lengths <= _LONGEST))
    if len(fit) < _VISITS:
        fit = np.flatnonzero(lengths > 1)
    rng = np.random.default_rng([study.study.seed, len(fit)])
    rows = np.sort(rng.choice(fit, min(_VISITS, len(fit)), replace=False))
    clicks = [tokens.items[tokens.offsets[row] : tokens.offsets[row + 1]].tolist() for row in rows]
    if any(item >= n_items for items in clicks for item in items):
        msg = f"{store.name} holds items that the catalogue lacks. Materialise 'sessions' anew"
        raise DataError(msg)
    return tuple(SampleSession(tuple(items[:-1]), items[-1]) for items in clicks)


def _names(losses: list[str], wanted: int) -> tuple[str, ...]:
    """The objectives' names; numbers where params.yaml has others than the model by now."""
    if len(losses) != wanted:
        return tuple(f"objective {n + 1}" for n in range(wanted))
    return tuple(
        f"{loss} {losses[: n + 1].count(loss)}" if losses.count(loss) > 1 else loss
        for n, loss in enumerate(losses)
    )
