"""A study that is trained again keeps the model of its running experiment, and reports by it."""

import shutil
from dataclasses import replace

import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from models.checkpoint import WEIGHTS, checkpoint_fingerprint
from pipeline.artifacts.kept_models import keep_model, paths_of_model, remove_unused_models
from pipeline.artifacts.storage import KEPT_MODELS, REPORT, StudyPaths, atomic_folder
from pipeline.core.errors import LogError
from pipeline.experiment.design.traffic_plan import PLAN, read_plan
from pipeline.results.reader import read_report
from pipeline.rollout.gates import write_gated_plan
from pipeline.serving.ranking.snapshot import load_snapshot, with_rollout
from pipeline.steps.experiment import plan_traffic, used_models
from pipeline.steps.inference import estimate_slopes, write_regression_report
from pipeline.steps.policies import pair_experiment_lists
from pipeline.study import LogSource, load_study
from tests.pipeline.rollout.releases import gated
from tests.pipeline.serving.shop import write_plan, write_rollout, write_study


def train_again(paths):
    """Replace model and metrics, as another training does."""
    with atomic_folder(paths.artifact("conditioned_model")) as folder:
        shutil.copytree(paths.artifact("conditioned_model"), folder, dirs_exist_ok=True)
        weights = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        save_file({name: weight + 0.01 for name, weight in weights.items()}, folder / WEIGHTS)
    with atomic_folder(paths.artifact("offline_metrics")) as folder:
        shutil.copytree(paths.artifact("offline_metrics"), folder, dirs_exist_ok=True)
        file = folder / "offline_metrics.parquet"
        table = pl.read_parquet(file, memory_map=False)
        file.unlink()
        table.with_columns(value=pl.col("value") ** 2).write_parquet(file)
    return checkpoint_fingerprint(paths.artifact("conditioned_model"))


@pytest.fixture
def finished(finished_study, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(finished_study, root)
    study = load_study(root / "params.yaml")
    return study, StudyPaths.of(study, root)


@pytest.mark.slow
def test_everything_of_a_running_experiment_is_of_the_model_that_serves_it(finished):
    """Pairing checks that the model's lists are those that were shown."""
    study, paths = finished
    served, before = read_plan(paths).model, read_report(paths.artifact(REPORT, "report.json"))

    assert train_again(paths) != served

    estimates = estimate_slopes(study, paths).value
    assert estimates.hypotheses == before.hypotheses
    assert pair_experiment_lists(study, paths).value.equal_share > 0.99
    again = write_regression_report(study, paths).value
    assert (again.hypotheses, again.offline_metrics, again.front) == (
        *(before.hypotheses, before.offline_metrics, before.front),
    )


def test_the_endpoint_serves_the_model_of_the_plan(finished):
    study, paths = finished
    served = read_plan(paths).model

    assert train_again(paths) != served

    snapshot = load_snapshot(study, paths)
    assert {arm.model.fingerprint for arm in snapshot.arms.values()} == {served}


@pytest.mark.slow
def test_the_plan_of_a_running_experiment_stays_and_that_of_a_new_one_is_of_the_new_model(
    finished, caplog
):
    study, paths = finished
    running = read_plan(paths)
    new = train_again(paths)
    files = replace(study.experiment, source=LogSource.FILES, log_path="data/served")

    plan_traffic(replace(study, experiment=files), paths)
    assert read_plan(paths) == running
    assert "keeps the model that it is served by" in caplog.text

    later = replace(files, name="later", salt="later")
    plan_traffic(replace(study, experiment=later), paths)
    assert read_plan(paths).model == new
    kept = [one.name for one in (paths.folder / KEPT_MODELS).iterdir()]
    assert kept == [new]


def test_a_model_is_kept_in_no_space_until_it_is_named_no_longer(tmp_path, small_params):
    _, paths = write_study(tmp_path, small_params)
    (paths.artifact("offline_metrics")).mkdir()
    pl.DataFrame({"value": [0.5]}).write_parquet(
        paths.artifact("offline_metrics", "offline_metrics.parquet")
    )
    first = keep_model(paths)
    weights = paths.artifact("conditioned_model", WEIGHTS)
    kept = replace(paths, model=first)
    assert kept.artifact("conditioned_model", WEIGHTS).samefile(weights)
    assert paths_of_model(paths, first) is paths

    second = train_again(paths)

    assert keep_model(paths) == second
    assert paths_of_model(paths, first) == kept
    assert checkpoint_fingerprint(kept.require("conditioned_model")) == first
    assert kept.require("sessions", "items.parquet").exists()
    assert kept.artifact("traffic_plan") == paths.artifact("traffic_plan")
    remove_unused_models(paths, {second})
    assert paths_of_model(paths, first) is None
    assert paths_of_model(paths, "../" * 30) is None


def test_a_plan_that_is_not_started_yet_keeps_its_models(tmp_path, small_params):
    """Gates have passed in another study; a new traffic plan of this one removes what nobody names."""
    _, paths = write_study(tmp_path, small_params)
    plan = write_plan(paths)
    write_gated_plan(gated(), StudyPaths(tmp_path, "next"))
    (paths.folder.parent / "notes.txt").write_text("no study", encoding="utf-8")

    assert used_models(paths) - {plan.model} == {"0" * 64}


def test_a_rollout_finds_its_kept_model(tmp_path, small_params):
    study, paths = write_study(tmp_path, small_params)
    write_plan(paths, enabled=False)
    (paths.artifact("offline_metrics")).mkdir()
    pl.DataFrame({"value": [0.5]}).write_parquet(
        paths.artifact("offline_metrics", "offline_metrics.parquet")
    )
    rollout = write_rollout(paths, share=1.0)
    keep_model(paths)
    new = train_again(paths)

    snapshot = with_rollout(load_snapshot(study, paths), study, paths, rollout)

    assert snapshot.arm_of("ada").model.fingerprint == rollout.candidate.model != new


def test_without_the_model_of_the_plan_nothing_is_reported(finished):
    study, paths = finished
    train_again(paths)
    shutil.rmtree(paths.folder / KEPT_MODELS)

    for step in (estimate_slopes, write_regression_report, load_snapshot, pair_experiment_lists):
        with pytest.raises(LogError, match=r"is served by model .* restore that model"):
            step(study, paths)
    assert paths.artifact("traffic_plan", PLAN).exists()
