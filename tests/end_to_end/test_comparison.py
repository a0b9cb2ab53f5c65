"""Two studies with different parameters, compared on the command line."""

import json

import pytest
import yaml

STUDIES = {
    "first": ["--set", "study.name=first"],
    "second": [
        *("--set", "study.name=second", "--set", "study.seed=5", "--set", "experiment.name=autumn"),
        *("--set", "training.epochs=1", "--set", "training.learning_rate=0.0005"),
    ],
}


@pytest.mark.slow
def test_studies_are_run_and_compared_from_the_command_line(run, small_project):
    paretoscope = ("python", "-m", "pipeline.cli")
    assert run(*paretoscope, "generate").returncode == 0
    for name, words in STUDIES.items():
        done = run(*paretoscope, "study", "--json", *words)
        assert done.returncode == 0, done.stderr
        assert "leaked" not in done.stderr
        printed = json.loads(done.stdout)
        assert printed["report"] == f"data/studies/{name}/report/index.html"
        assert len(printed["assets"]) == 13

    done = run(*paretoscope, "compare", "first", "second", "--json")

    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    changed = {row["key"]: row["values"] for row in found["parameters"]}
    assert changed == {
        "study.name": ["first", "second"],
        "study.seed": [_seed(small_project), 5],
        "experiment.name": [_name(small_project), "autumn"],
        "training.epochs": [2, 1],
        "training.learning_rate": [0.005, 0.0005],
    }
    # another network, another front, on the same test sessions
    first, second = (one["hypervolume"] for one in found["fronts"]["studies"])
    assert first != second
    assert found["fronts"]["largest"] == ("first" if first > second else "second")
    (warning,) = found["dependence_warnings"]
    assert warning["reasons"] == ["the offline metrics are measured on the same raw data"]
    assert len(found["hypotheses"]) == 4


def _params(project):
    return yaml.safe_load((project / "params.yaml").read_text("utf-8"))


def _seed(project):
    return _params(project)["study"]["seed"]


def _name(project):
    return _params(project)["experiment"]["name"]
