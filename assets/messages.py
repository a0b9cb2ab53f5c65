"""Messages after scheduled runs: the result in five lines, or that the run has failed."""

import os
from collections.abc import Callable, Iterable

import dagster as dg

from assets.jobs import RETRAIN
from assets.resources import ROLLOUT_TAG, STUDY_TAG
from pipeline.artifacts.project import StudyFile, loaded_studies
from pipeline.artifacts.storage import REPORT, StudyPaths
from pipeline.core.asset_graph import group_prefix
from pipeline.core.errors import USER_ERRORS, MissingArtifact
from pipeline.reporting.text.message import message_lines
from pipeline.reporting.webhook import WEBHOOK_VARIABLE, send_message
from pipeline.results.reader import REPORT_FILE, read_report
from pipeline.rollout.gates import PLAN, PLAN_FILE, read_gated_plan
from pipeline.rollout.proposal import proposal_line

_AUTOMATIC = ("dagster/schedule_name", "dagster/sensor_name")
"""Tags of runs that a schedule or a sensor has started."""


def message_sensors() -> list[dg.SensorDefinition]:
    """The sensors that report on scheduled runs; on where the address of a webhook is set."""
    on = bool(os.environ.get(WEBHOOK_VARIABLE))
    default = dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        default_status=default,
        description=f"After a scheduled run: sends the result to {WEBHOOK_VARIABLE}.",
    )
    def send_result(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        if ROLLOUT_TAG in context.dagster_run.tags:
            return dg.SkipReason("a step of a rollout has no report")
        return _send(context.dagster_run, _result_lines)

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.FAILURE,
        default_status=default,
        description=f"After a scheduled run that failed: says so to {WEBHOOK_VARIABLE}.",
    )
    def send_failure(context: dg.RunStatusSensorContext) -> dg.SkipReason | None:
        if _repeats_failure(context.dagster_run, context.instance):
            return dg.SkipReason("the step before failed, too, and was reported")
        return _send(context.dagster_run, _failure_lines)

    return [send_result, send_failure]


def _send(
    run: dg.DagsterRun, lines: Callable[[dg.DagsterRun], Iterable[str]]
) -> dg.SkipReason | None:
    if not any(tag in run.tags for tag in _AUTOMATIC):
        return dg.SkipReason(f"run {run.run_id} was not started by a schedule or sensor")
    try:
        send_message(lines(run))
    except USER_ERRORS as error:
        return dg.SkipReason(f"no message about run {run.run_id}: {error}")
    return None


def _repeats_failure(run: dg.DagsterRun, instance: dg.DagsterInstance) -> bool:
    """Whether a run is a step of a rollout, taken every half minute, and the one before failed, too."""
    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    steps = dg.RunsFilter(job_name=run.job_name, statuses=ended)
    before = instance.get_runs(steps, cursor=run.run_id, limit=1) if ROLLOUT_TAG in run.tags else ()
    return any(one.status is dg.DagsterRunStatus.FAILURE for one in before)


def _result_lines(run: dg.DagsterRun) -> Iterable[str]:
    name = run.tags.get(STUDY_TAG)
    if name is None:
        msg = f"it has no tag {STUDY_TAG}"
        raise MissingArtifact(msg)
    file = next((one for one in loaded_studies() if one.name() == name), None)
    if file is None:
        msg = f"its study {name} is gone"
        raise MissingArtifact(msg)
    study, paths = file.load()
    if study.rollout and run.job_name == f"{group_prefix(file.prefix)}{RETRAIN}":
        return _candidate_lines(file, paths)
    page = paths.require(REPORT, "index.html")
    return message_lines(read_report(paths.require(REPORT, REPORT_FILE)), str(page))


def _candidate_lines(file: StudyFile, paths: StudyPaths) -> Iterable[str]:
    """What became of the candidate that was trained, and what to type."""
    head = f"Paretoscope, {paths.name}: trained again; what is served has not changed"
    if not paths.artifact(PLAN, PLAN_FILE).exists():
        return head, "No candidate: see the run in Dagster"
    gated = read_gated_plan(paths)
    gates = (f"{one.gate} gate {one.outcome}: {one.reason}" for one in gated.gates)
    return head, *gates, file.adapt(proposal_line(paths, gated))


def _failure_lines(run: dg.DagsterRun) -> Iterable[str]:
    name = run.tags.get(STUDY_TAG, "unknown study")
    return (
        f"Paretoscope, {name}: the scheduled run of {run.job_name} failed",
        f"Cause: see run {run.run_id} in Dagster, or run: paretoscope doctor",
    )
