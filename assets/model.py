"""The conditioned model, its offline metrics for every preference, and the front they span."""

from dataclasses import asdict

import dagster as dg
import polars as pl

from assets.adapting import check_results, check_specs, user_errors
from assets.data import sessions
from assets.resources import StudyResource
from models.checkpoint import CheckpointFacts, catalogue_fingerprint, save_checkpoint
from models.training import train
from pipeline.evaluation.front import REFERENCE_POINT
from pipeline.evaluation.front import pareto_front as place_in_metric_space
from pipeline.evaluation.tables import evaluate_preferences
from pipeline.quality.runner import check_tables, enforce
from pipeline.recommend import Recommender, read_catalogue
from pipeline.reporting.figures import as_markdown, front_picture, learning_curves_picture
from pipeline.schemas import LEARNING_CURVES, Split
from pipeline.sessions.store import open_tokens
from pipeline.storage import publish_folder, read_table, write_json


@dg.asset(deps=[sessions], group_name="model", kinds={"pytorch"})
def conditioned_model(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """R(x, π): weights (safetensors), configuration, and learning curves on train and validation."""
    with user_errors(context):
        parameters, paths = study.load()
        store = paths.require("sessions", "tokens.safetensors")
        items = read_catalogue(paths.require("sessions", "items.parquet"))
        trained = train(
            open_tokens(store, Split.TRAIN),
            open_tokens(store, Split.VALIDATION),
            n_items=len(items),
            model_config=parameters.model,
            config=parameters.training,
            seed=parameters.study.seed,
        )
        facts = CheckpointFacts(
            catalogue=catalogue_fingerprint(items),
            best_epoch=trained.best_epoch,
            training=parameters.training,
            seed=parameters.study.seed,
        )
        curves = pl.DataFrame(map(asdict, trained.curves), schema=LEARNING_CURVES.schema)
        with publish_folder(paths.artifact("conditioned_model")) as folder:
            save_checkpoint(trained.model, facts, folder)
            curves.write_parquet(folder / "learning_curves.parquet")
    picture = as_markdown(learning_curves_picture(curves.to_dicts()), "learning curves")
    return dg.MaterializeResult(
        metadata={
            "learning curves": dg.MetadataValue.md(picture),
            "best epoch": trained.best_epoch,
            "items": len(items),
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
