"""Metadata and checks that the UI shows of a finished study, and of a rejected artifact."""

import json
import re
from datetime import date

import dagster as dg
import polars as pl
import pytest

from assets.checks import check_results, diagnostic_results, diagnostic_rows
from assets.definitions import defs
from assets.resources import StudyResource
from pipeline.quality.expectation import CheckResult, forbid_rows
from pipeline.results.diagnostics import (
    AaRerandomisation,
    AaTest,
    CompleteDays,
    Diagnostics,
    Replicates,
    SampleRatio,
)

STUDY = "data/studies/synthetic-shop"
CORNERS = {
    f"{axis}, {corner}-only endpoint"
    for axis in ("recall", "order_density")
    for corner in ("click", "order")
}
TRACKED = {
    "conditioned_model": {"best validation hypervolume"},
    "offline_metrics": CORNERS,
    "pareto_front": {"hypervolume", "recall span", "order density span", *CORNERS},
    "regression_estimates": {
        "slope of H1: ctr on recall",
        "slope of H2: cvr on order_density",
        "slope of H3: orders_per_impression on recall_order_density",
        "slope of H4: cvr on recall",
        "sample ratio p",
        "sample ratio e-value",
    },
}
"""Numbers that the UI plots over runs, under stable names."""


@pytest.fixture(scope="module")
def metadata(finished) -> dict[str, dict[str, dg.MetadataValue]]:
    """Of every asset, in reading order."""
    _, result = finished
    events = [event.materialization for event in result.get_asset_materialization_events()]
    return {one.asset_key.to_user_string(): dict(one.metadata) for one in events}


@pytest.mark.slow
@pytest.mark.parametrize(
    "asset",
    [
        *("sessions", "conditioned_model", "pareto_front", "traffic_plan"),
        *("regression_estimates", "regression_report"),
    ],
)
def test_the_figure_comes_first(metadata, asset):
    name, figure = next(iter(metadata[asset].items()))

    assert name == "figure"
    assert isinstance(figure, dg.MarkdownMetadataValue)
    assert "](data:image/png;base64,iVBOR" in (figure.md_str or "")


@pytest.mark.slow
def test_tracked_numbers_are_floats_under_stable_names(metadata):
    found = {
        asset: {name for name, value in metadata[asset].items() if isinstance(value.value, float)}
        for asset in TRACKED
    }
    timing = {
        name for name in set().union(*found.values()) if re.fullmatch("seconds|.* per second", name)
    }

    assert all("seconds" in names for names in found.values())
    assert {asset: names - timing for asset, names in found.items()} == TRACKED


@pytest.mark.slow
def test_numbers_and_row_counts_are_those_of_the_artifacts(finished, metadata):
    folder = finished[0] / STUDY
    front = pl.read_parquet(folder / "pareto_front/pareto_front.parquet")
    summary = json.loads((folder / "pareto_front/summary.json").read_text("utf-8"))
    clicks_only = front.filter(pl.col("preference").list.get(0) == 1.0)

    assert metadata["pareto_front"]["hypervolume"].value == summary["hypervolume"]
    assert (
        metadata["pareto_front"]["recall, click-only endpoint"].value
        == clicks_only["recall"].item()
    )
    for table in ("events", "offline_metrics", "pareto_front", "group_kpis"):
        rows = pl.read_parquet(folder / table / f"{table}.parquet").height
        assert metadata[table]["dagster/row_count"].value == rows


@pytest.mark.slow
def test_a_rejected_artifact_shows_the_rows_that_break_a_rule(project):
    raw = project / "data/raw/synthetic-shop.jsonl"
    order = {"aid": 1, "ts": 1756684900052, "type": "orders"}
    raw.write_text(json.dumps({"session": 1, "events": [order]}) + "\n", encoding="utf-8")
    instance = dg.DagsterInstance.ephemeral()

    dg.materialize(
        list(defs.assets or ()),
        selection="events",
        instance=instance,
        resources={"study": StudyResource()},
        raise_on_error=False,
    )

    def evaluation(check):
        key = dg.AssetCheckKey(dg.AssetKey("events"), check)
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=5)
        return record.evaluation

    broken, passed = evaluation("clicks_present"), evaluation("events_unique")
    assert not broken.passed
    assert broken.severity is dg.AssetCheckSeverity.ERROR
    assert broken.metadata["rows that break the rule"].records == [dg.TableRecord({"clicks": 0})]
    assert broken.description.startswith("clicks_present: expected that at least one event")
    assert passed.passed


def test_rows_become_a_table_of_the_scalar_columns():
    rule = forbid_rows("r", "nothing is odd", "t", "odd", blocking=False)
    rows = ({"id": 1, "day": None, "list": [1]}, {"id": 2, "day": True, "list": []})
    broken = CheckResult(rule=rule, passed=False, unexpected=7, sample=("a", "b"), rows=rows)

    (result,) = check_results([broken])

    assert result.severity is dg.AssetCheckSeverity.WARN
    assert result.metadata["unexpected rows"].value == 7
    assert [record.data for record in result.metadata["rows that break the rule"].records] == [
        {"id": 1, "day": ""},
        {"id": 2, "day": True},
    ]


def test_diagnostics_are_tables_by_hypothesis_group_or_day():
    test = AaTest(passed=True, divisions=20, false_positives=0.05, p_value=0.2)
    by_hypothesis = AaRerandomisation(passed=True, hypotheses={"H1": test, "H2": None})
    ratio = SampleRatio(
        passed=False,
        users=(10, 30),
        expected=(20.0, 20.0),
        p_value=0.002,
        e_value=2.0,
        largest_e_value=2.0,
    )
    days = CompleteDays(passed=False, days=2, missing=(date(2025, 10, 3),))

    assert [row.get("p_value") for row in diagnostic_rows(by_hypothesis)] == [0.2, None]
    assert diagnostic_rows(ratio) == [
        {"users": 10, "expected": 20.0},
        {"users": 30, "expected": 20.0},
    ]
    assert diagnostic_rows(days) == [{"missing": "2025-10-03"}]
    without_data = Replicates(passed=None, kpis={})
    results = diagnostic_results(
        Diagnostics(sample_ratio=ratio, pre_experiment_balance=without_data)
    )
    found = {one.check_name: one for one in results}
    shown, skipped = found["sample_ratio"], found["pre_experiment_balance"]
    assert shown.severity is dg.AssetCheckSeverity.ERROR
    assert not shown.passed
    assert shown.description is None
    assert skipped.description == "not run: the log does not contain the data for it"


def test_a_blocking_rule_warns_only_where_the_study_waives_it():
    rule = forbid_rows("apart", "splits lie apart", "t", "TRUE")
    broken = CheckResult(rule=rule, passed=False, unexpected=1, sample=("a",))

    (enforced,), (waived,) = check_results([broken]), check_results([broken], waived={"apart"})

    assert enforced.severity is dg.AssetCheckSeverity.ERROR
    assert waived.severity is dg.AssetCheckSeverity.WARN
