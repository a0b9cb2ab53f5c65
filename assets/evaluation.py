"""Scores and offline metrics for every preference, and the front they span."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from assets.asset_metadata import asset_kwargs, load_time_study
from assets.checks import check_results, check_specs
from assets.data import sessions
from assets.materialization import materialize_result, translate_errors
from assets.model import conditioned_model
from assets.resources import StudyResource
from pipeline.artifacts.storage import atomic_folder, read_table, write_json
from pipeline.core.errors import StudyError
from pipeline.evaluation.metric_tables import compute_metric_tables
from pipeline.evaluation.pareto_front import REFERENCE_POINT, Front, extreme_points, front_changes
from pipeline.evaluation.pareto_front import pareto_front as place_in_metric_space
from pipeline.evaluation.scoring import SCORES, preference_ids, read_scores, score_study
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.quality.runner import check_tables, enforce
from pipeline.recommender.recommender import Recommender
from pipeline.reporting.figures.charts import as_markdown, front_figure
from pipeline.results.document import FrontPoint
from pipeline.results.serialization import parse
from pipeline.study import PARAMS_FILE, Study

_STUDY = load_time_study()
_IDS: list[str] = preference_ids(_STUDY) if _STUDY else ["p00"]
"""The preferences of ``params.yaml`` when the definitions are loaded: an asset each."""


@dg.multi_asset(
    specs=[
        dg.AssetSpec(
            [SCORES, name],
            deps=[conditioned_model, sessions],
            description="One row a target of a test session: its rank and losses under this "
            "preference. Beside it one row a session: the list the model shows it.",
            **asset_kwargs(SCORES),
        )
        for name in _IDS
    ],
    can_subset=True,
)
def preference_scores(
    context: dg.AssetExecutionContext, study: StudyResource
) -> Iterator[dg.MaterializeResult]:
    """Ranks, losses and lists under the selected preferences, in one pass over the items."""
    with translate_errors(context):
        parameters, paths = study.load()
        _refuse_another_grid(parameters)
        selected = sorted(key.path[-1] for key in context.selected_asset_keys)
        targets = score_study(parameters, paths, selected)
    for name in selected:
        yield materialize_result(
            f"{SCORES}/{name}",
            parameters,
            paths.artifact(SCORES, name),
            metadata={"dagster/row_count": targets},
        )


def _refuse_another_grid(study: Study) -> None:
    """Raise if the run's study has other preferences than the assets were made for."""
    if (wanted := preference_ids(study)) != _IDS:
        msg = (
            f"evaluation.preferences makes {len(wanted)} preferences, but the graph was loaded with "
            f"{len(_IDS)}; set it in {PARAMS_FILE} and reload the definitions instead of overriding "
            "it for one run"
        )
        raise StudyError(msg)


@dg.asset(
    deps=[dg.AssetKey([SCORES, name]) for name in _IDS],
    check_specs=check_specs("offline_metrics"),
    **asset_kwargs("offline_metrics"),
)
def offline_metrics(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One row a preference and metric: value, standard error over sessions, and n."""
    with translate_errors(context):
        parameters, paths = study.load()
        checkpoint = paths.require("conditioned_model")
        recommender = Recommender.load(checkpoint, paths.require("sessions", "items.parquet"))
        evaluation = compute_metric_tables(
            read_scores(parameters, paths),
            HeldOutSessions.open(parameters, paths),
            recommender.model.item_embedding.weight.detach().numpy(),
            parameters.evaluation,
            seed=parameters.study.seed,
        )
        table = evaluation.metrics
        with atomic_folder(paths.artifact("offline_metrics")) as folder:
            file = folder / "offline_metrics.parquet"
            table.write_parquet(file)
            evaluation.covariance.write_parquet(folder / "offline_metric_covariance.parquet")
            evaluation.replicates.write_parquet(folder / "offline_metric_replicates.parquet")
            outcomes = enforce(check_tables("offline_metrics", {"offline_metrics": file}))
    return materialize_result(
        "offline_metrics",
        parameters,
        paths.artifact("offline_metrics"),
        metadata={
            "dagster/row_count": table.height,
            **_at_the_corners(parameters, place_in_metric_space(table)),
            "test targets": table["n_targets"].item(0),
        },
        checks=check_results(outcomes),
    )


@dg.asset(deps=[offline_metrics], **asset_kwargs("pareto_front"))
def pareto_front(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row a preference in metric space, dominated or not; hypervolume and span beside it."""
    with translate_errors(context):
        parameters, paths = study.load()
        table = read_table(paths.require("offline_metrics", "offline_metrics.parquet"))
        front = place_in_metric_space(table)
        last = paths.artifact("pareto_front") / "pareto_front.parquet"
        before = read_table(last) if last.exists() else None
        with atomic_folder(paths.artifact("pareto_front")) as folder:
            front.points.write_parquet(folder / "pareto_front.parquet")
            front.points.drop("preference").write_csv(folder / "pareto_front.csv")
            write_json(folder / "summary.json", _summary(front))
    picture = front_figure(
        parse(tuple[FrontPoint, ...], front.points.to_dicts()), [], parameters.evaluation.cutoff
    )
    spans = {"recall span": front.recall_span, "order density span": front.order_density_span}
    return materialize_result(
        "pareto_front",
        parameters,
        paths.artifact("pareto_front"),
        metadata={
            "picture": dg.MetadataValue.md(as_markdown(picture, "the front")),
            "dagster/row_count": front.points.height,
            "hypervolume": front.hypervolume,
            **{name: value for name, value in spans.items() if value is not None},
            **_at_the_corners(parameters, front),
            "moved since the last front": dg.MetadataValue.md(_changes(front.points, before)),
        },
    )


def _at_the_corners(study: Study, front: Front) -> dict[str, float]:
    """What the front reaches where one objective has all the weight, to be followed over runs."""
    return extreme_points(front.points, [objective.loss for objective in study.training.objectives])


def _summary(front: Front) -> dict[str, Any]:
    return {
        "hypervolume": front.hypervolume,
        "reference_point": list(REFERENCE_POINT),
        "recall_span": front.recall_span,
        "order_density_span": front.order_density_span,
        "rank_correlation": front.rank_correlation,
        "knee": front.knee,
        "spans": front.spans,
    }


def _changes(front: pl.DataFrame, before: pl.DataFrame | None) -> str:
    """What the front of the run before looked like beside this one's, as Markdown."""
    if before is None:
        return "there is no front before this one"
    lines = ["| preference | Recall@k before | now | OD@k before | now |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['preference_id']} | {row['recall_before']:.4f} | {row['recall']:.4f} "
        f"| {row['order_density_before']:.4f} | {row['order_density']:.4f} |"
        for row in front_changes(front, before).iter_rows(named=True)
    ]
    return "\n".join(lines)
