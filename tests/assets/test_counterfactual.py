"""The assets that need a log with lists: skipped with one line where it has none, or too few clicks."""

from shutil import copytree

import dagster as dg
import polars as pl
import pytest

from assets.definitions import defs
from assets.resources import StudyResource

LOG = "data/studies/synthetic-shop/experiment_log_files"

pytestmark = pytest.mark.slow


def materialize(selection):
    instance = dg.DagsterInstance.ephemeral()
    result = dg.materialize(
        list(defs.assets or []),
        selection=selection,
        instance=instance,
        resources={"study": StudyResource()},
        raise_on_error=False,
    )
    lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    return result, lines


def test_a_log_without_lists_updates_the_report_and_skips_the_others(
    finished, tmp_path, monkeypatch
):
    folder = copytree(finished[0], tmp_path / "project")
    monkeypatch.chdir(folder)
    for file in (folder / LOG).glob("*.parquet"):
        pl.read_parquet(file).drop("session", "items", "clicked_item", "model").write_parquet(file)

    result, lines = materialize("experiment_log*")

    done = {event.asset_key.path[0] for event in result.get_asset_materialization_events()}
    assert result.success
    assert any("skipped: the log has no lists" in line for line in lines)
    assert done == {"experiment_log", "group_kpis", "regression_estimates", "regression_report"}
    assert not (folder / "data/studies/synthetic-shop/paired_lists").exists()


def test_a_log_of_few_clicks_skips_the_estimates(finished, tmp_path, monkeypatch):
    """The small study's lists can be paired; its clicks are too few for an examination curve."""
    folder = copytree(finished[0], tmp_path / "project")
    monkeypatch.chdir(folder)

    result, lines = materialize("paired_lists*")

    done = {event.asset_key.path[0] for event in result.get_asset_materialization_events()}
    assert result.success
    assert done == {"paired_lists"}
    (line,) = [line for line in lines if "skipped:" in line]
    assert "an examination curve needs 3 pairs of positions with 10 clicks at both" in line
