"""The one ``Definitions``: all assets, jobs, schedules, sensors and resources."""

import dagster as dg

from assets import data, evaluation, experiment, inference, model
from assets.jobs import ingest_and_report_job, retrain_job, retrain_weekly, study_job
from assets.resources import StudyResource
from assets.sensors import new_log_files

defs = dg.Definitions(
    assets=dg.load_assets_from_modules([data, model, evaluation, experiment, inference]),
    jobs=[study_job, retrain_job, ingest_and_report_job],
    schedules=[retrain_weekly],
    sensors=[new_log_files],
    resources={"study": StudyResource()},
    executor=dg.in_process_executor,
)
