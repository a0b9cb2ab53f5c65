"""The commands of the README, as real processes."""

import json

import pytest
import yaml

from pipeline.storage import md5

STUDY = "data/studies/synthetic-shop"
MATERIALIZE = ("dagster", "asset", "materialize", "--select")


@pytest.mark.slow
def test_dagster_words_alone_make_the_report_and_name_what_is_missing(run, small_project):
    alone = run(*MATERIALIZE, "regression_report")
    unpinned = run(*MATERIALIZE, "*regression_report")
    generated = run("python", "-m", "pipeline.cli", "generate")
    whole = run(*MATERIALIZE, "*regression_report")
    again = run(*MATERIALIZE, "regression_report")

    assert alone.returncode != 0
    last = alone.stderr.strip().splitlines()[-1]
    assert last.startswith("Failed: ")
    assert "is missing. Make it with: dagster asset materialize --select" in last
    assert unpinned.returncode != 0
    assert "raw data data/raw/synthetic-shop.jsonl is missing" in unpinned.stderr
    assert generated.returncode == 0, generated.stderr
    assert whole.returncode == 0, whole.stderr
    assert again.returncode == 0, again.stderr
    assert "leaked" not in whole.stderr
    assert (small_project / STUDY / "report/index.html").is_file()


@pytest.mark.slow
def test_dvc_pins_the_study_and_runs_experiments(run, small_project):
    for words in (
        ("git", "init", "-q"),
        ("dvc", "init", "-q"),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "x"),
    ):
        assert run(*words).returncode == 0
    first = run("dvc", "repro", "study")
    lock = yaml.safe_load((small_project / "dvc.lock").read_text("utf-8"))
    weights = md5(small_project / STUDY / "conditioned_model/weights.safetensors")
    second = run("dvc", "repro", "study")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "y")

    experiment = run("dvc", "exp", "run", "-S", "params.yaml:training.epochs=1", "study")

    assert first.returncode == 0, first.stderr
    pins = {out["path"]: out["md5"] for out in lock["stages"]["study"]["outs"]}
    assert pins[f"{STUDY}/sessions/tokens.safetensors"]
    assert "didn't change, skipping" in second.stdout
    assert experiment.returncode == 0, experiment.stderr
    model = json.loads((small_project / STUDY / "conditioned_model/model.json").read_text("utf-8"))
    assert model["training"]["epochs"] == 1
    assert md5(small_project / STUDY / "conditioned_model/weights.safetensors") != weights
