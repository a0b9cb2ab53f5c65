"""The weekly job of a study with a rollout, as Dagster runs it: trained, checked, proposed to a person."""

from shutil import copytree

import dagster as dg
import pytest
import yaml

from assets.definitions import build_definitions
from assets.loaded_study import LoadedStudy
from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.project import project_studies
from pipeline.artifacts.storage import StudyPaths
from pipeline.experiment.design.traffic_plan import PLAN, read_plan
from pipeline.rollout.gates import read_gated_plan
from pipeline.rollout.store import releases
from pipeline.study import PARAMS_FILE
from tests.assets.test_messages import webhook

ROLLOUT = {
    "release": "spring",
    "candidate": {"preference": "p05"},
    "incumbent": {"preference": "p04"},
    "gates": {"offline": {"not_worse": {"recall": 0.9}}},
}


def retrain(project, monkeypatch, **changes):
    """The run of the job, and the message that is sent after it."""
    file = project / PARAMS_FILE
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    values["study"]["seed"] += 1
    values["rollout"] = ROLLOUT | changes
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    own = build_definitions([LoadedStudy.of(one) for one in project_studies(project)])
    job, sensors = own.resolve_job_def("retrain"), {one.name: one for one in own.sensors or ()}
    instance = dg.DagsterInstance.ephemeral()
    tags = {"dagster/schedule_name": "retrain_weekly", **job.run_tags}
    done = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    name = "send_result" if done.success else "send_failure"
    event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name="retrain")
    run = instance.get_run_by_id(done.run_id)
    with webhook(monkeypatch) as received:
        sensors[name](dg.build_run_status_sensor_context(name, event, instance, run))
    return done, received[0]["text"].split("\n")


@pytest.mark.slow
def test_the_weekly_job_trains_checks_and_asks(finished, tmp_path, monkeypatch):
    """A candidate that fails its gate leaves no plan, one that passes waits; the traffic plan stays."""
    project = copytree(finished[0], tmp_path / "project")
    monkeypatch.chdir(project)
    paths = StudyPaths(project, "synthetic-shop")
    plan, before = paths.artifact("traffic_plan", PLAN), read_plan(paths)
    content = plan.read_bytes()

    done, message = retrain(project, monkeypatch)

    new, found = checkpoint_fingerprint(paths.require("conditioned_model")), read_gated_plan(paths)
    assert done.success
    assert new != before.model
    assert (found.plan.candidate.model, found.plan.incumbent.model) == (new, before.model)
    assert plan.read_bytes() == content
    assert releases(paths) == []
    assert message[0] == (
        "Paretoscope, synthetic-shop: trained again; what is served has not changed"
    )
    assert message[1].startswith("offline gate passed: recall ")
    assert message[-1] == (
        f"release spring, p05 of model {new[:8]}, has passed its gates and waits for a person: paretoscope rollout "
        "start"
    )

    gates = {"offline": {"not_worse": {"recall": 1e-9}}}
    done, message = retrain(project, monkeypatch, gates=gates)

    assert not done.success
    assert not paths.artifact("rollout_plan").exists()
    assert message[0] == "Paretoscope, synthetic-shop: the scheduled run of retrain failed"
    assert plan.read_bytes() == content
