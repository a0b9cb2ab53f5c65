"""The chain as Dagster runs it, on a small shop: artifacts, checks, errors and repetition."""

import errno
import json
from pathlib import Path
from shutil import copytree, rmtree

import dagster as dg
import polars as pl
import pytest

from assets.definitions import defs
from assets.materialization import translate_errors
from assets.resources import StudyResource
from pipeline.artifacts.project import StudyFile
from pipeline.artifacts.storage import KEPT_MODELS, md5
from pipeline.core.contracts import OFFLINE_METRICS
from pipeline.core.errors import DataError
from pipeline.experiment.kpis.contracts import GROUP_KPIS
from pipeline.experiment.log.ingest import summarise

STUDY = "data/studies/synthetic-shop"
UPSTREAM = ["raw_events", "events", "sessions", "conditioned_model"]


def materialize(selection, *, instance=None, overrides=None, raise_on_error=True):
    assets = list(defs.assets or [])
    return dg.materialize(
        assets,
        selection=selection,
        instance=instance or dg.DagsterInstance.ephemeral(),
        resources={"study": StudyResource(overrides=overrides or {})},
        raise_on_error=raise_on_error,
    )


def failure_of(result) -> dg.Failure:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return event.step_failure_data


@pytest.fixture
def trained(project, finished):
    """A project whose study has a model, and nothing after it."""
    for name in UPSTREAM[1:]:
        copytree(finished[0] / STUDY / name, project / STUDY / name)
    return project


def test_whole_chain_ends_in_a_report_with_all_checks_green(finished):
    project, result = finished

    report = json.loads((project / STUDY / "report/report.json").read_text("utf-8"))
    assert result.success
    evaluations = result.get_asset_check_evaluations()
    blocked = [e.check_name for e in evaluations if not e.passed and e.severity.value == "ERROR"]
    assert blocked == []
    assert [hypothesis["id"] for hypothesis in report["hypotheses"]] == ["H1", "H2", "H3", "H4"]
    OFFLINE_METRICS.validate(
        pl.read_parquet(project / STUDY / "offline_metrics/offline_metrics.parquet")
    )
    GROUP_KPIS.validate(pl.read_parquet(project / STUDY / "group_kpis/group_kpis.parquet"))
    manifest = json.loads((project / STUDY / "manifest.json").read_text("utf-8"))
    page = project / STUDY / "report/index.html"
    assert manifest["outputs"]["report/index.html"] == md5(page)


@pytest.mark.slow
def test_same_study_gives_the_same_bytes(project, finished):
    materialize(UPSTREAM)

    for name in ("sessions/tokens.safetensors", "conditioned_model/weights.safetensors"):
        assert md5(project / STUDY / name) == md5(finished[0] / STUDY / name)


@pytest.mark.usefixtures("project")
def test_missing_upstream_names_the_artifact_and_the_command():
    result = materialize(["regression_report"], raise_on_error=False)

    words = failure_of(result).error_display_string
    assert "traffic_plan.json is missing" in words
    assert "paretoscope study --select traffic_plan" in words


@pytest.mark.slow
def test_bad_data_is_rejected_once_and_leaves_the_previous_artifacts(project):
    materialize(["raw_events", "events"])
    before = md5(project / STUDY / "events")
    raw = project / "data/raw/synthetic-shop.jsonl"
    raw.write_bytes(raw.read_bytes()[: raw.stat().st_size // 2] + b'{"session": 1, "ev\n' * 2000)

    result = materialize(["events"], raise_on_error=False)

    assert not result.success
    assert "not a row of this format: 2,000" in failure_of(result).error_display_string
    assert "max_rejected_share" in failure_of(result).error_display_string
    assert md5(project / STUDY / "events") == before
    retries = [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]
    assert retries == []


def test_broken_rule_stops_before_the_artifact_is_written(project):
    raw = project / "data/raw/synthetic-shop.jsonl"
    order = {"aid": 1, "ts": 1756684900052, "type": "orders"}
    raw.write_text(json.dumps({"session": 1, "events": [order]}) + "\n", encoding="utf-8")

    result = materialize(["events"], raise_on_error=False)

    assert "clicks_present" in failure_of(result).error_display_string
    assert not (project / STUDY / "events").exists()


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"training.epochz": 1}, "training.epochz = 1: unknown key"),
        ({"model.hidden_size": "wide"}, "model.hidden_size = 'wide'"),
        (
            {"training.negatives.uniform": 100_000},
            "negatives.uniform = 100000 exceeds the catalogue",
        ),
    ],
    ids=["unknown key", "wrong type", "more negatives than items"],
)
def test_wrong_override_fails_naming_the_key(overrides, words):
    result = materialize(["conditioned_model"], overrides=overrides, raise_on_error=False)

    assert words in failure_of(result).error_display_string


def test_one_preference_can_be_scored_alone(trained):
    materialize(["preference_scores/p03"])

    scores = trained / STUDY / "preference_scores"
    assert [folder.name for folder in scores.iterdir()] == ["p03"]
    result = materialize(["offline_metrics"], raise_on_error=False)
    assert "preference_scores/p00 is missing" in failure_of(result).error_display_string


@pytest.mark.usefixtures("project")
def test_another_grid_than_the_graphs_is_rejected():
    result = materialize(
        ["preference_scores/p03"],
        overrides={"evaluation.preferences": 5},
        raise_on_error=False,
    )

    words = failure_of(result).error_display_string
    assert "evaluation.preferences makes 5 preferences, but the graph was loaded with 11" in words


@pytest.mark.slow
def test_a_running_experiment_keeps_its_model_and_no_other_takes_its_place(project, finished):
    copytree(finished[0] / STUDY, project / STUDY, dirs_exist_ok=True)
    description = project / STUDY / "conditioned_model/model.json"
    description.write_text(description.read_text("utf-8") + "\n", encoding="utf-8")
    external = {
        "experiment.source": "files",
        "experiment.log_path": f"{STUDY}/experiment_log_files",
    }
    plan = project / STUDY / "traffic_plan/traffic_plan.json"
    served_by = json.loads(plan.read_text("utf-8"))["model"]

    assert materialize(["traffic_plan", "regression_estimates"], overrides=external).success
    assert json.loads(plan.read_text("utf-8"))["model"] == served_by
    rmtree(project / STUDY / KEPT_MODELS)

    for asset, words in {
        "traffic_plan": "is served by model",
        "regression_estimates": "is served by model",
    }.items():
        result = materialize([asset], overrides=external, raise_on_error=False)
        assert words in failure_of(result).error_display_string
    result = materialize(["experiment_log_files"], raise_on_error=False)
    assert "is served by model" in failure_of(result).error_display_string
    assert materialize(["traffic_plan", "experiment_log_files"]).success


@pytest.mark.slow
def test_a_running_experiment_is_ramped_up_and_stopped(project, finished):
    copytree(finished[0] / STUDY, project / STUDY, dirs_exist_ok=True)
    external = {
        "experiment.source": "files",
        "experiment.log_path": f"{STUDY}/experiment_log_files",
    }
    database = project / STUDY / "experiment.duckdb"

    stopped = materialize(
        ["traffic_plan", "experiment_log"], overrides=external | {"experiment.enabled": False}
    )
    rejected = materialize(
        ["traffic_plan"],
        overrides=external | {"experiment.traffic_share": 0.5},
        raise_on_error=False,
    )

    assert stopped.success
    assert summarise(database) == summarise(finished[0] / STUDY / "experiment.duckdb")
    assert "is below the 1.0 of the running experiment" in failure_of(rejected).error_display_string


@pytest.mark.slow
def test_run_config_overrides_the_study(trained):
    materialize(["conditioned_model"], overrides={"training.epochs": 1})

    description = trained / STUDY / "conditioned_model/model.json"
    assert json.loads(description.read_text("utf-8"))["training"]["epochs"] == 1


@pytest.mark.usefixtures("project")
def test_a_log_of_another_shop_is_rejected_before_training():
    result = materialize(["raw_events"], overrides={"synthetic.items": 190}, raise_on_error=False)

    words = failure_of(result).error_display_string
    assert "the model would serve users of another shop than it was trained on" in words


def test_raw_data_version_is_its_md5(project):
    instance = dg.DagsterInstance.ephemeral()

    materialize(["raw_events"], instance=instance)

    event = instance.get_latest_materialization_event(dg.AssetKey("raw_events"))
    version = event.asset_materialization.tags["dagster/data_version"]
    assert version == md5(project / "data/raw/synthetic-shop.jsonl")


def test_only_temporary_errors_are_retried():
    context = dg.build_asset_context()
    file = StudyFile(root=Path(), path=Path("params.yaml"))

    with pytest.raises(dg.RetryRequested), translate_errors(context, file):
        raise OSError(errno.ESTALE, "the network disk was away")
    with pytest.raises(dg.Failure) as failure, translate_errors(context, file):
        raise DataError("bad")
    with pytest.raises(dg.Failure, match="not yours") as refused, translate_errors(context, file):
        raise PermissionError(errno.EACCES, "not yours")

    assert failure.value.allow_retries is refused.value.allow_retries is False
