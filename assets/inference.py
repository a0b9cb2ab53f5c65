"""The answer: a slope for every hypothesis, and the report that explains it."""

import dagster as dg

from assets.asset_metadata import asset_kwargs
from assets.checks import diagnostic_specs
from assets.evaluation import offline_metrics, pareto_front
from assets.experiment import group_kpis
from assets.materialization import run_asset
from assets.model import conditioned_model
from assets.resources import StudyResource
from pipeline.steps.inference import estimate_slopes, write_regression_report


@dg.asset(
    deps=[group_kpis, offline_metrics],
    check_specs=diagnostic_specs(),
    **asset_kwargs("regression_estimates"),
)
def regression_estimates(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One entry per hypothesis: slope, standard error, confidence interval, p-value, n, and verdict."""
    return run_asset(context, study, estimate_slopes)


@dg.asset(
    deps=[regression_estimates, pareto_front, conditioned_model],
    **asset_kwargs("regression_report"),
)
def regression_report(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """The report as HTML (opens offline), Markdown and JSON; also the study's manifest."""
    return run_asset(context, study, write_regression_report)
