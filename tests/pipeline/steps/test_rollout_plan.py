"""The plan of a release: training again changes the candidate, and never what is served."""

import shutil
from dataclasses import replace

import polars as pl
import pytest
import yaml

from models.checkpoint import WEIGHTS, checkpoint_fingerprint
from pipeline.artifacts.kept_models import keep_model
from pipeline.artifacts.storage import KEPT_MODELS, StudyPaths
from pipeline.cli import main
from pipeline.core.errors import DataError, StudyError
from pipeline.experiment.design.traffic_plan import PLAN
from pipeline.rollout import operations
from pipeline.rollout.changes import advanced
from pipeline.rollout.gates import PLAN as ROLLOUT_PLAN
from pipeline.rollout.gates import Gate
from pipeline.rollout.served import read_served, served_file
from pipeline.rollout.states import State
from pipeline.rollout.store import RolloutRefused, change_rollout, current_rollout
from pipeline.serving.ranking.snapshot import load_snapshot, with_rollout
from pipeline.steps.rollout_gates.plan import NoRolloutError
from pipeline.steps.rollout_watch import incumbent_problem
from pipeline.steps.run import run_step
from pipeline.study import load_study
from tests.pipeline.rollout.releases import ANNA
from tests.pipeline.serving.shop import write_model, write_plan, write_study

ROLLOUT = {
    "release": "spring",
    "candidate": {"preference": "p1"},
    "incumbent": {"preference": "p0"},
}


@pytest.fixture
def paths(tmp_path, small_params):
    """A study whose model is served under the preferences p0 and p1, without training."""
    _, found = write_study(tmp_path, small_params)
    file = found.params_file
    values = yaml.safe_load(file.read_text(encoding="utf-8")) | {"rollout": ROLLOUT}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    found.artifact("pareto_front").mkdir()
    pl.DataFrame(
        {"preference_id": ["p0", "p1"], "preference": [[0.0, 1.0], [1.0, 0.0]]}
    ).write_parquet(found.artifact("pareto_front", "pareto_front.parquet"))
    write_plan(found, model=keep_model(found), enabled=False)
    return found


def train(paths, seed):
    """Another model, as the weekly job makes it."""
    write_model(paths, seed=seed)
    return checkpoint_fingerprint(paths.artifact("conditioned_model"))


def gated(paths: StudyPaths, **rollout):
    """The plan, after the gates, which are skipped."""
    study = load_study(paths.params_file, {f"rollout.{key}": one for key, one in rollout.items()})
    for gate in Gate:
        run_step(gate.asset, study, paths)
    return run_step(ROLLOUT_PLAN, study, paths)


def released(paths, found):
    """Start a release and go through all its stages."""
    operations.start(paths, found, ANNA)
    rollout = operations.approve(paths, "canary", ANNA, "ok")
    while not rollout.state.is_final:
        rollout = change_rollout(
            paths, rollout.release, ANNA, lambda now: advanced(now, "passed", {})
        )
    return rollout


def test_before_the_first_release_the_incumbent_is_of_the_model_that_is_served(paths):
    old, new = checkpoint_fingerprint(paths.artifact("conditioned_model")), train(paths, 1)

    plan = gated(paths).value.plan

    assert (plan.candidate.preference_id, plan.candidate.model) == ("p1", new)
    assert (plan.incumbent.preference_id, plan.incumbent.model) == ("p0", old)
    assert plan.config.release == "spring"


def test_training_again_never_replaces_what_is_served(paths, monkeypatch, caplog):
    """A settled release; another model passes its gates; a person starts it; still nobody gets it."""
    monkeypatch.chdir(paths.root)
    first = gated(paths).value
    served = released(paths, first).production
    files = [served_file(paths), paths.artifact("traffic_plan", PLAN)]
    before = [file.read_bytes() for file in files]
    new = train(paths, 1)
    caplog.clear()

    result = gated(paths)

    plan, release = result.value.plan, f"spring-{new[:8]}"
    assert (plan.config.release, plan.candidate.model) == (release, new)
    assert plan.incumbent == served == first.plan.candidate
    assert [file.read_bytes() for file in files] == before
    line = (
        f"release {release}, p1 of model {new[:8]}, has passed its gates and waits for a person: "
    )
    assert result.details["next"] == f"{line}paretoscope rollout start"
    assert result.details["next"] in caplog.messages

    assert main(["rollout", "start"]) == 0
    rollout = current_rollout(paths)
    assert (rollout.release, rollout.state) == (release, State.AWAITING_APPROVAL)
    study = load_study(paths.params_file)
    snapshot = with_rollout(load_snapshot(study, paths), study, paths, read_served(paths))
    assert snapshot.arm_of("ada").model.fingerprint == served.model != new
    assert (
        gated(paths)
        .details["next"]
        .endswith(
            "is awaiting_approval; stage canary needs approval: paretoscope rollout approve canary"
        )
    )


def test_it_is_proposed_by_itself_only_if_the_section_says_so(paths):
    result = gated(paths, automatic={"start": True})

    rollout = current_rollout(paths)
    assert (rollout.state, rollout.share) == (State.AWAITING_APPROVAL, 0.0)
    assert rollout.events[0].who == "rollout_plan"
    assert "paretoscope rollout approve canary" in result.details["next"]


def test_what_is_served_is_no_candidate(paths):
    released(paths, gated(paths).value)

    with pytest.raises(NoRolloutError, match="is what is served: there is nothing to release"):
        gated(paths)
    assert not paths.artifact(ROLLOUT_PLAN).exists()


PINNED = "rules:\n  - {rule: pin, item: item-3, position: 1}\n"


def write_rules(paths, text=PINNED, release="pinned"):
    """Rules alone are the candidate."""
    (paths.root / "rules.yaml").write_text(text, "utf-8")
    return {"release": release, "candidate": {"rules": "rules.yaml"}}


def test_rules_are_a_candidate_of_what_is_served_and_stay_with_it(paths, monkeypatch, capsys):
    """The model in production is kept though another was trained; the next release keeps the rules."""
    in_production = checkpoint_fingerprint(paths.artifact("conditioned_model"))
    train(paths, 1)

    plan = gated(paths, **write_rules(paths)).value.plan

    assert plan.candidate == replace(plan.incumbent, rules=plan.candidate.rules)
    assert (plan.candidate.model, plan.incumbent.rules) == (in_production, None)
    assert [(one.item, one.position) for one in plan.candidate.rules.rules] == [("item-3", 1)]
    settled = released(paths, gated(paths, **write_rules(paths)).value)
    assert read_served(paths).candidate.rules == plan.candidate.rules
    assert "p0 with rules" in settled.events[0].reason
    monkeypatch.chdir(paths.root)
    assert main(["rollout", "status"]) == 0
    assert f"candidate {plan.candidate} for" in capsys.readouterr().out

    with pytest.raises(
        NoRolloutError, match=r"p0 of model .* with rules .*\(pin\).* is what is served"
    ):
        gated(paths, **write_rules(paths))
    following = gated(paths, release="summer", candidate={"preference": "p1"}).value.plan
    assert following.candidate.rules == following.incumbent.rules == plan.candidate.rules
    back = gated(paths, **write_rules(paths, "rules: []\n", release="plain")).value.plan
    assert back.candidate.rules.is_empty


def test_rules_that_change_after_a_gate_are_another_candidate(paths):
    changes = write_rules(paths)
    study = load_study(paths.params_file, {f"rollout.{key}": one for key, one in changes.items()})
    for gate in Gate:
        run_step(gate.asset, study, paths)
    write_rules(paths, PINNED.replace("item-3", "item-4"))

    with pytest.raises(DataError, match="of another candidate"):
        run_step(ROLLOUT_PLAN, study, paths)


@pytest.mark.parametrize("candidate", [{}, {"study": "next"}, {"study": "next", "rules": "r.yaml"}])
def test_a_candidate_names_a_preference_or_rules(paths, candidate):
    with pytest.raises(StudyError, match=r"rollout.candidate: expected a preference"):
        load_study(paths.params_file, {"rollout.candidate": candidate})


def test_a_release_under_way_is_waited_for_and_its_end_checked(paths):
    """The candidate was compared with the incumbent of before."""
    operations.start(paths, gated(paths).value, ANNA)
    operations.approve(paths, "canary", ANNA, "ok")
    train(paths, 1)

    result = gated(paths, automatic={"start": True})

    assert (
        "waits: release spring is canary in stage canary with a share of 1.00%"
        in (result.details["next"])
    )
    assert current_rollout(paths).release == "spring"
    while not current_rollout(paths).state.is_final:
        change_rollout(paths, "spring", ANNA, lambda now: advanced(now, "passed", {}))
    with pytest.raises(RolloutRefused, match=r"p1 of model .* is in production since"):
        operations.start(paths, result.value, ANNA)
    again = gated(paths)
    assert operations.start(paths, again.value, ANNA).plan.incumbent.preference_id == "p1"


def test_the_incumbent_is_ready_while_its_model_is_kept(paths):
    incumbent = gated(paths).value.plan.incumbent
    train(paths, 1)
    kept = paths.folder / KEPT_MODELS / incumbent.model

    assert incumbent_problem(incumbent, paths) is None
    other = replace(incumbent, preference=(0.5, 0.5))
    assert "p0 with the weights [0.5, 0.5] is not of model" in incumbent_problem(other, paths)
    weights = kept / "conditioned_model" / WEIGHTS
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "Restore it from a backup" in incumbent_problem(incumbent, paths)
    shutil.rmtree(kept)
    assert "restore it, or start a new release" in incumbent_problem(incumbent, paths)
