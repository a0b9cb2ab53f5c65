"""The assets that need a log with the model's lists: skipped with one line where they cannot be used."""

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


LISTS = ("session", "items", "clicked_item", "model")
UNUSABLE = {
    "none": (lambda rows: rows.drop(LISTS), "the log has no lists"),
    "clicks that name no item": (
        lambda rows: rows.drop("clicked_item"),
        "are on no item of their list",
    ),
    "changed by rules": (
        lambda rows: rows.with_columns(pl.col("items").list.reverse()),
        "the model reproduces 0.0% of the logged lists",
    ),
}


@pytest.mark.parametrize(("change", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_lists_that_cannot_be_used_leave_the_report(
    change, reason, finished, tmp_path, monkeypatch
):
    folder = copytree(finished[0], tmp_path / "project")
    monkeypatch.chdir(folder)
    for file in (folder / LOG).glob("*.parquet"):
        change(pl.read_parquet(file)).write_parquet(file)

    result, lines = materialize("experiment_log*")

    done = {event.asset_key.path[0] for event in result.get_asset_materialization_events()}
    assert result.success
    assert any("skipped: " in line and reason in line for line in lines)
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
