"""The report's faces say the same, open without a network, and show hostile names as text."""

import re
from math import exp

import pytest

from pipeline.reporting.planned import power_lines
from pipeline.reporting.answer import sentence
from pipeline.reporting.report import write_report
from pipeline.storage import md5, read_json
from pipeline.study import PAPER_HYPOTHESES
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


def table_1_of(markdown):
    lines = markdown.split("## Table 1")[1].split("\n\n")[1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_page_says_what_the_experiment_was_planned_to_show(whole_report, faces):
    _, page, _ = faces

    lines = power_lines(whole_report["experiment"]["power"], whole_report["cutoff"])
    assert "\n".join(lines) in page.text
    assert lines[0] == "H1, Recall@20 → click-through rate, if its slope is 1.5:"


def test_json_holds_the_whole_report(whole_report, faces):
    document, _, _ = faces

    assert document == whole_report
    keys = ["id", "metric", "kpi", "slope", "standard_error", "interval", "p_value", "n", "groups"]
    for entry, hypothesis in zip(document["hypotheses"], PAPER_HYPOTHESES, strict=True):
        assert [key for key in keys if key not in entry] == []
        assert (entry["id"], entry["metric"], entry["kpi"]) == (
            hypothesis.id,
            hypothesis.metric,
            hypothesis.kpi.value,
        )
        assert entry["groups"] == 3


@pytest.mark.parametrize("face", ["page", "markdown"])
def test_every_number_of_table_1_is_the_json_s(faces, face):
    document, page, markdown = faces

    rows = page.tables[0][1:] if face == "page" else table_1_of(markdown)

    for row, entry in zip(rows, document["hypotheses"], strict=True):
        clustered = entry["user_clustered"]
        found = numbers(" | ".join(row[3:13]))
        few = entry["few_groups"]["hartung_knapp"]
        assert row[0] == entry["id"]
        assert found[:2] == pytest.approx([entry["slope"], entry["standard_error"]], abs=5e-5)
        assert found[2:4] == pytest.approx(entry["interval"], abs=5e-4)
        assert found[5:7] == pytest.approx(clustered["interval"], abs=5e-4)
        assert found[9:11] == pytest.approx(few["interval"], abs=5e-4)
        p_values = (
            (4, 6, entry["p_value"]),
            (7, 8, clustered["p_value"]),
            (8, 9, entry["holm_p_value"]),
        )
        for printed, cell, p in p_values:
            if row[cell].startswith("<"):
                assert p < found[printed] == 1e-4
            else:
                assert found[printed] == pytest.approx(p, abs=5e-5)
        assert found[11:] == [entry["n"], entry["groups"]]
        assert row[13].startswith(entry["verdict"])


def test_the_power_of_the_experiment_stands_beside_each_hypothesis(faces):
    document, page, markdown = faces
    trust = markdown.split("| detectable slope |")[1].split("\n\n")[0].splitlines()[2:]

    for row, line, entry in zip(page.tables[1][1:], trust, document["hypotheses"], strict=True):
        power = entry["detectable_slope"]
        assert (row[0], numbers(row[2])) == (entry["id"], [pytest.approx(power, abs=5e-5)])
        assert numbers(line.split(" ± ")[1]) == [pytest.approx(power, abs=5e-5)]
        # x is 0 in the group with the smallest metric
        largest = max(point["x"] for point in entry["points"])
        assert numbers(row[3]) == [pytest.approx(100 * (exp(power * largest) - 1), abs=0.051)]
        assert numbers(row[4]) + numbers(row[5]) == [entry["n"], entry["trials_to_settle"]]


def test_counts_and_rates_of_the_groups_are_the_json_s(faces):
    document, page, _ = faces
    cells = {(row["group"], row["kpi"]): row for row in document["group_kpis"]}

    _, *rows = page.tables[4]
    assert [row[0] for row in rows] == ["g1", "g2", "g3"]
    for row in rows:
        ctr, cvr = cells[row[0], "ctr"], cells[row[0], "cvr"]
        counts = [ctr["users"], ctr["trials"], ctr["successes"], cvr["successes"]]
        assert numbers(" | ".join(row[2:6])) == counts
        assert numbers(row[7]) == pytest.approx([ctr["rate"], ctr["standard_error"]], abs=5e-5)


def test_every_sentence_of_the_summary_is_on_the_pages(faces):
    document, page, markdown = faces

    assert [line.split(",")[0] for line in document["summary"]] == ["H1", "H2", "H3", "H4"]
    for line in document["summary"]:
        assert line in page.text
        assert f"- {line}\n" in markdown


def test_page_opens_without_network_and_runs_no_script(faces):
    _, page, _ = faces

    assert page.open == []  # every tag is closed
    active = {"script", "iframe", "link", "object", "embed", "base", "form", "img"}
    assert active & {tag for tag, _ in page.tags} == set()
    attributes = [pair for _, values in page.tags for pair in values.items()]
    assert [key for key, _ in attributes if key.startswith("on")] == []
    assert [v for k, v in attributes if k in {"src", "href", "xlink:href"} and v[0] != "#"] == []
    assert set(re.findall(r"https?://[^\"'\s<]+", page.html)) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "@import" not in page.html
    assert page.html.count("url(") == page.html.count("url(#")


def test_hostile_names_stay_text(report, estimate, tmp_path):
    report["study"] = report["experiment"]["plan"]["experiment"] = HOSTILE
    report["experiment"]["how"] = report["provenance"]["code"] = HOSTILE
    report["ingestion"]["rejected"] = report["data"]["events"]["rejected_by_reason"] = {HOSTILE: 1}
    report["experiment"]["plan"]["groups"][0]["name"] = HOSTILE
    for row in (*report["group_kpis"], *(p for h in report["hypotheses"] for p in h["points"])):
        row["group"] = row["group"].replace("g1", HOSTILE)
    report["parameters"]["study"]["name"] = HOSTILE
    (undefined,) = estimate(1, 1000, recall=(0.4, 0.4, 0.4), hypotheses=PAPER_HYPOTHESES[3:])
    report["hypotheses"][3] = undefined | {"undefined_because": HOSTILE}
    report["summary"][3] = sentence(report["hypotheses"][3], 20)

    _, page, _ = written(report, tmp_path)

    assert {"img", "script"} & {tag for tag, _ in page.tags} == set()
    shown = [cell for table in page.tables for row in table for cell in row if HOSTILE in cell]
    assert shown == [f"undefined: {HOSTILE}", HOSTILE]  # the hypothesis and the group
    assert page.text.count(HOSTILE) >= 10


def test_an_undefined_hypothesis_says_why_and_claims_nothing(report, estimate, tmp_path):
    report["hypotheses"] = estimate(
        1.0, 1000, recall=(0.4, 0.4, 0.4), hypotheses=PAPER_HYPOTHESES[:1]
    )
    report["summary"] = [sentence(report["hypotheses"][0], 20)]

    _, page, markdown = written(report, tmp_path)

    why = "undefined: the metric is the same in all groups"
    assert report["summary"][0].endswith(f"is {why}.")
    assert page.tables[0][1] == [
        "H1",
        "Recall@20",
        "click-through rate",
        why,
        "3,000",
        "3",
        "undefined",
    ]
    assert table_1_of(markdown)[0][3:] == ["–"] * 8 + ["3000", "3", why]


def test_the_report_names_the_knee_of_the_front(faces):
    _, page, markdown = faces

    assert "The knee is p1" in page.text
    assert "The knee is p1" in markdown


def test_the_report_ranks_metrics_and_calls_ties_ties(faces):
    _, page, markdown = faces

    (table,) = [t for t in page.tables if "behind the best (QAIC)" in t[0]]
    rows = [[row[1], *row[4:7], row[8], row[-1]] for row in table[1:]]
    assert rows == [
        ["Recall@20", "0.00", "0.90", "90 %", "0.06 %", "as good as the best"],
        ["MRR@5", "4.40", "0.10", "10 %", "0.06 %", "worse"],
    ]
    assert "| click-through rate | MRR@5 | 0.9000 | 4.40 |" in markdown


def test_what_is_unknown_is_a_dash(report, tmp_path):
    names = ("recall_span", "order_density_span", "rank_correlation", "knee")
    report["front"] |= dict.fromkeys(names)
    for row in report["offline_metrics"]:
        row["value"] = None
    for row in report["group_kpis"]:
        row |= {"rate": None, "standard_error": None}
    report["hypotheses"][0]["lack_of_fit"]["p_value"] = None
    unknown = ("curvature", "few_groups", "permutation", "error_in_x", "log_rate")
    report["hypotheses"][0] |= dict.fromkeys(unknown)
    report["hypotheses"][0]["leave_one_out"] = dict.fromkeys(("g1", "g2", "g3"))

    _, page, markdown = written(report, tmp_path)

    assert "None" not in page.text
    assert "None" not in markdown
    assert "knee" not in page.text + markdown
    assert "recall spans –, order density –; their rank correlation is –" in page.text
    assert "order density –; rank correlation –" in markdown
    assert page.tables[2][1][3:] == [*["–"] * 9, "two groups cannot show it"]
    assert {(row[3], row[4]) for row in page.tables[5][1:]} == {("–", "–")}


def test_the_same_report_gives_the_same_bytes(report, folder, tmp_path):
    write_report(report, tmp_path)

    first, second = ({file.name: md5(file) for file in of.iterdir()} for of in (folder, tmp_path))
    assert first == second
    assert set(first) == {"report.json", "report.md", "index.html"}


def test_what_is_known_of_the_users_is_told(report, faces, tmp_path):
    """CUPED and segments, hostile names as text; where nothing is known, nothing is said."""
    h1 = report["hypotheses"][0]
    test = h1["user_clustered"] | {"slope": 1.25, "interval": [0.75, 1.75]}
    h1["cuped"] = {"clustered": test, "few_groups": None, "variance_share": 0.4}
    new = {"segment": HOSTILE, "users": 70_000, "test": test, "undefined_because": None}
    old = {"segment": "old", "users": 9, "test": None, "undefined_because": "no trial succeeded"}
    slopes = [new | {"against_the_whole": True}, old | {"against_the_whole": False}]
    h1["segments"] = {"slopes": slopes, "cochran_q": 4.0, "p_value": 0.0455}

    _, page, words = written(report, tmp_path)

    rows = [row for table in page.tables for row in table if row[0] == "H1"]
    assert [row[2:] for row in rows if row[2:4] == ["1.2500", "0.750 to 1.750"]] == [
        ["1.2500", "0.750 to 1.750", "–", "40.0 %"]
    ]
    assert [row[5] for row in rows if row[1] == HOSTILE] == ["goes against the whole"]
    assert [row[5] for row in rows if row[1] == "old"] == ["no trial succeeded"]
    assert "| H1 | 1.2500 | 0.750 to 1.750 | 40.0 % |" in words
    assert "0.750 to 1.750, against the whole" in words
    _, plain, markdown = faces
    assert "Segments of users" in page.text
    assert "Segments of users" not in plain.text
    assert "adjusted" not in markdown
