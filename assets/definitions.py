"""The one ``Definitions``: everything Dagster knows of Paretoscope."""

import atexit
import os

import dagster as dg

from assets import data, evaluation, experiment, inference, model
from assets.resources import StudyResource


def _end_quietly() -> None:
    """Close the error stream when the process is over.

    DuckDB's bindings report objects that Great Expectations keeps until the interpreter ends as
    leaked: forty harmless lines at the end of every run. Logs are flushed line by line before.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


atexit.register(_end_quietly)

study_job = dg.define_asset_job(
    name="study",
    selection=dg.AssetSelection.assets("regression_report").upstream(),
    description="Everything from the pinned raw data to the report.",
)

retrain_weekly = dg.ScheduleDefinition(
    name="retrain_weekly",
    job=study_job,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    description="Every Monday at 03:00 UTC: the whole study on the data as it is pinned then.",
)

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([data, model, evaluation, experiment, inference]),
    jobs=[study_job],
    schedules=[retrain_weekly],
    resources={"study": StudyResource()},
    executor=dg.in_process_executor,
)
