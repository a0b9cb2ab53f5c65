"""Results as frames, dictionaries, figures and in a notebook."""

import json
from shutil import copytree

import polars as pl
import pytest

import paretoscope as ps
from pipeline.cli import main
from pipeline.core.errors import DataError, StudyError
from pipeline.results.reader import read_report

COUNTS = pl.DataFrame(
    {
        "group": ["A", "B", "C", "D"],
        "share": [1, 1, 1, 1],
        "users": [2_000, 2_010, 1_990, 2_005],
        "impressions": [10_000, 10_000, 10_000, 10_000],
        "clicks": [1_000, 1_050, 1_110, 1_135],
        "orders": [90, 80, 85, 70],
        "recall@20": [0.40, 0.42, 0.44, 0.46],
        "od@20": [0.060, 0.058, 0.056, 0.054],
    }
)
HYPOTHESES = ["recall@20:ctr:+", "od@20:cvr:+"]


@pytest.fixture
def printed(tmp_path, capsys):
    """The JSON that ``paretoscope fit`` prints for the counts."""
    COUNTS.write_csv(tmp_path / "counts.csv")
    words = [word for text in HYPOTHESES for word in ("--hypothesis", text)]
    assert main(["fit", str(tmp_path / "counts.csv"), "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["polars", "pandas", "CSV"])
def test_a_fit_is_the_commands_json(kind, printed, tmp_path):
    source = {"polars": COUNTS, "pandas": COUNTS.to_pandas(), "CSV": tmp_path / "counts.csv"}[kind]

    fit = ps.fit(source, HYPOTHESES)

    assert fit.to_dict() == printed


@pytest.mark.slow
def test_a_fit_is_a_frame_a_figure_and_html():
    fit = ps.fit(COUNTS, HYPOTHESES, level=0.9)

    frame = fit.to_frame()
    assert frame["id"].to_list() == ["H1", "H2"]
    assert frame["n"].to_list() == [COUNTS["impressions"].sum(), COUNTS["clicks"].sum()]
    for row, one in zip(frame.iter_rows(named=True), fit.hypotheses, strict=True):
        assert (row["ci_low"], row["ci_high"]) == one.headline.quoted
        assert one.headline.level == 0.9
    figure = fit.figure()
    assert len(figure.matplotlib.axes) >= 2
    assert figure._repr_svg_().startswith("<svg")
    html = fit._repr_html_()
    assert "<svg" in html
    assert "H2" in html


def test_a_figure_can_be_saved(tmp_path):
    ps.fit(COUNTS, HYPOTHESES).figure().save(tmp_path / "figure.png")

    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_counts_say_what_is_wrong():
    with pytest.raises(DataError, match="the frame has no column clicks; expected"):
        ps.fit(COUNTS.drop("clicks"), HYPOTHESES)
    with pytest.raises(StudyError, match="'recall:ctr': write METRIC:KPI:SIGN"):
        ps.fit(COUNTS, ["recall:ctr"])
    with pytest.raises(DataError, match="list is not a table; expected a polars or pandas"):
        ps.fit([1, 2], HYPOTHESES)


def test_a_fit_has_a_report(tmp_path):
    fit = ps.fit(COUNTS, HYPOTHESES)

    report = ps.report(fit, tmp_path / "report")

    assert report.page.read_text("utf-8").count("<svg") >= 2
    assert read_report(report.page.with_name("report.json")) == report.document
    assert report.hypotheses == fit.hypotheses
    with pytest.raises(DataError, match="needs a folder"):
        ps.report(fit)


def test_metrics_of_ranks_and_lists():
    ranks = pl.DataFrame({"session": ["a", "a", "b"], "rank": [1, 30, 2]})
    lists = pl.DataFrame({"session": [1, 2], "items": [["a", "b"], ["a", "c"]]})

    found = ps.evaluate(ranks.to_pandas(), ["recall", "recall@1"], k=20)

    assert found.to_frame()["value"].to_list() == [2 / 3, 1 / 3]
    assert [row["metric"] for row in found.to_dict()] == ["recall", "recall@1"]
    assert "recall@1" in found._repr_html_()
    with pytest.raises(DataError, match="expected session and rank, or session and items with a"):
        ps.evaluate(lists, ["catalogue_coverage"])
    with pytest.raises(DataError, match="functions are metrics of ranks"):
        ps.evaluate(lists, [len], catalogue=pl.DataFrame({"item": ["a", "b", "c"]}))


@pytest.mark.slow
def test_a_plan_has_groups_power_and_figures(study):
    plan = ps.plan(study)

    found = plan.to_dict()
    assert plan.to_frame()["group"].to_list() == [one["name"] for one in found["plan"]["groups"]]
    assert [one["id"] for one in found["power"]["hypotheses"]] == ["H1", "H2", "H3", "H4"]
    assert plan.power_figure()._repr_svg_().startswith("<svg")
    assert "<svg" in plan._repr_html_()


def test_variants_have_a_plan_without_power(two_variants_project):
    plan = ps.plan(ps.open_study(two_variants_project))

    assert plan.to_frame()["share"].to_list() == [0.5, 0.5]
    assert plan.to_dict()["power"] is None
    assert plan.figure() is None
    assert "treatment" in plan._repr_html_()


@pytest.mark.slow
def test_an_ingested_log_counts_its_rejected_rows(study):
    log = next((study.paths.folder / "experiment_log_files").glob("*.parquet"))
    rows = pl.read_parquet(log)
    pl.concat(
        [rows, rows.with_columns(impression=pl.lit("x"), group=pl.lit("g9"))[:3]]
    ).write_parquet(log)

    result = ps.ingest(study)

    assert result.to_frame().filter(reason="unknown group")["rows"].to_list() == [3]
    assert result.to_dict()["files_read"] > 0
    assert f"{result.step.value.impressions:,} impressions" in result._repr_html_()


@pytest.mark.slow
def test_the_report_of_a_study_is_what_the_step_wrote(study):
    assert ps.report(study).document == study.report().document
    assert study.report().document.summary[0] in study.report()._repr_html_()


@pytest.mark.slow
def test_two_studies_are_pooled_and_compared(study, tmp_path):
    again = study.override({"study.name": "again", "experiment.name": "again", "study.seed": 2})
    copytree(study.paths.folder, again.paths.folder)
    for step in ("traffic_plan", "experiment_log_files", "experiment_log", "group_kpis"):
        again.run_step(step)
    for step in ("regression_estimates", "regression_report"):
        again.run_step(step)

    pooled = ps.meta_analysis([study, again], gain=0.01)
    compared = ps.compare([study.name, again])

    frame = pooled.to_frame()
    assert frame["studies"].max() == 2
    assert pooled.to_dict()["hypotheses"][0]["metric"] == frame["metric"][0]
    slopes = {one.study: one.slope for one in compared.document.hypotheses[0].studies}
    assert slopes["again"] == again.report().hypotheses[0].slope
    assert compared.to_frame().height == 2 * len(compared.document.hypotheses)
    assert compared.figure()._repr_svg_().startswith("<svg")
    assert compared.write(tmp_path / "comparison").exists()
    assert "again" in compared._repr_html_()
    assert "recall" in pooled._repr_html_()
