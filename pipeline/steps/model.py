"""The network, its scores under every preference, their offline metrics and the Pareto front."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl

from models.checkpoint import load_checkpoint
from models.training.result import TrainedModel
from pipeline.artifacts.storage import StudyPaths, atomic_folder, read_table, write_json
from pipeline.core.labels import metric_label
from pipeline.evaluation.metric_registry import build_metrics
from pipeline.evaluation.metric_tables import OfflineEvaluation, compute_metric_tables
from pipeline.evaluation.pareto_front import (
    Front,
    extreme_points,
    front_changes,
    fronts_by_level,
    point_rows,
)
from pipeline.evaluation.score_files import read_scores, score_study
from pipeline.evaluation.scoring import SCORES, preference_ids
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.quality.runner import check_tables, enforce
from pipeline.recommender.train import fit_study, learning_curves
from pipeline.reporting.figures.charts import learning_curves_figure
from pipeline.reporting.figures.front import front_figure
from pipeline.reporting.figures.sketch import points_sketch
from pipeline.results.document import CurvePoint, FrontPoint
from pipeline.results.serialization import parse
from pipeline.steps.result import LazyFigure, Markdown, StepResult, markdown_table
from pipeline.study import Study


def fit_model(study: Study, paths: StudyPaths) -> StepResult[TrainedModel]:
    """Train the conditioned network, and publish its best epoch.

    Raises:
        ParetoscopeError, ModelError: if sessions are missing, or parameters and data do not fit.
    """
    build_metrics(study.evaluation)  # a faulty custom metric shows before hours of training
    trained = fit_study(study, paths)
    curves = parse(tuple[CurvePoint, ...], learning_curves(trained).to_dicts())
    return StepResult(
        asset="conditioned_model",
        value=trained,
        location=paths.artifact("conditioned_model"),
        details={
            "figure": LazyFigure("learning curves", partial(learning_curves_figure, curves)),
            "best validation hypervolume": trained.front.hypervolume,
            "best epoch": trained.best_epoch,
            "items": trained.model.n_items,
        },
    )


def score_preferences(
    study: Study, paths: StudyPaths, ids: Sequence[str] | None = None
) -> StepResult[int]:
    """Score the test sessions under preferences of the grid; the value is the number of targets.

    ``ids`` are the preferences, such as ``["p03"]``; all of the grid if None.
    """
    targets = score_study(study, paths, preference_ids(study) if ids is None else ids)
    location = paths.artifact(SCORES)
    return StepResult(asset=SCORES, value=targets, location=location, rows=targets)


def compute_offline_metrics(study: Study, paths: StudyPaths) -> StepResult[OfflineEvaluation]:
    """Measure every offline metric under every preference, with standard errors.

    Raises:
        MissingArtifact, DataError: if scores are missing, or of another model.
        QualityError: if the table breaks a blocking rule.
    """
    test = HeldOutSessions.open(study, paths)
    checkpoint = paths.require("conditioned_model")
    model = load_checkpoint(checkpoint, items=test.items["item"].to_list())
    evaluation = compute_metric_tables(
        read_scores(study, paths),
        test,
        model.item_embedding.weight.detach().numpy(),
        study.evaluation if study.dataset.has_times else study.evaluation.without_days(),
        objectives=study.training.losses,
        seed=study.study.seed,
    )
    table = evaluation.metrics
    with atomic_folder(paths.artifact("offline_metrics")) as folder:
        file = folder / "offline_metrics.parquet"
        table.write_parquet(file)
        evaluation.covariance.write_parquet(folder / "offline_metric_covariance.parquet")
        evaluation.replicates.write_parquet(folder / "offline_metric_replicates.parquet")
        checks = enforce(check_tables("offline_metrics", {"offline_metrics": file}))
    endpoints = _endpoints(study, _fronts(study, table)[0])
    return StepResult(
        asset="offline_metrics",
        value=evaluation,
        location=paths.artifact("offline_metrics"),
        rows=table.height,
        details={**endpoints, "test targets": table["n_targets"].item(0)},
        checks=tuple(checks),
    )


def find_pareto_front(study: Study, paths: StudyPaths) -> StepResult[Front]:
    """Place every preference in metric space, and mark those that no other dominates.

    With a second axis, its other cells too, each level with a front of its own.

    Raises:
        MissingArtifact: if metrics are missing.
    """
    metrics = read_table(paths.require("offline_metrics", "offline_metrics.parquet"))
    front, *others = _fronts(study, metrics)
    cells = pl.concat([front.points, *(one.points for one in others)])
    previous = paths.artifact("pareto_front", "pareto_front.parquet")
    before = read_table(previous) if previous.exists() else None
    with atomic_folder(paths.artifact("pareto_front")) as folder:
        cells.write_parquet(folder / "pareto_front.parquet")
        cells.drop("preference").write_csv(folder / "pareto_front.csv")
        write_json(folder / "summary.json", _summary(front))
    points = parse(tuple[FrontPoint, ...], point_rows(cells, study.experiment.second_axis))
    k = study.evaluation.cutoff
    draw = partial(front_figure, points, front.axes, (), k)
    placed = front.points.drop_nulls(list(front.axes[:2])).select(front.axes[:2])
    sketch = points_sketch(sorted(placed.iter_rows()), "the Pareto front")
    return StepResult(
        asset="pareto_front",
        value=front,
        location=paths.artifact("pareto_front"),
        rows=cells.height,
        details={
            "figure": LazyFigure("the Pareto front", draw),
            "at a glance": Markdown(sketch) if sketch else None,
            "hypervolume": front.hypervolume,
            **{f"{one.replace('_', ' ')} span": front.spans[one] for one in front.axes},
            **_endpoints(study, front),
            "changes since the previous front": _changes(front, before),
        },
    )


def _fronts(study: Study, metrics: pl.DataFrame) -> list[Front]:
    """The front of each level of the second axis, the neutral one first."""
    return fronts_by_level(metrics, study.training.losses, study.experiment.second_axis)


def _endpoints(study: Study, front: Front) -> dict[str, float | None]:
    """What the front reaches where one objective has all the weight."""
    return extreme_points(front, study.training.losses)


def _summary(front: Front) -> dict[str, Any]:
    return {
        "axes": list(front.axes),
        "hypervolume": front.hypervolume,
        "reference_point": [0.0] * len(front.axes),
        "rank_correlation": front.rank_correlation,
        "knee": front.knee,
        "spans": front.spans,
    }


def _changes(front: Front, before: pl.DataFrame | None) -> Markdown:
    if before is None:
        return Markdown("there is no previous front")
    changes = front_changes(front, before).drop("preference")
    labels = {
        name: f"{metric_label(name.removesuffix('_before'), None)} "
        f"{'before' if name.endswith('_before') else 'now'}"
        for name in changes.columns[1:]
    }
    return markdown_table(("preference", *labels.values()), changes.rows())
