"""The report on group counts has their results and limitations, and overwrites nothing."""

import json
import re

import polars as pl
import pytest

from pipeline.artifacts.storage import read_json
from pipeline.cli import main
from pipeline.reporting.text.reasons import limitation_sentences
from pipeline.results.decisions import Limitation
from pipeline.results.serialization import parse
from tests.pipeline.reporting.page import Page

HOSTILE = """<img src=x onerror="alert('1')">"""
GROUPS = {
    "group": ["a", "b", "c", HOSTILE],
    "impressions": [100_000] * 4,
    "clicks": [10_000, 10_900, 12_100, 12_800],
    "recall@20": [0.40, 0.44, 0.48, 0.52],
    "r2": [0.1, -3.0, 0.2, 0.3],
}
ORDERS = {"orders": [500, 510, 560, 590]}
USERS = {
    "users": [25_000] * 4,
    "share": [0.25] * 4,
    "ctr_users": [25_000] * 4,
    "ctr_sum_mm": [400_000] * 4,
    "ctr_sum_my": [40_000, 43_600, 48_400, 51_200],
    "ctr_sum_yy": [20_000, 21_800, 24_200, 25_600],
}


@pytest.fixture
def fit(tmp_path):
    """Fits a table with the command, into the folder ``report``; returns the JSON and the page."""

    def run(columns, *words):
        path = tmp_path / "counts.csv"
        pl.DataFrame(columns).write_csv(path)
        folder = tmp_path / "report"
        assert main(["fit", str(path), "--report", str(folder), *words]) == 0
        page = Page((folder / "index.html").read_text("utf-8"))
        return read_json(folder / "report.json"), page

    return run


def table_with(page, header):
    (table,) = [table for table in page.tables if header in table[0]]
    return table[1:]


@pytest.mark.slow
def test_the_page_has_the_numbers_of_the_json(fit):
    document, page = fit(GROUPS | USERS, "--hypothesis", "recall:ctr:+")

    (h1,) = document["hypotheses"]
    (row,) = table_with(page, "cluster-robust CI")
    low, high = h1["cluster_robust"]["interval"]
    assert row[:3] == ["H1", "Recall@20", "click-through rate"]
    assert row[3] == h1["verdict"] == "confirmed"
    headline = h1["headline"]
    assert row[5] == f"{headline['slope']:.4f}"
    assert row[6] == "{:.3f} to {:.3f}".format(*headline["interval"])
    assert row[9] == f"{h1['slope']:.4f}"
    assert row[13] == f"{low:.3f} to {high:.3f}"
    (power,) = table_with(page, "minimum detectable slope")
    assert power[2] == f"± {h1['minimum_detectable_slope']:.4f}"
    assert document["summary"][0] in page.text
    assert "4 groups, 400,000 impressions" in page.text
    assert "users: 25,000, 25,000, 25,000, 25,000; p = 1.0000" in page.text
    assert f"md5 {document['provenance']['counts']['md5']}" in page.text
    assert "--hypothesis recall:ctr:+" in page.text
    groups = {cells[0]: cells[2:4] for cells in table_with(page, "impressions")}
    assert (groups["a"], groups["b"]) == (["100,000", "10,000"], ["100,000", "10,900"])


def test_the_groups_are_in_the_order_of_the_file(fit):
    _, page = fit(GROUPS | {"group": ["9", "10", "control", "1"]})

    assert [row[0] for row in table_with(page, "impressions")] == ["9", "10", "control", "1"]


@pytest.mark.slow
def test_the_page_has_the_limitations(fit):
    document, page = fit(GROUPS, "--hypothesis", "recall:ctr:+")

    (row,) = table_with(page, "cluster-robust CI")
    assert row[13:15] == ["–", "–"]
    assert "users_unknown" in document["evidence"]["H1"]["minor"]
    assert [one["kind"] for one in document["limitations"]] == [
        "association",
        "extrapolation",
        "users_unknown",
        "metric_covariance_unknown",
        "shares_unknown",
        "counts_unknown",
    ]
    for sentence in limitation_sentences(parse(tuple[Limitation, ...], document["limitations"])):
        assert sentence in page.text
    assert "(fails below 0.0005)" not in page.text


def test_a_metric_that_is_negative_in_a_group_is_undefined_on_the_page(fit):
    document, page = fit(GROUPS, "--hypothesis", "r2:ctr:+")

    why = "undefined: the metric is undefined, 0 or negative in a group"
    assert table_with(page, "cluster-robust CI")[0][3] == why
    assert document["summary"][0].endswith(f"{why.partition(': ')[2]}.")
    assert "r2 and click-through rate: undefined, the metric is undefined, 0" in page.text


def test_without_a_hypothesis_the_report_has_the_exploratory_ranking(fit):
    columns = {name: values for name, values in GROUPS.items() if name != "recall@20"}
    document, page = fit(columns | {"mine": [0.40, 0.44, 0.48, 0.52]} | ORDERS)

    assert (document["hypotheses"], document["summary"]) == ([], [])
    assert "No hypothesis is declared" in page.text
    rows = table_with(page, "probability of being best")
    low, high = document["metric_ranking"][0]["interval"]
    assert sorted(row[:2] for row in rows) == [
        [metric, kpi]
        for metric in ("mine", "r2")
        for kpi in ("click-through rate", "orders per impression", "post-click conversion rate")
    ]
    assert rows[0][3] == f"{low:.3f} to {high:.3f}"
    assert "Table 1" not in page.text
    assert "Figure 1" not in page.text


def test_every_metric_is_on_the_page_not_only_the_best(fit):
    more = {f"m{n}": [1.0, 1.1 + n / 9, 1.2, 1.3] for n in range(7)}

    _, page = fit(GROUPS | more)

    # recall, r2 and the seven
    assert len(table_with(page, "probability of being best")) == 9


@pytest.mark.slow
def test_the_page_opens_offline_and_hostile_names_stay_text(fit):
    _, page = fit(GROUPS)

    assert page.open == []
    assert [tag for tag, _ in page.tags if tag in {"img", "script", "link"}] == ["script"]
    assert HOSTILE in [row[0] for row in table_with(page, "impressions")]
    assert set(re.findall(r"https?://[^\"'\s<]+", page.html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_same_counts_give_the_same_report_and_replace_the_old_one(fit, tmp_path):
    fit(GROUPS)
    first = {file.name: file.read_bytes() for file in (tmp_path / "report").iterdir()}
    fit(GROUPS)

    assert {file.name: file.read_bytes() for file in (tmp_path / "report").iterdir()} == first
    assert sorted(first) == ["index.html", "report.json", "report.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts.csv", "report"]


@pytest.mark.slow
def test_a_folder_with_other_files_is_not_replaced(fit, tmp_path, capsys):
    fit(GROUPS)
    (tmp_path / "report" / "notes.txt").write_text("mine", encoding="utf-8")
    counts = str(tmp_path / "counts.csv")

    assert main(["fit", counts, "--report", str(tmp_path / "report")]) == 1
    assert "contains other files (notes.txt), which would be deleted" in capsys.readouterr().err
    assert (tmp_path / "report" / "notes.txt").read_text("utf-8") == "mine"
    assert main(["fit", counts, "--report", counts]) == 1
    assert "cannot write to" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_prints_the_path_of_the_report_or_its_json(fit, tmp_path, capsys):
    fit(GROUPS)
    assert f"report: {tmp_path / 'report' / 'index.html'}" in capsys.readouterr().out

    document, _ = fit(GROUPS, "--json")

    printed = json.loads(capsys.readouterr().out)
    limitations = printed.pop("limitations")  # the report adds the general ones
    assert document["limitations"][-len(limitations) :] == limitations
    assert printed == {name: document[name] for name in printed}
