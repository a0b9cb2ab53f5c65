"""A study of variants: its table of metrics, and the plan that was made from it."""

import polars as pl
import pytest
import yaml

import paretoscope as ps
from pipeline.core.errors import DataError, StudyError
from pipeline.study import PARAMS_FILE


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
