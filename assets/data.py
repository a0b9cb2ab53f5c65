"""From the pinned raw data to sessions."""

import dagster as dg

from assets.asset_metadata import asset_kwargs
from assets.checks import check_specs
from assets.materialization import run_asset
from assets.resources import StudyResource
from pipeline.steps.data import check_raw_events, ingest_events, prepare_sessions


@dg.asset(**asset_kwargs("raw_events"))
def raw_events(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """The raw log as DVC pins it: checked to exist, and to have the pinned bytes."""
    return run_asset(context, study, check_raw_events)


@dg.asset(deps=[raw_events], check_specs=check_specs("events"), **asset_kwargs("events"))
def events(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row per event: session, time (UTC ms), item, event type. Rejected rows have their reasons."""
    return run_asset(context, study, ingest_events)


@dg.asset(deps=[events], check_specs=check_specs("sessions"), **asset_kwargs("sessions"))
def sessions(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row per session with its split; also the catalogue, and the clicks as flat arrays."""
    return run_asset(context, study, prepare_sessions)
