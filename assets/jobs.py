"""The jobs, each a part of the chain, and the schedule."""

import dagster as dg

NO_OVERRIDES = {"resources": {"study": {"config": {"overrides": {}}}}}
"""Default of the launchpad: ``params.yaml`` without overrides."""

study_job = dg.define_asset_job(
    name="study",
    selection=dg.AssetSelection.assets("regression_report").upstream(),
    config=NO_OVERRIDES,
    description="The whole chain, from the pinned raw data to the report.",
)

retrain_job = dg.define_asset_job(
    name="retrain",
    selection=dg.AssetSelection.assets("pareto_front").upstream(),
    config=NO_OVERRIDES,
    description="The model and its Pareto front from the pinned raw data, without an experiment.",
)

ingest_and_report_job = dg.define_asset_job(
    name="ingest_and_report",
    selection=dg.AssetSelection.assets("experiment_log_files").downstream(),
    config=NO_OVERRIDES,
    description="From the experiment's log files to the report; model and traffic plan stay as they "
    "are. The job to run during an experiment.",
)

retrain_weekly = dg.ScheduleDefinition(
    name="retrain_weekly",
    job=study_job,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    description="Every Monday at 03:00 UTC: the whole study on the pinned data. Turn it off during an "
    "experiment on real users, whose model must not change.",
)
