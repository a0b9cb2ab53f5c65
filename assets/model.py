"""The conditioned model, its offline metrics for every preference, and the front they span."""

import dagster as dg

from assets.adapting import check_results, check_specs, user_errors
from assets.data import sessions
from assets.resources import StudyResource
from pipeline.evaluation.front import REFERENCE_POINT
from pipeline.evaluation.front import pareto_front as place_in_metric_space
from pipeline.evaluation.tables import evaluate_preferences
from pipeline.fitting import fit_study, learning_curves
from pipeline.quality.runner import check_tables, enforce
from pipeline.recommend import Recommender
from pipeline.reporting.figures import as_markdown, front_picture, learning_curves_picture
from pipeline.schemas import Split
from pipeline.sessions.store import open_tokens
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
        tokens = open_tokens(paths.require("sessions", "tokens.safetensors"), Split.TEST)
        table = evaluate_preferences(recommender.model, tokens, parameters.evaluation)
        with publish_folder(paths.artifact("offline_metrics")) as folder:
            file = folder / "offline_metrics.parquet"
            table.write_parquet(file)
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
        }
        with publish_folder(paths.artifact("pareto_front")) as folder:
            front.points.write_parquet(folder / "pareto_front.parquet")
            front.points.drop("preference").write_csv(folder / "pareto_front.csv")
            write_json(folder / "summary.json", summary)
    picture = front_picture(front.points.to_dicts(), [], parameters.evaluation.cutoff)
    return dg.MaterializeResult(
        metadata={
            "front": dg.MetadataValue.md(as_markdown(picture, "the front")),
            "dagster/row_count": front.points.height,
            **{name: value for name, value in summary.items() if isinstance(value, float)},
        }
    )
