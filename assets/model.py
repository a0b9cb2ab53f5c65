"""The conditioned model."""

import dagster as dg

from assets.adapting import user_errors
from assets.data import sessions
from assets.resources import StudyResource
from pipeline.evaluation.declared import declared_target_metrics
from pipeline.fitting import fit_study, learning_curves
from pipeline.reporting.figures import as_markdown, learning_curves_picture


@dg.asset(deps=[sessions], group_name="model", kinds={"pytorch"})
def conditioned_model(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """R(x, π): weights (safetensors), configuration, and learning curves on train and validation."""
    with user_errors(context):
        parameters, paths = study.load()
        declared_target_metrics(
            parameters.evaluation
        )  # what is wrong in them shows before training
        trained = fit_study(parameters, paths)
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
