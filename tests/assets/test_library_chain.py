"""The library has the same asset graph as Dagster."""

import pytest

from assets.definitions import defs
from pipeline.artifacts.storage import StudyPaths, md5
from pipeline.core.asset_graph import ASSET_GRAPH, EVERYTHING, report_assets
from pipeline.steps.run import STEPS, run
from pipeline.study import PARAMS_FILE, load_study


def test_the_graphs_are_equal():
    graph = defs.resolve_asset_graph()

    found = {
        key.path[0]: {parent.path[0] for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }

    of_steps = {asset: set(upstream) for asset, upstream in ASSET_GRAPH.items()}
    assert (
        of_steps | {"rollout_status": set()} == found
    )  # it follows a rollout, whatever a run makes


def test_the_graph_is_in_topological_order():
    done = set()
    for asset, upstream in ASSET_GRAPH.items():
        assert done.issuperset(upstream)
        done.add(asset)


def test_everything_is_the_last_asset_and_all_upstream():
    assert f"*{report_assets(trains=True)[-1]}" == EVERYTHING


def test_every_asset_has_a_step_in_the_same_order():
    assert list(STEPS) == list(ASSET_GRAPH)


@pytest.mark.slow
def test_dagster_and_the_library_write_the_same_bytes(project, finished):
    study = load_study(project / PARAMS_FILE)

    results = run(study, StudyPaths.of(study, project))

    files = {
        file.relative_to(finished[0]): md5(file)
        for file in (finished[0] / "data/studies").rglob("[!.]*")
        if file.is_file() and file.name not in {"experiment.duckdb", "manifest.json"}
    }
    # the bytes of DuckDB's file vary, and the manifest has their md5
    assert {name: md5(project / name) for name in files} == files
    _, dagster_run = finished
    versions = {
        event.asset_key.path[0]: event.materialization.tags["dagster/data_version"]
        for event in dagster_run.get_asset_materialization_events()
        if event.asset_key.path[0] != "preference_scores"
    }
    found = {asset: one.version for asset, one in results.items() if asset in versions}
    assert found == versions
