"""The rollout in Dagster: the status with its checks, the sensor, and the job that ends it."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)

from assets.definitions import defs
from assets.rollout import _check_results, _request_step
from pipeline.artifacts.lock import study_lock
from pipeline.artifacts.storage import StudyPaths
from pipeline.rollout import operations
from pipeline.rollout.decisions.decide import decide
from pipeline.rollout.served import read_served
from pipeline.rollout.store import current_rollout
from tests.pipeline.rollout.releases import ANNA, begun, sums

ROOT = Path(__file__).parents[2]
CHECKS = {
    *("guardrails", "signals", "sample_ratio", "data_flows"),
    *("incumbent_ready", "events_intact"),
}


@pytest.fixture
def paths(project):
    return StudyPaths(project, "synthetic-shop")


def failed(decision, problems=()):
    """The checks that fail, with their severity."""
    found = _check_results(decision, list(problems), None)
    assert {one.check_name for one in found} == CHECKS
    return {one.check_name: one.severity.value for one in found if not one.passed}


def test_the_job_serves_the_incumbent_while_another_run_writes_the_study(paths):
    begun(paths)

    with study_lock(paths, "a run that trains"):
        done = defs.resolve_job_def("roll_back").execute_in_process(
            run_config={"ops": {"serve_incumbent": {"config": {"reason": "complaints"}}}}
        )

    last = current_rollout(paths).events[-1]
    assert done.success
    assert (read_served(paths).share, last.reason) == (0.0, "complaints")
    assert last.who == f"Dagster run {done.run_id}"


def test_one_step_is_an_asset_with_checks(paths):
    """Without a monitor there are no sums: the rollout waits, and after an hour it holds.

    The project has no model, so that the incumbent could not be served after a rollback.
    """
    begun(paths)

    done = defs.resolve_job_def("watch_rollout").execute_in_process()

    (asset,) = done.asset_materializations_for_node("rollout_status")
    checks = done.get_asset_check_evaluations()
    assert asset.metadata["state"].value == "canary"
    assert asset.metadata["decision"].value == (
        "wait: waits for the first row of the log, which paretoscope monitor has to read"
    )
    (unready,) = [one for one in checks if not one.passed]
    assert {one.check_name for one in checks} == CHECKS
    assert (unready.check_name, unready.severity.value) == ("incumbent_ready", "ERROR")
    assert "conditioned_model is missing" in unready.description


def test_checks_say_what_a_decision_says(paths):
    canary = begun(paths)
    good, bad = sums(canary, hours=5), sums(canary, hours=5, candidate=2000, lift=-0.5)

    assert failed(decide(canary, good, good.newest)) == {}
    assert failed(decide(canary, bad, bad.newest)) == {"guardrails": "ERROR"}
    assert failed(decide(canary, good, good.newest + timedelta(hours=2))) == {"data_flows": "WARN"}
    uneven = sums(canary, hours=5, sample_ratio=5000.0)
    assert failed(decide(canary, uneven, uneven.newest)) == {"sample_ratio": "WARN"}
    assert failed(decide(canary, good, good.newest), ["line 3"]) == {"events_intact": "ERROR"}


def test_the_sensor_asks_for_steps_while_users_get_a_candidate(paths):
    context = dg.build_sensor_context(dg.DagsterInstance.ephemeral())

    def tick():
        return _request_step(context, "", "watch_rollout")

    assert isinstance(tick(), dg.SkipReason)
    canary = begun(paths)
    assert tick().run_key.startswith(f"spring-{canary.seq}-")
    operations.roll_back(paths, ANNA, "enough")
    assert isinstance(tick(), dg.SkipReason)


@pytest.fixture(
    params=[".dagster/dagster.yaml", "pipeline/scaffold/templates/common/dagster.yaml.j2"]
)
def queue(request, tmp_path):
    """An instance as dagster.yaml configures it, of this project and of a new one."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_bytes((ROOT / request.param).read_bytes())
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.mark.slow
def test_steps_of_a_rollout_do_not_queue_behind_a_run_that_trains(queue):
    """Runs that write a study wait for each other, those of single assets, too."""

    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name="assets.definitions")
    )

    def create(job, status, **chosen):
        found = defs.resolve_job_def(job)
        origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "assets"), job)
        queue.create_run_for_job(
            found, status=status, tags=found.run_tags, remote_job_origin=origin, **chosen
        )

    def next_runs():
        return [
            run.job_name
            for run in QueuedRunCoordinatorDaemon(1)._get_runs_to_dequeue(
                queue, queue.get_concurrency_config(), None
            )
        ]

    create("retrain", dg.DagsterRunStatus.QUEUED)
    next_runs()  # Dagster learns of the pool
    create("study", dg.DagsterRunStatus.STARTED)
    sessions = frozenset({dg.AssetKey("sessions")})
    create("__ASSET_JOB", dg.DagsterRunStatus.QUEUED, asset_selection=sessions)
    for job in ("watch_rollout", "roll_back"):
        create(job, dg.DagsterRunStatus.QUEUED)

    assert sorted(next_runs()) == ["roll_back", "watch_rollout"]
