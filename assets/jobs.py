"""The jobs, each a part of the chain, and the schedule."""

import dagster as dg

AS_IT_IS = {"resources": {"study": {"config": {"overrides": {}}}}}
"""What the launchpad shows at first: params.yaml, nothing overridden."""

study_job = dg.define_asset_job(
    name="study",
    selection=dg.AssetSelection.assets("regression_report").upstream(),
    config=AS_IT_IS,
    description="Everything from the pinned raw data to the report.",
)

retrain_job = dg.define_asset_job(
    name="retrain",
    selection=dg.AssetSelection.assets("pareto_front").upstream(),
    config=AS_IT_IS,
    description="The model and its front from the pinned raw data, and no experiment.",
)

ingest_and_report_job = dg.define_asset_job(
    name="ingest_and_report",
    selection=dg.AssetSelection.assets("experiment_log_files").downstream(),
    config=AS_IT_IS,
    description="From the experiment's log files to the report; model and traffic plan stay as they "
    "are. What to run while an experiment is under way.",
)

retrain_weekly = dg.ScheduleDefinition(
    name="retrain_weekly",
    job=study_job,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    description="Every Monday at 03:00 UTC: the whole study on the data as it is pinned then. Leave it "
    "off while an experiment on real users is under way: its model must stay.",
)
