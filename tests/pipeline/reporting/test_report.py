"""The report's formats say the same, open without a network, and show hostile names as text."""

import re
from itertools import pairwise
from math import expm1

import pytest

from pipeline.artifacts.storage import md5, read_json
from pipeline.reporting.report import write_report
from pipeline.reporting.text.formatting import percent
from pipeline.reporting.text.power_summary import power_lines
from pipeline.reporting.text.reasons import VERDICTS
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.document import Report
from pipeline.results.reasons import Verdict
from pipeline.results.serialization import parse, to_dict
from pipeline.study import PAPER_HYPOTHESES
from tests.pipeline.reporting.conftest import rebuild
from tests.pipeline.reporting.page import Page

HOSTILE = """<img src=x onerror="alert('1')"><script>alert(2)</script>&amp;"""


def written(report, folder):
    """The three faces of a report that is written into a folder."""
    write_report(report, folder)
    return faces_in(folder)


def faces_in(folder):
    """JSON, page, Markdown."""
    page = Page((folder / "index.html").read_text("utf-8"))
    return read_json(folder / "report.json"), page, (folder / "report.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(whole_report, tmp_path_factory):
    """Of one report, not to be changed."""
    folder = tmp_path_factory.mktemp("report")
    write_report(whole_report, folder)
    return folder


@pytest.fixture(scope="module")
def faces(folder):
    """The three faces of that report."""
    return faces_in(folder)


def numbers(words):
    return [float(text.replace(",", "")) for text in re.findall(r"-?\d[\d,]*\.?\d*", words)]


def tables_of(markdown):
    """The rows of each table, its heads first."""
    blocks = [part.splitlines() for part in markdown.split("\n\n") if part.startswith("| ")]
    return [
        [
            [cell.strip() for cell in line.removeprefix("| ").removesuffix(" |").split(" | ")]
            for line in block
            if "---" not in line
        ]
        for block in blocks
    ]


def test_page_and_markdown_have_the_same_tables(faces):
    _, page, markdown = faces

    assert len(page.tables) >= 15
    assert [[[c.strip() for c in row] for row in t] for t in page.tables] == tables_of(markdown)


def test_page_and_markdown_have_the_same_headings_in_order(faces):
    _, page, markdown = faces

    heads = re.findall(r"<h([1-6])[^>]*>(.*?)</h\1>", page.html)
    told = [(str(len(h)), words) for h, words in re.findall(r"^(#+) (.*)$", markdown, re.MULTILINE)]
    assert [head for head in told if head[0] < "4"] == [(n, words) for n, words in heads]
    levels = [int(level) for level, _ in heads]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_the_page_says_what_the_experiment_was_planned_to_show(whole_report, faces):
    _, page, _ = faces

    lines = power_lines(whole_report.experiment.power, whole_report.cutoff)
    assert "\n".join(lines) in page.text
    assert lines[0] == "H1, Recall@20 → click-through rate, if its slope is 1.5:"


def test_json_holds_the_whole_report(whole_report, faces):
    document, _, _ = faces

    assert document == to_dict(whole_report)
    keys = ["id", "metric", "kpi", "slope", "standard_error", "interval", "p_value", "n", "groups"]
    for entry, hypothesis in zip(document["hypotheses"], PAPER_HYPOTHESES, strict=True):
        assert [key for key in keys if key not in entry] == []
        assert (entry["id"], entry["metric"], entry["kpi"]) == (
            hypothesis.id,
            hypothesis.metric,
            hypothesis.kpi.value,
        )
        assert entry["groups"] == 3


def test_table_1_has_the_answers_of_the_json(faces):
    document, page, _ = faces

    for row, entry in zip(page.by_id["hypotheses"][1:], document["hypotheses"], strict=True):
        found = numbers(" | ".join(row[5:]))
        assert row[0] == entry["id"]
        assert row[3] == VERDICTS[Verdict(entry["verdict"])]
        assert row[4] == document["evidence"][entry["id"]]["strength"]
        assert found[:2] == pytest.approx([entry["slope"], entry["standard_error"]], abs=5e-5)
        assert found[2:4] == pytest.approx(entry["interval"], abs=5e-4)
        assert found[-2:] == [entry["n"], entry["groups"]]


def test_the_power_of_the_experiment_stands_beside_each_hypothesis(faces):
    document, page, _ = faces

    for row, entry in zip(page.by_id["power"][1:], document["hypotheses"], strict=True):
        power = entry["minimum_detectable_slope"]
        assert (row[0], numbers(row[2])) == (entry["id"], [pytest.approx(power, abs=5e-5)])
        # x is 0 in the group with the smallest metric
        largest = max(point["x"] for point in entry["points"])
        assert numbers(row[3]) == [pytest.approx(100 * expm1(power * largest), abs=0.051)]


def test_every_chart_has_its_table_and_every_mark_a_row_of_it(faces):
    _, page, _ = faces
    rows = {values["id"] for tag, values in page.tags if tag == "tr" and "id" in values}

    marks = [
        values["aria-labelledby"] for tag, values in page.tags if values.get("class") == "mark"
    ]

    assert set(marks) <= rows
    charts = {"points-H1", "points-H4", "slopes-H1", "front-points", "curves", "lengths"}
    assert charts <= {mark.rpartition("-")[0] for mark in marks}
    front = [mark for mark in marks if mark.startswith("front-points")]
    assert len(front) == len(page.by_id["front-points"]) - 1 == 3


def test_every_id_of_the_page_is_there_once(faces):
    _, page, _ = faces

    ids = [values["id"] for _, values in page.tags if "id" in values]
    assert sorted(ids) == sorted(set(ids))


def test_the_forest_has_every_analysis_of_the_slope(faces):
    document, page, _ = faces
    h1 = document["hypotheses"][0]

    rows = {row[0]: row[1:3] for row in page.by_id["slopes-H1"][1:]}

    assert list(rows) == [
        "naive (i.i.d.)",
        "cluster-robust",
        "small-sample",
        "quasi-binomial",
        "leave-one-out",
        "log link",
    ]
    assert numbers(" ".join(rows["naive (i.i.d.)"])) == pytest.approx(
        [h1["slope"], *h1["interval"]], abs=5e-4
    )
    slopes = h1["leave_one_out"].values()
    assert rows["leave-one-out"][0] == "–"
    ends = numbers(rows["leave-one-out"][1])
    assert ends == pytest.approx([min(slopes), max(slopes)], abs=5e-4)


def test_diagnostics_have_numbers_and_an_outcome(faces):
    _, page, _ = faces

    ratio, weeks, rerandomised, balance = (row[1:] for row in page.by_id["checks"][1:])
    assert ratio[0] == "passed"
    assert "users: 100,000, 100,000, 100,000; p = 1.0000" in ratio[1]
    assert weeks == ["FAILED", "9 days, without an incomplete first or last day"]
    assert rerandomised == [
        "passed",
        f"H1: {percent(0.051)} false positives in 1,000 re-randomisations, p = 0.4000",
    ]
    assert balance == ["not run", "no pre-experiment data"]


def test_every_sentence_of_the_summary_is_on_the_pages(faces):
    document, page, markdown = faces

    assert [re.findall(r"\((H\d),", line)[0] for line in document["summary"]] == [
        "H1",
        "H2",
        "H3",
        "H4",
    ]
    for line in document["summary"]:
        assert line in page.text
        assert line in markdown


def test_page_opens_without_network_and_runs_only_its_own_script(faces):
    _, page, _ = faces

    assert page.open == []  # every tag is closed
    active = {"iframe", "link", "object", "embed", "base", "form", "img"}
    assert active & {tag for tag, _ in page.tags} == set()
    assert [values for tag, values in page.tags if tag == "script"] == [{}]
    (policy,) = [v["content"] for t, v in page.tags if v.get("http-equiv")]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    attributes = [pair for _, values in page.tags for pair in values.items()]
    assert [key for key, _ in attributes if key.startswith("on")] == []
    assert [v for k, v in attributes if k in {"src", "href", "xlink:href"} and v[0] != "#"] == []
    assert set(re.findall(r"https?://[^\"'\s<]+", page.html)) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "@import" not in page.html
    assert page.html.count("url(") == page.html.count("url(#")
    assert len(page.html.encode()) < 3_000_000


def test_hostile_names_stay_text(report, estimate, tmp_path):
    report["study"] = report["experiment"]["plan"]["experiment"] = HOSTILE
    report["experiment"]["how"] = report["provenance"]["code"] = HOSTILE
    report["ingestion"]["rejected"] = report["data"]["events"]["rejected_by_reason"] = {HOSTILE: 1}
    report["experiment"]["plan"]["groups"][0]["name"] = HOSTILE
    for row in (*report["group_kpis"], *(p for h in report["hypotheses"] for p in h["points"])):
        row["group"] = row["group"].replace("g1", HOSTILE)
    report["parameters"]["study"]["name"] = HOSTILE
    (undefined,) = estimate(1, 1000, recall=(0.4, 0.4, 0.4), hypotheses=PAPER_HYPOTHESES[3:])
    report["hypotheses"][3] = to_dict(undefined) | {"metric": HOSTILE}

    _, page, _ = written(rebuild(report), tmp_path)

    assert [tag for tag, _ in page.tags if tag in {"img", "script"}] == ["script"]
    cells = [cell for table in page.tables for row in table for cell in row]
    assert HOSTILE in cells
    assert page.text.count(HOSTILE) >= 10


def test_an_undefined_hypothesis_says_why_and_claims_nothing(report, estimate, tmp_path):
    found = estimate(1.0, 1000, recall=(0.4, 0.4, 0.4), hypotheses=PAPER_HYPOTHESES[:1])
    report["hypotheses"] = [to_dict(one) for one in found]

    document, page, markdown = written(rebuild(report), tmp_path)

    why = "the metric is the same in all groups"
    assert document["summary"] == [f"Recall@20 and click-through rate (H1, undefined): {why}."]
    (row,) = page.by_id["hypotheses"][1:]
    assert row == [
        *("H1", "Recall@20", "click-through rate", f"undefined: {why}", "none"),
        *(["–"] * 8),
        *("3,000", "3"),
    ]
    assert "slopes-H1" not in page.by_id
    assert why in markdown


def test_the_report_names_the_knee_of_the_front(faces):
    _, page, markdown = faces

    assert "The knee is p1" in page.text
    assert "The knee is p1" in markdown


def test_the_report_ranks_metrics_and_calls_ties_ties(faces):
    _, page, _ = faces

    rows = [[row[0], *row[7:10], row[11], row[-1]] for row in page.by_id["explored"][1:]]
    assert rows == [
        ["Recall@20", "0.00", "0.90", percent(0.9, 0), percent(0.0006, 2), "tied"],
        ["MRR@5", "4.40", "0.10", percent(0.1, 0), percent(0.0006, 2), "worse"],
    ]


def test_what_is_unknown_is_a_dash(report, tmp_path):
    names = ("recall_span", "order_density_span", "rank_correlation", "knee")
    report["front"] |= dict.fromkeys(names)
    for row in report["offline_metrics"]:
        row["value"] = None
    for row in report["group_kpis"]:
        row |= {"rate": None, "standard_error": None}
    report["hypotheses"][0]["lack_of_fit"]["p_value"] = None
    unknown = ("curvature", "small_sample", "permutation", "measurement_error", "log_rate")
    report["hypotheses"][0] |= dict.fromkeys((*unknown, "leave_one_out_range"))

    _, page, markdown = written(rebuild(report), tmp_path)

    assert "None" not in page.text
    assert "None" not in markdown
    assert "knee" not in page.text + markdown
    assert "recall spans –, order density –; their rank correlation is –" in page.text
    assert page.by_id["fit"][1][3:] == [*["–"] * 6, "undefined for two groups"]
    assert {(row[3], row[4]) for row in page.by_id["metrics"][1:]} == {("–", "–")}
    assert "no recommendation: the KPI of a group is 0, or its error is unknown" in page.text


def test_the_same_report_gives_the_same_bytes(report, folder, tmp_path):
    write_report(parse(Report, report), tmp_path)

    first, second = ({file.name: md5(file) for file in of.iterdir()} for of in (folder, tmp_path))
    assert first == second
    assert set(first) == {"report.json", "report.md", "index.html"}


def test_what_is_known_of_the_users_is_told(report, faces, tmp_path):
    """CUPED and segments, hostile names as text; where nothing is known, nothing is said."""
    h1 = report["hypotheses"][0]
    test = h1["cluster_robust"] | {"slope": 1.25, "interval": [0.75, 1.75]}
    h1["cuped"] = {"cluster_robust": test, "small_sample": None, "variance_share": 0.4}
    new = {"segment": HOSTILE, "users": 70_000, "test": test, "undefined_reason": None}
    old = {"segment": "old", "users": 9, "test": None, "undefined_reason": "no_successes"}
    slopes = [new | {"opposite_sign": True}, old | {"opposite_sign": False}]
    h1["segments"] = {"slopes": slopes, "cochran_q": 4.0, "p_value": 0.0455}

    _, page, words = written(parse(Report, report), tmp_path)

    (row,) = page.by_id["cuped"][1:]
    assert row[2:] == ["1.2500", "0.750 to 1.750", "–", percent(0.4)]
    first, second = page.by_id["segments"][1:]
    assert (first[1], first[5], first[6]) == (HOSTILE, "opposite sign", "0.0455")
    assert (second[1], second[5]) == ("old", "no trial succeeded")
    assert f"| 1.2500 | 0.750 to 1.750 | – | {percent(0.4)} |" in words
    _, plain, markdown = faces
    assert "Segments of users" in page.text
    assert "Segments of users" not in plain.text
    assert "adjusted for the users" not in markdown


def test_the_sentence_of_a_hypothesis_is_the_summary_s(whole_report):
    assert list(whole_report.summary) == [
        answer_sentence(one, 20) for one in whole_report.hypotheses
    ]
