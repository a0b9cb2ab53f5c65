"""The conditioned model."""

import dagster as dg

from assets.asset_metadata import asset_kwargs
from assets.data import sessions
from assets.materialization import materialize_result, translate_errors
from assets.resources import StudyResource
from pipeline.evaluation.metric_registry import build_metrics
from pipeline.recommender.train import fit_study, learning_curves
from pipeline.reporting.figures.charts import as_markdown, learning_curves_figure
from pipeline.results.document import CurvePoint
from pipeline.results.serialization import parse


@dg.asset(deps=[sessions], **asset_kwargs("conditioned_model"))
def conditioned_model(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """R(x, π), one network for the whole front: weights (safetensors), configuration, learning curves."""
    with translate_errors(context):
        parameters, paths = study.load()
        build_metrics(parameters.evaluation)  # what is wrong in them shows before training
        trained = fit_study(parameters, paths)
    curves = parse(tuple[CurvePoint, ...], learning_curves(trained).to_dicts())
    picture = as_markdown(learning_curves_figure(curves), "learning curves")
    return materialize_result(
        "conditioned_model",
        parameters,
        paths.artifact("conditioned_model"),
        metadata={
            "picture": dg.MetadataValue.md(picture),
            "best validation hypervolume": trained.front.hypervolume,
            "best epoch": trained.best_epoch,
            "items": trained.model.n_items,
        },
    )
