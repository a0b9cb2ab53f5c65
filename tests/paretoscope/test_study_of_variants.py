"""A study of variants: its table of metrics, and the plan that was made from it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

import paretoscope as ps
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.errors import DataError, MissingArtifact, StudyError
from pipeline.doctor.artifacts import check_artifacts
from pipeline.doctor.finding import Status
from pipeline.experiment.warehouse.connection import URL_VARIABLE
from pipeline.steps.log_validation import validate_log
from pipeline.study import PARAMS_FILE, load_study
from tests.pipeline.experiment.warehouse.tables import create_in_duckdb

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "table",
    [
        "variant,share,recall@20\ncontrol,1,0.30\ntreatment,1,0.37\n",
        "variant,share,recall@20\ncontrol,1,0.30\ntreatment,2,0.36\n",
        "variant,share,recall@20\ncontrol,1,0.30\ntreatment,1,\n",
        "variant,share\ncontrol,1\ntreatment,1\n",
    ],
)
def test_a_table_of_variants_that_changed_after_the_plan_is_never_ignored(
    two_variants_project, table
):
    study = ps.open_study(two_variants_project)
    study.run(until="experiment_log")
    ps.ingest(study)  # unchanged
    (two_variants_project / "variants.csv").write_text(table)

    with pytest.raises(DataError, match=r"variants\.csv"):
        ps.ingest(study)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [{"my_score": [0.1, 0.2]}, {}], ids=["custom metric", "none"])
def test_two_variants_without_declared_hypotheses_have_the_lift_of_every_kpi(
    two_variants, two_variants_project, columns
):
    """The paper's hypotheses are the default; none is tested on a metric that variants do not have."""
    params = two_variants | {"regression": {}}
    (two_variants_project / PARAMS_FILE).write_text(yaml.safe_dump(params))
    table = {"variant": ["control", "treatment"], "share": [1, 1], **columns}
    pl.DataFrame(table).write_csv(two_variants_project / "variants.csv")
    study = ps.open_study(two_variants_project)

    study.run()

    report = study.report().document
    assert report.hypotheses == ()
    assert report.diagnostics.sample_ratio.passed
    lifts = {one.kpi: one for one in report.lifts}
    rows = pl.read_csv(two_variants_project / "log" / "impressions.csv")
    rates = dict(rows.group_by("group").agg(pl.col("clicked").mean()).iter_rows())
    ctr = lifts["ctr"]
    assert (ctr.group, ctr.control) == ("treatment", "control")
    assert ctr.lift == pytest.approx(rates["treatment"] / rates["control"] - 1)
    assert ctr.interval[0] > 0
    assert ctr.anytime.interval[0] < ctr.interval[0] < ctr.interval[1] < ctr.anytime.interval[1]
    assert {one.kpi for one in report.advice} == set(lifts)


@pytest.mark.slow
def test_a_hypothesis_on_a_metric_that_variants_lack_names_the_parameter(
    two_variants, two_variants_project
):
    hypothesis = {"id": "H1", "metric": "order_density", "kpi": "ctr", "direction": "positive"}
    params = two_variants | {"regression": {"hypotheses": [hypothesis]}}
    (two_variants_project / PARAMS_FILE).write_text(yaml.safe_dump(params))

    with pytest.raises(StudyError, match=r"regression\.hypotheses: .*order_density.*recall@20"):
        ps.open_study(two_variants_project).run()


def test_a_control_that_is_no_variant_is_refused_before_any_work(two_variants_project):
    changes = {"regression.advice": {"control": "old"}}
    study = ps.open_study(two_variants_project).override(changes)

    with pytest.raises(StudyError, match="control = old is not a variant; expected one of control"):
        study.run_step("traffic_plan")

    shares = {"experiment.variants": {"control": 1, "treatment": 1}}
    with pytest.raises(StudyError, match="control = old is not a group; expected one of control"):
        study.override(shares)


@pytest.mark.slow
def test_variants_without_metrics_are_named_by_their_shares(two_variants_project):
    changes = {
        "experiment.variants": {"control": 1, "treatment": 1},
        "regression.hypotheses": [],
        "regression.advice": {"control": "control"},
    }
    study = ps.open_study(two_variants_project).override(changes)

    study.run()

    (ctr,) = (one for one in study.report().document.lifts if one.kpi == "ctr")
    rates = dict(study.table("group_kpis").filter(kpi="ctr").select("group", "rate").iter_rows())
    assert ctr.lift == pytest.approx(rates["treatment"] / rates["control"] - 1)
    assert ctr.interval[0] < 1.0 < ctr.interval[1]  # about 2 and 4 of 10 impressions are clicked
    assert (ctr.group, ctr.control) == ("treatment", "control")


@pytest.fixture
def in_warehouse(two_variants, two_variants_project, monkeypatch):
    """Moves the log of the project to a warehouse; returns its rows."""

    def move():
        rows = pl.read_csv(two_variants_project / "log" / "impressions.csv")
        monkeypatch.setenv(URL_VARIABLE, create_in_duckdb(two_variants_project, rows))
        warehouse = {"backend": "duckdb", "impressions": "shop.impressions"}
        experiment = two_variants["experiment"] | {"log_path": None}
        params = two_variants | {"experiment": experiment, "compute": {"warehouse": warehouse}}
        (two_variants_project / PARAMS_FILE).write_text(yaml.safe_dump(params))
        shutil.rmtree(two_variants_project / "log")
        return rows

    return move


def test_the_kpis_of_a_log_in_a_warehouse(two_variants_project, in_warehouse):
    rows = in_warehouse()
    study = ps.open_study(two_variants_project)

    study.run(until="group_kpis")

    found = study.table("group_kpis").filter(kpi="ctr").select("group", "trials", "successes")
    clicks = rows.group_by("group").agg(pl.len(), pl.col("clicked").sum())
    assert sorted(found.rows()) == sorted(clicks.rows())
    parameters = load_study(two_variants_project / PARAMS_FILE)
    valid = validate_log(parameters, StudyPaths(two_variants_project, "two-variants"))
    assert valid.kpis.equals(study.table("group_kpis"))
    with pytest.raises(MissingArtifact, match="no row leaves it; query it there"):
        study.table("experiment_log")


@pytest.mark.slow
def test_the_report_of_a_log_in_a_warehouse(two_variants_project, in_warehouse):
    """It is that of files, but for errors over days: batches of users are others."""
    ps.open_study(two_variants_project).run()
    expected = ps.open_study(two_variants_project).report().document
    in_warehouse()
    study = ps.open_study(two_variants_project)

    study.run()

    report = study.report().document
    parameters = load_study(two_variants_project / PARAMS_FILE)
    paths = StudyPaths(two_variants_project, "two-variants")
    assert {one.status for one in check_artifacts(parameters, paths)} == {Status.OK}
    assert report.group_kpis == expected.group_kpis
    assert report.ingestion.funnel == expected.ingestion.funnel
    assert report.diagnostics.sample_ratio == expected.diagnostics.sample_ratio
    assert [one.interval for one in report.lifts] == [one.interval for one in expected.lifts]


@pytest.mark.slow
def test_dagster_runs_the_study_of_a_log_in_a_warehouse(two_variants_project, in_warehouse):
    """The rules on single impressions are declared for every study, and not run on this one."""
    in_warehouse()

    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "study"],
        cwd=two_variants_project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout
