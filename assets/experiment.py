"""The online experiment: its plan, its log, its database and its KPIs."""

import dagster as dg

from assets.asset_metadata import asset_kwargs
from assets.checks import check_specs
from assets.evaluation import offline_metrics, pareto_front
from assets.materialization import run_asset
from assets.model import conditioned_model
from assets.resources import StudyResource
from pipeline.steps.experiment import aggregate_kpis, collect_log_files, ingest_log, plan_traffic


@dg.asset(
    deps=[pareto_front, offline_metrics, conditioned_model],
    **asset_kwargs("traffic_plan"),
)
def traffic_plan(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One entry per test group: its preference, share of the users and buckets; also their power."""
    return run_asset(context, study, plan_traffic)


@dg.asset(deps=[traffic_plan, conditioned_model], **asset_kwargs("experiment_log_files"))
def experiment_log_files(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One row per impression, in files: your own, simulated, or from a held-out replay."""
    return run_asset(context, study, collect_log_files)


@dg.asset(
    deps=[experiment_log_files, traffic_plan],
    check_specs=check_specs("experiment_log"),
    **asset_kwargs("experiment_log"),
)
def experiment_log(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row per impression, in DuckDB; each file is ingested once, however often this runs."""
    return run_asset(context, study, ingest_log)


@dg.asset(
    deps=[experiment_log, traffic_plan],
    check_specs=check_specs("group_kpis"),
    **asset_kwargs("group_kpis"),
)
def group_kpis(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row per group and KPI: trials, successes, rate, and per-user sufficient statistics."""
    return run_asset(context, study, aggregate_kpis)
