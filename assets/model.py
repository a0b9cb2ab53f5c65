"""The conditioned model."""

import dagster as dg

from assets.asset_metadata import asset_kwargs
from assets.data import sessions
from assets.materialization import run_asset
from assets.resources import StudyResource
from pipeline.steps.model import fit_model


@dg.asset(deps=[sessions], **asset_kwargs("conditioned_model"))
def conditioned_model(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """R(x, π), one network for the whole front: weights (safetensors), configuration, learning curves."""
    return run_asset(context, study, fit_model)
