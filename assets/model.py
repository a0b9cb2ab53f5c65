"""The conditioned model, its offline metrics for every preference, and the front they span."""

import dagster as dg
import polars as pl

from assets.adapting import check_results, check_specs, user_errors
from assets.data import sessions
from assets.resources import StudyResource
from pipeline.evaluation.front import REFERENCE_POINT, moved
from pipeline.evaluation.front import pareto_front as place_in_metric_space
from pipeline.evaluation.tables import HeldOutSessions, evaluate_preferences
from pipeline.fitting import fit_study, learning_curves
from pipeline.quality.runner import check_tables, enforce
from pipeline.recommend import Recommender
from pipeline.reporting.figures import as_markdown, front_picture, learning_curves_picture
from pipeline.schemas import Split
from pipeline.sessions.store import open_times, open_tokens
from pipeline.storage import publish_folder, read_table, write_json


@dg.asset(deps=[sessions], group_name="model", kinds={"pytorch"})
def conditioned_model(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """R(x, π): weights (safetensors), configuration, and learning curves on train and validation."""
    with user_errors(context):
        trained = fit_study(*study.load())
    curves = learning_curves(trained).to_dicts()
    picture = as_markdown(learning_curves_picture(curves), "learning curves")
    return dg.MaterializeResult(
        metadata={
            "learning curves": dg.MetadataValue.md(picture),
            "best epoch": trained.best_epoch,
            "hypervolume on validation": trained.front.hypervolume,
            "items": trained.model.n_items,
        }
    )


@dg.asset(
    deps=[conditioned_model, sessions],
    group_name="model",
    kinds={"pytorch"},
    check_specs=check_specs("offline_metrics"),
)
def offline_metrics(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One row a preference and metric: value, standard error over sessions, and n."""
    with user_errors(context):
        parameters, paths = study.load()
        checkpoint = paths.require("conditioned_model")
        recommender = Recommender.load(checkpoint, paths.require("sessions", "items.parquet"))
        store = paths.require("sessions", "tokens.safetensors")
        evaluation = evaluate_preferences(
            recommender.model,
            HeldOutSessions(
                tokens=open_tokens(store, Split.TEST),
                times=open_times(store, Split.TEST),
                train_clicks_I=open_tokens(store, Split.TRAIN).clicks(len(recommender.items)),
            ),
            parameters.evaluation,
            seed=parameters.study.seed,
        )
        table = evaluation.metrics
        with publish_folder(paths.artifact("offline_metrics")) as folder:
            file = folder / "offline_metrics.parquet"
            table.write_parquet(file)
            evaluation.covariance.write_parquet(folder / "offline_metric_covariance.parquet")
            outcomes = enforce(check_tables("offline_metrics", {"offline_metrics": file}))
    return dg.MaterializeResult(
        metadata={"dagster/row_count": table.height, "test targets": table["n_targets"].item(0)},
        check_results=check_results(outcomes),
    )


@dg.asset(deps=[offline_metrics], group_name="model", kinds={"polars"})
def pareto_front(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row a preference in metric space, dominated or not; hypervolume and span beside it."""
    with user_errors(context):
        parameters, paths = study.load()
        table = read_table(paths.require("offline_metrics", "offline_metrics.parquet"))
        front = place_in_metric_space(table)
        summary = {
            "hypervolume": front.hypervolume,
            "reference_point": list(REFERENCE_POINT),
            "recall_span": front.recall_span,
            "order_density_span": front.order_density_span,
            "rank_correlation": front.rank_correlation,
            "knee": front.knee,
            "spans": front.spans,
        }
        last = paths.artifact("pareto_front") / "pareto_front.parquet"
        before = read_table(last) if last.exists() else None
        with publish_folder(paths.artifact("pareto_front")) as folder:
            front.points.write_parquet(folder / "pareto_front.parquet")
            front.points.drop("preference").write_csv(folder / "pareto_front.csv")
            write_json(folder / "summary.json", summary)
    picture = front_picture(front.points.to_dicts(), [], parameters.evaluation.cutoff)
    return dg.MaterializeResult(
        metadata={
            "front": dg.MetadataValue.md(as_markdown(picture, "the front")),
            "dagster/row_count": front.points.height,
            "moved since the last front": dg.MetadataValue.md(_changes(front.points, before)),
            **{name: value for name, value in summary.items() if isinstance(value, float)},
        }
    )


def _changes(front: pl.DataFrame, before: pl.DataFrame | None) -> str:
    """What the front of the run before looked like beside this one's, as Markdown."""
    if before is None:
        return "there is no front before this one"
    lines = ["| preference | Recall@k before | now | OD@k before | now |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['preference_id']} | {row['recall_before']:.4f} | {row['recall']:.4f} "
        f"| {row['order_density_before']:.4f} | {row['order_density']:.4f} |"
        for row in moved(front, before).iter_rows(named=True)
    ]
    return "\n".join(lines)
