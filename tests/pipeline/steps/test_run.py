"""The chain without Dagster: which steps run, and what each reads."""

from collections import Counter
from pathlib import Path
from shutil import copytree

import polars as pl
import pytest

from pipeline.artifacts.storage import ASSET_PATHS, StudyPaths
from pipeline.core.asset_graph import ASSET_GRAPH, OPTIONAL, report_assets
from pipeline.core.errors import MissingArtifact, StudyError
from pipeline.steps.run import run_step, steps_until
from pipeline.study import PARAMS_FILE, load_study

VARIANTS = {
    "experiment.variants": "variants.csv",
    "experiment.source": "files",
    "experiment.log_path": "log",
}


@pytest.fixture
def opened(finished_study, tmp_path):
    """A copy of the finished study."""
    copytree(finished_study, tmp_path, dirs_exist_ok=True)
    study = load_study(tmp_path / PARAMS_FILE)
    return study, StudyPaths.of(study, tmp_path)


def test_the_last_asset_needs_all_others(project_root):
    study = load_study(project_root / PARAMS_FILE)

    assert steps_until(study, "regression_report") == list(report_assets(trains=True))
    assert steps_until(study, "sessions") == ["raw_events", "events", "sessions"]


def test_a_study_of_variants_begins_with_its_plan(project_root):
    study = load_study(project_root / PARAMS_FILE, VARIANTS)

    steps = steps_until(study, "group_kpis")

    assert steps == ["traffic_plan", "experiment_log_files", "experiment_log", "group_kpis"]
    with pytest.raises(StudyError, match="'sessions' is not an asset of synthetic-shop; expected"):
        steps_until(study, "sessions")


def test_an_unknown_asset_is_an_error_that_lists_all(opened):
    with pytest.raises(StudyError, match="'reprot' is not an asset; expected one of raw_events"):
        run_step("reprot", *opened)


def test_a_missing_artifact_names_the_command(opened):
    study, paths = opened
    paths.artifact("pareto_front", "pareto_front.parquet").unlink()

    with pytest.raises(MissingArtifact, match="--select pareto_front"):
        run_step("traffic_plan", study, paths)


@pytest.mark.slow
@pytest.mark.parametrize("asset", [*report_assets(trains=True), "paired_lists"])
def test_a_step_reads_every_table_once(asset, opened, monkeypatch):
    study, paths = opened
    read: Counter[Path] = Counter()
    read_parquet = pl.read_parquet

    def counted(path, *args, **kwargs):
        read[Path(path)] += 1
        return read_parquet(path, *args, **kwargs)

    monkeypatch.setattr(pl, "read_parquet", counted)
    result = run_step(asset, study, paths)

    assert result.asset == asset
    assert {path.name: times for path, times in read.items() if times > 1} == {}


@pytest.mark.slow
@pytest.mark.parametrize("asset", [*report_assets(trains=True), "paired_lists"])
def test_a_step_is_derived_from_every_artifact_that_it_asks_for(asset, opened, monkeypatch):
    """Dagster orders the steps of a run by what they are derived from."""
    study, paths = opened
    asked: set[str] = set()
    artifact = StudyPaths.artifact

    def noted(self, name, file=None):
        asked.add(name.split("/", maxsplit=1)[0])
        return artifact(self, name, file)

    monkeypatch.setattr(StudyPaths, "artifact", noted)
    run_step(asset, study, paths)

    folders = {path: name for name, path in ASSET_PATHS.items()}
    read = {folders.get(name, name) for name in asked} & set(ASSET_GRAPH)
    # the optional ones say something where they exist, and are waited for by nobody
    assert read - set(OPTIONAL) <= {*ASSET_GRAPH[asset], asset}


@pytest.mark.slow
def test_the_same_artifacts_give_the_same_version(opened):
    first, again = (run_step("group_kpis", *opened) for _ in range(2))

    assert first.version == again.version
    assert first.checks
    assert all(check.passed for check in first.checks)
