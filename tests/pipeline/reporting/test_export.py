"""A report's tables as files: nothing is lost, nothing becomes a formula, no other file is deleted."""

import json
import re
import zipfile
from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.core.errors import DataError
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.reporting.export import WORKBOOK, TableFormat, write_tables
from pipeline.reporting.report import build_counts_report, write_new_report
from pipeline.reporting.tables import report_tables
from pipeline.reporting.text.message import answer_lines, message_lines
from pipeline.results.reader import read_report
from tests.pipeline.reporting.truths import TWO, report_of

HOSTILE = [
    "=cmd|'/C calc'!A0",
    "+1",
    "@SUM(1)",
    "-2",
    "https://example.org",
    "<b>&\nMetrics: nothing",
]
COUNTS = {
    "group": HOSTILE,
    "impressions": [10_000] * 6,
    "clicks": [1000, 1050, 1110, 1135, 1160, 1210],
    "users": [10_000] * 6,
    "auc": [0.60, 0.61, 0.62, 0.63, 0.64, 0.65],
}
EVERY_FORMAT = list(TableFormat)


@pytest.fixture
def source(tmp_path):
    """The report.json of six groups with hostile names."""
    counts = tmp_path / "counts.csv"
    pl.DataFrame(COUNTS).write_csv(counts)
    found = fit_counts(counts, [parse_hypothesis("auc:ctr:+", 1)], level=0.95, seed=0)
    write_new_report(build_counts_report(found, counts), tmp_path / "findings")
    return tmp_path / "findings" / "report.json"


@pytest.fixture
def tables(source):
    return report_tables(read_report(source))


def test_the_tables_hold_the_counts_and_the_headline(source, tables):
    kpis = tables["group_kpis"].filter(pl.col("kpi") == "ctr")
    assert dict(kpis.select("group", "successes").iter_rows()) == dict(
        zip(HOSTILE, COUNTS["clicks"], strict=True)
    )
    (one,) = tables["hypotheses"].to_dicts()
    headline = read_report(source).hypotheses[0].headline
    assert (one["slope"], one["slope_low"], one["slope_high"]) == (
        headline.slope,
        *headline.interval,
    )
    assert one["verdict"] == read_report(source).hypotheses[0].verdict.value


def test_parquet_holds_the_same_table_and_csv_no_formula(source, tables, tmp_path):
    files = write_tables(tables, tmp_path / "out", EVERY_FORMAT, source)
    for name, frame in tables.items():
        assert_frame_equal(pl.read_parquet(tmp_path / "out" / f"{name}.parquet"), frame)
    groups = pl.read_csv(tmp_path / "out" / "group_kpis.csv", infer_schema=False)["group"]
    assert set(groups) == {"'=cmd|'/C calc'!A0", "'+1", "'@SUM(1)", "'-2", *HOSTILE[4:]}
    assert files == [tmp_path / "out" / name for name in contents(tmp_path / "out")]


def test_a_study_with_a_front_is_exported_in_every_format(source, whole_report, tmp_path):
    tables = report_tables(whole_report)
    write_tables(tables, tmp_path / "out", EVERY_FORMAT, source)
    for name in tables:
        assert (tmp_path / "out" / f"{name}.csv").read_text("utf-8")
    (first, *_) = tables["front"].to_dicts()
    metrics = whole_report.front.points[0].metrics
    assert {name: first[name] for name in metrics} == metrics


@pytest.mark.parametrize("content", ["{}", "[]", '{"files": 3}'])
def test_an_export_json_of_somebody_else_is_not_deleted(source, tables, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "export.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"other files \(export\.json\)"):
        write_tables(tables, tmp_path / "out", [TableFormat.CSV], source)
    assert (tmp_path / "out" / "export.json").read_text("utf-8") == content


def contents(folder):
    return json.loads((folder / "export.json").read_text("utf-8"))["files"]


def test_the_workbook_has_a_sheet_per_table_and_no_formula_or_link(source, tables, tmp_path):
    write_tables(tables, tmp_path / "out", [TableFormat.XLSX], source)
    with zipfile.ZipFile(tmp_path / "out" / WORKBOOK) as book:
        names = book.namelist()
        sheets = [book.read(name).decode() for name in names if name.startswith("xl/worksheets/")]
        listed = re.findall(r'<sheet name="(\w+)"', book.read("xl/workbook.xml").decode())
        texts = book.read("xl/sharedStrings.xml").decode()
    assert listed == list(tables)
    assert not any("<f>" in sheet or "<hyperlink" in sheet for sheet in sheets)
    assert "=cmd|'/C calc'!A0" in texts
    assert "&lt;b&gt;&amp;" in texts


def test_the_same_report_gives_the_same_bytes(source, tables, tmp_path):
    for name in ("one", "two"):
        write_tables(tables, tmp_path / name, EVERY_FORMAT, source)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_an_older_export_is_replaced_and_no_other_file_deleted(source, tables, tmp_path):
    out = tmp_path / "out"
    write_tables(tables, out, EVERY_FORMAT, source)
    write_tables(tables, out, [TableFormat.CSV], source)
    assert {file.suffix for file in out.iterdir()} == {".csv", ".json"}
    (out / "mine.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"mine\.csv.*--out"):
        write_tables(tables, out, [TableFormat.CSV], source)
    assert (out / "mine.csv").exists()


def test_a_sum_beyond_64_bits_is_a_decimal(source):
    document = json.loads(source.read_text("utf-8"))
    document["group_kpis"][0]["sum_yy"] = 2**70
    source.write_text(json.dumps(document), encoding="utf-8")
    column = report_tables(read_report(source))["group_kpis"]["sum_yy"]
    assert column[0] == float(2**70)


def test_the_message_has_five_lines_without_a_line_break(source):
    lines = message_lines(read_report(source), "findings/index.html")
    assert len(lines) == 5
    assert not any("\n" in line for line in lines)
    assert lines[0] == "Paretoscope, counts.csv: 6 groups, 60,000 impressions"
    assert lines[1].startswith("Metrics: higher auc, higher click-through rate: confirmed (")
    assert re.match(r"Ship: .+ against .+: click-through rate \+[\d.]+% \(", lines[2])
    assert lines[4] == "Report: findings/index.html"


def test_without_hypotheses_the_answer_is_every_lift_and_one_line_on_what_to_ship(tmp_path):
    report = report_of(TWO, (), tmp_path, control="A")
    bare = replace(report, hypotheses=(), summary=())

    *lifts, ship = answer_lines(bare)

    assert lifts[0].startswith("click-through rate: B against A: +9% (95% CI ")
    assert len(lifts) == len(report.lifts) >= 3
    assert ship.startswith("Ship: B against A: click-through rate +")
    assert "; no recommendation: post-click conversion rate, orders per impression" in ship


def test_the_message_says_first_that_users_are_simulated_and_that_a_check_failed(source):
    document = json.loads(source.read_text("utf-8"))
    document["limitations"].append({"kind": "simulated"})
    ratio = {
        "users": [1],
        "expected": [1.0],
        "p_value": 0.0,
        "e_value": 9.0,
        "largest_e_value": 9.0,
    }
    document["diagnostics"]["sample_ratio"] = {"passed": False, **ratio}
    source.write_text(json.dumps(document), encoding="utf-8")
    lines = message_lines(read_report(source), "page")
    assert lines[0].endswith("(simulated users, not yours)")
    assert lines[3].startswith("Checks: FAILED: users per group match the planned shares")
