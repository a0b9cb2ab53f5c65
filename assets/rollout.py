"""The rollout of a study in Dagster: its status with checks, the sensor that watches it, the job that ends it.

None of it decides: the functions are those of ``paretoscope rollout``, which needs no Dagster. None of it takes
the study's lock: a run that trains for hours must not keep a candidate from being rolled back.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import dagster as dg

from assets.asset_metadata import EXPERIMENTERS, asset_key
from assets.loaded_study import LoadedStudy
from assets.materialization import translate_errors
from assets.resources import ROLLOUT_TAG, STUDY_TAG
from assets.sensors import ACTIVE
from pipeline.artifacts.project import loaded_study
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.asset_graph import group_prefix
from pipeline.core.errors import USER_ERRORS
from pipeline.reporting.text.markdown import as_list
from pipeline.rollout.decisions.decide import LARGEST_E_VALUE, Decision
from pipeline.rollout.events import Actor, event_dict
from pipeline.rollout.fold import Rollout
from pipeline.rollout.operations import roll_back
from pipeline.rollout.store import Author, current_rollout, verify_rollouts
from pipeline.rollout.text import event_lines
from pipeline.steps.rollout_watch import incumbent_problem, watch_release

STATUS = "rollout_status"
INTERVAL_SECONDS = 30

_CHECKS = {
    "guardrails": "no guardrail of the rollout is harmed; proven harm rolls back",
    "signals": "no signal of the rollout is harmed; proven harm holds",
    "sample_ratio": "the arms have their shares of the users; otherwise the rollout holds",
    "data_flows": "the log has new rows; otherwise the rollout holds",
    "incumbent_ready": "the incumbent can be served: its model is kept and undamaged, and has its preference",
    "events_intact": "no event of a release was edited or deleted",
}


def rollout_definitions(study: LoadedStudy) -> dg.Definitions:
    """Asset, jobs and sensor of a study's rollout."""
    status = _status_asset(study)
    watch = dg.define_asset_job(
        name=f"{group_prefix(study.prefix)}watch_rollout",
        selection=dg.AssetSelection.assets(status),
        tags=_tags(study),
        description="One step of the rollout: decides by the monitor's sums, and does it.",
    )
    return dg.Definitions(
        assets=[status],
        jobs=[watch, _rollback_job(study)],
        sensors=[_watch_sensor(study, watch.name)],
    )


def _tags(study: LoadedStudy) -> dict[str, str]:
    named = {STUDY_TAG: study.parameters.study.name} if study.parameters else {}
    return {ROLLOUT_TAG: "step", **named}


def _status_asset(study: LoadedStudy) -> dg.AssetsDefinition:
    key, prefix = asset_key(study.prefix, [STATUS]), study.prefix

    @dg.asset(
        key=key,
        description="Where the rollout is after one step: state, share, and what each guardrail says.",
        group_name=f"{group_prefix(study.prefix)}8_rollout",
        kinds={"json"},
        owners=[EXPERIMENTERS],
        code_version="1",
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, description=text) for name, text in _CHECKS.items()
        ],
    )
    def materialize(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        file = loaded_study(prefix)
        with translate_errors(context, file):
            _, paths = file.load(touched=())
            rollout, decision = watch_release(paths, datetime.now(UTC))
            yield _result(rollout, decision, paths)

    return materialize


def _result(rollout: Rollout, decision: Decision, paths: StudyPaths) -> dg.MaterializeResult:
    """What Dagster shows of a step."""
    events = dg.MetadataValue.md(as_list(event_lines(rollout.events)))
    return dg.MaterializeResult(
        metadata={
            "release": rollout.release,
            "state": rollout.state.value,
            "stage": rollout.stage.name if rollout.stage else "none",
            "share": rollout.share,
            "decision": f"{decision.step}: {decision.reason}",
            "events": events,
            "last event": dg.MetadataValue.json(event_dict(rollout.events[-1])),
        },
        check_results=_check_results(
            decision,
            verify_rollouts(paths),
            incumbent_problem(rollout.plan.incumbent, paths),
        ),
    )


def _check_results(
    decision: Decision, problems: list[str], unready: str | None
) -> list[dg.AssetCheckResult]:
    readings = decision.readings.values()
    harmed = {
        is_signal: [one.summary for one in readings if one.is_signal is is_signal and one.is_harmed]
        for is_signal in (False, True)
    }
    ratio = decision.evidence.get("sample_ratio")
    silent = [decision.reason] if decision.is_silent else []
    uneven = [f"e-value {ratio:.3g}"] if ratio is not None and ratio > LARGEST_E_VALUE else []
    found = {
        "guardrails": harmed[False],
        "signals": harmed[True],
        "sample_ratio": uneven,
        "data_flows": silent,
        "incumbent_ready": [unready] if unready else [],
        "events_intact": problems,
    }
    severe = {"guardrails", "incumbent_ready", "events_intact"}
    return [
        dg.AssetCheckResult(
            check_name=name,
            passed=not faults,
            severity=dg.AssetCheckSeverity.ERROR if name in severe else dg.AssetCheckSeverity.WARN,
            description="; ".join(faults) or None,
        )
        for name, faults in found.items()
    ]


def _rollback_job(study: LoadedStudy) -> dg.JobDefinition:
    """One op without anything upstream: it works when everything else is broken."""
    prefix, names = study.prefix, group_prefix(study.prefix)

    @dg.op(
        name=f"{names}serve_incumbent",
        config_schema={"reason": dg.Field(str, default_value="the job roll_back was run")},
    )
    def serve_incumbent(context: dg.OpExecutionContext) -> None:
        _, paths = loaded_study(prefix).load(touched=())
        author = Author(by=Actor.PERSON, who=f"Dagster run {context.run_id}")
        context.log.info(
            event_lines(roll_back(paths, author, context.op_config["reason"]).events)[-1]
        )

    @dg.job(
        name=f"{names}roll_back",
        description="Serves the incumbent to everybody, for good; as paretoscope rollout rollback.",
        tags=_tags(study),
    )
    def job() -> None:
        serve_incumbent()

    return job


def _watch_sensor(study: LoadedStudy, job: str) -> dg.SensorDefinition:
    prefix = study.prefix

    @dg.sensor(
        name=f"{group_prefix(prefix)}rollout_watch",
        job_name=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        description="Every half minute while users get a candidate: takes one step of the rollout.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return _request_step(context, prefix, job)

    return sensor


def _request_step(
    context: dg.SensorEvaluationContext, prefix: str, job: str
) -> dg.RunRequest | dg.SkipReason:
    """Request a step of the release that is live; the same state and time request it once."""
    rollout = None
    with suppress(*USER_ERRORS):  # the run reports it
        rollout = current_rollout(loaded_study(prefix).load(touched=())[1])
    if rollout is None or not rollout.state.is_live:
        return dg.SkipReason("no user gets a candidate")
    if context.instance.get_runs(dg.RunsFilter(job_name=job, statuses=ACTIVE), limit=1):
        return dg.SkipReason("the step before has not ended")
    now = int(time.time() // INTERVAL_SECONDS)
    return dg.RunRequest(run_key=f"{prefix}{rollout.release}-{rollout.seq}-{now}")
