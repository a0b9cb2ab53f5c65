"""The formats of the report agree, open without a network, and show hostile names as text."""

import re
from dataclasses import replace
from itertools import pairwise
from math import expm1

import pytest

from pipeline.artifacts.storage import md5, read_json
from pipeline.core.contracts import Kpi
from pipeline.reporting.report import write_report
from pipeline.reporting.text.diagnostics import CHECK_LABELS
from pipeline.reporting.text.plan_costs import cost_lines
from pipeline.reporting.text.power_summary import power_lines
from pipeline.reporting.text.reasons import VERDICTS
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.decisions import Advice, Limitation
from pipeline.results.findings import MetricValue
from pipeline.results.reasons import Action, AdviceReason, LimitationKind, UndefinedReason
from pipeline.results.serialization import to_dict
from pipeline.results.slopes import Cuped, Segments, SegmentSlope
from pipeline.study import PAPER_HYPOTHESES
from tests.pipeline.reporting.conftest import rebuild
from tests.pipeline.reporting.page import Page

HOSTILE = """<img src=x onerror="alert('1')"><script>alert(2)</script>&amp;"""


def written(report, folder):
    """The three formats of a report, written into a folder."""
    write_report(report, folder)
    return formats_in(folder)


def formats_in(folder):
    """JSON, page, Markdown."""
    page = Page((folder / "index.html").read_text("utf-8"))
    return read_json(folder / "report.json"), page, (folder / "report.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(whole_report, tmp_path_factory):
    """The folder of the unchanged report."""
    folder = tmp_path_factory.mktemp("report")
    write_report(whole_report, folder)
    return folder


@pytest.fixture(scope="module")
def formats(folder):
    """The three formats of that report."""
    return formats_in(folder)


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


def test_page_and_markdown_have_the_same_tables(formats):
    _, page, markdown = formats

    assert len(page.tables) >= 15
    assert [[[c.strip() for c in row] for row in t] for t in page.tables] == tables_of(markdown)


def test_page_and_markdown_have_the_same_headings(formats):
    _, page, markdown = formats

    heads = re.findall(r"<h([1-6])[^>]*>(.*?)</h\1>", page.html)
    found = [
        (str(len(h)), words) for h, words in re.findall(r"^(#+) (.*)$", markdown, re.MULTILINE)
    ]
    assert [head for head in found if head[0] < "4"] == [(n, words) for n, words in heads]
    levels = [int(level) for level, _ in heads]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_the_page_has_the_planned_power(whole_report, formats):
    _, page, _ = formats

    lines = power_lines(whole_report.experiment.power, whole_report.cutoff)
    assert "\n".join(lines) in page.text
    assert lines[0] == "H1, Recall@20 → click-through rate, assumed slope 1.5:"


def test_the_plan_has_its_guardrails_its_cost_and_offers(whole_report, formats):
    _, page, _ = formats
    power = whole_report.experiment.power

    for line in cost_lines(power, whole_report.cutoff):
        assert line in page.text
    for offer in power.offers:
        assert offer.change in page.text


def test_json_holds_the_whole_report(whole_report, formats):
    document, _, _ = formats

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


def test_table_1_has_the_answers_of_the_json(formats):
    document, page, _ = formats

    for row, entry in zip(page.by_id["hypotheses"][1:], document["hypotheses"], strict=True):
        found = numbers(" | ".join(row[5:]).replace("−", "-"))
        headline, paper = entry["headline"], numbers(" | ".join(row[9:]).replace("−", "-"))
        assert row[0] == entry["id"]
        assert row[3].startswith(VERDICTS[entry["verdict"]])
        assert row[4] == document["evidence"][entry["id"]]["strength"]
        assert found[0] == pytest.approx(headline["slope"], abs=5e-5)
        assert found[1:3] == pytest.approx(headline["interval"], abs=5e-4)
        assert paper[:2] == pytest.approx([entry["slope"], entry["standard_error"]], abs=5e-5)
        assert paper[2:4] == pytest.approx(entry["interval"], abs=5e-4)
        assert found[-2:] == [entry["n"], entry["groups"]]


def test_every_hypothesis_has_its_minimum_detectable_effect(formats):
    document, page, _ = formats

    for row, entry in zip(page.by_id["power"][1:], document["hypotheses"], strict=True):
        power = entry["minimum_detectable_slope"]
        assert (row[0], numbers(row[2])) == (entry["id"], [pytest.approx(power, abs=5e-5)])
        # x is 0 in the group with the smallest metric
        largest = max(point["x"] for point in entry["points"])
        assert numbers(row[3]) == [pytest.approx(100 * expm1(power * largest), abs=0.051)]


def test_every_chart_has_its_table_and_every_mark_a_row_of_it(formats):
    _, page, _ = formats
    rows = {values["id"] for tag, values in page.tags if tag == "tr" and "id" in values}

    marks = [
        values["aria-labelledby"] for tag, values in page.tags if values.get("class") == "mark"
    ]

    assert set(marks) <= rows
    charts = {"points-H1", "points-H4", "slopes-H1", "front-points", "curves", "lengths"}
    assert charts <= {mark.rpartition("-")[0] for mark in marks}
    front = [mark for mark in marks if mark.startswith("front-points")]
    assert len(front) == len(page.by_id["front-points"]) - 1 == 3


def test_every_id_of_the_page_is_unique(formats):
    _, page, _ = formats

    ids = [values["id"] for _, values in page.tags if "id" in values]
    assert sorted(ids) == sorted(set(ids))


def test_the_forest_has_every_analysis_of_the_slope(formats):
    document, page, _ = formats
    h1 = document["hypotheses"][0]

    rows = {row[0]: row[1:3] for row in page.by_id["slopes-H1"][1:]}

    assert list(rows) == [
        "headline",
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


def test_diagnostics_have_their_outcome_and_numbers(formats):
    _, page, _ = formats

    results = {row[0]: row[1:] for row in page.by_id["checks"][1:]}

    srm = results[CHECK_LABELS["sample_ratio"]]
    assert srm[0] == "passed"
    assert "users: 100,000, 100,000, 100,000; p = 1.0000" in srm[1]
    assert results[CHECK_LABELS["whole_weeks"]] == [
        "FAILED",
        "9 days, without an incomplete first or last day",
    ]
    assert results[CHECK_LABELS["aa_rerandomisation"]] == [
        "passed",
        "H1: 5.1% false positives in 1,000 re-randomisations, p = 0.4000",
    ]
    balance = results[CHECK_LABELS["pre_experiment_balance"]]
    assert balance == ["not run", "no pre-experiment data"]


def test_every_sentence_of_the_summary_is_on_the_pages(formats):
    document, page, markdown = formats

    assert [re.findall(r"\((H\d),", line)[0] for line in document["summary"]] == [
        "H1",
        "H2",
        "H3",
        "H4",
    ]
    for line in document["summary"]:
        assert line in page.text
        assert line in markdown


def test_page_opens_without_network_and_runs_only_its_own_script(formats):
    _, page, _ = formats

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


def renamed(one):
    """A group or point of g1 with a hostile name."""
    return replace(one, group=one.group.replace("g1", HOSTILE))


@pytest.mark.slow
def test_hostile_names_stay_text(whole_report, estimate, tmp_path):
    whole = whole_report
    (undefined,) = estimate(1, 1000, recall=(0.4, 0.4, 0.4), hypotheses=PAPER_HYPOTHESES[3:])
    first, *groups = whole.experiment.plan.groups
    plan = replace(
        whole.experiment.plan,
        experiment=HOSTILE,
        groups=(replace(first, name=HOSTILE), *groups),
    )
    hypotheses = [
        replace(one, points=tuple(map(renamed, one.points))) for one in whole.hypotheses[:3]
    ]
    report = rebuild(
        whole,
        study=HOSTILE,
        experiment=replace(whole.experiment, plan=plan, how=HOSTILE),
        provenance=replace(whole.provenance, code=HOSTILE),
        ingestion=replace(whole.ingestion, rejected={HOSTILE: 1}),
        data=whole.data
        | {
            "profile": whole.data["profile"] | {"rejected_by_reason": {HOSTILE: 1}},
            "card": whole.data["card"] | {"rejected_shares": {HOSTILE: 0.1}},
        },
        group_kpis=tuple(map(renamed, whole.group_kpis)),
        parameters=whole.parameters | {"study": {"name": HOSTILE}},
        hypotheses=(*hypotheses, replace(undefined, metric=HOSTILE)),
    )

    _, page, _ = written(report, tmp_path)

    assert [tag for tag, _ in page.tags if tag in {"img", "script"}] == ["script"]
    cells = [cell for table in page.tables for row in table for cell in row]
    assert cells.count(HOSTILE) >= 4
    assert page.text.count(HOSTILE) >= 10
    assert "<img" not in (markdown := (tmp_path / "report.md").read_text("utf-8"))
    assert "<script" not in markdown
    assert markdown.count("&lt;img") >= 10


@pytest.mark.slow
def test_an_undefined_hypothesis_has_a_reason_and_no_numbers(whole_report, estimate, tmp_path):
    found = estimate(1.0, 1000, recall=(0.4, 0.4, 0.4), hypotheses=PAPER_HYPOTHESES[:1])
    assert found[0].undefined_reason is UndefinedReason.METRIC_CONSTANT

    report = rebuild(whole_report, hypotheses=tuple(found), advice=())
    document, page, markdown = written(report, tmp_path)

    why = "the metric is the same in all groups"
    assert document["summary"] == [f"Recall@20 and click-through rate (H1, undefined): {why}."]
    (row,) = page.by_id["hypotheses"][1:]
    assert row == [
        *("H1", "Recall@20", "click-through rate", f"undefined: {why}", "none"),
        *(["–"] * 11),
        *("3,000", "3"),
    ]
    assert "slopes-H1" not in page.by_id
    assert why in markdown


def test_the_report_names_the_knee_of_the_front(formats):
    _, page, markdown = formats

    assert "The knee is p1" in page.text
    assert "The knee is p1" in markdown


def test_the_report_ranks_metrics_and_marks_ties(formats):
    _, page, _ = formats

    rows = [[row[0], *row[6:]] for row in page.by_id["explored"][1:]]
    assert rows == [
        ["Recall@20", "90%", "1.0000", "0.06%", "tied with the best"],
        ["MRR@5", "10%", "0.7000", "0.06%", "tied with the best"],
    ]


@pytest.mark.slow
def test_unknown_values_are_a_dash(whole_report, tmp_path):
    names = ("rank_correlation", "knee")
    unknown = ("curvature", "small_sample", "permutation", "measurement_error", "log_rate")
    first, *others = whole_report.hypotheses
    first = replace(
        first,
        lack_of_fit=replace(first.lack_of_fit, p_value=None),
        leave_one_out_range=None,
        **dict.fromkeys(unknown),
    )

    def without_value(row):
        names = ("value",) if isinstance(row, MetricValue) else ("rate", "standard_error")
        return replace(row, **dict.fromkeys(names))

    report = rebuild(
        whole_report,
        front=replace(
            whole_report.front,
            spans=dict.fromkeys(whole_report.front.axes),
            **dict.fromkeys(names),
        ),
        offline_metrics=tuple(map(without_value, whole_report.offline_metrics)),
        group_kpis=tuple(map(without_value, whole_report.group_kpis)),
        hypotheses=(first, *others),
        advice=(Advice(kpi=Kpi.CTR, action=Action.UNDEFINED, reason=AdviceReason.NO_TRIALS),),
    )
    _, page, markdown = written(report, tmp_path)

    assert "None" not in page.text
    assert "None" not in markdown
    assert "knee" not in page.text + markdown
    assert (
        "Relative range: Recall@20 –, OD@20 –; rank correlation of Recall@20 and OD@20 –"
        in page.text
    )
    assert page.by_id["fit"][1][3:] == [*["–"] * 6, "not testable with two groups"]
    assert {(row[3], row[4]) for row in page.by_id["metrics"][1:]} == {("–", "–")}
    assert "no recommendation: a group has no trials of this KPI" in page.text


@pytest.mark.slow
def test_the_same_report_gives_the_same_bytes(whole_report, folder, tmp_path):
    write_report(whole_report, tmp_path)

    first, second = ({file.name: md5(file) for file in of.iterdir()} for of in (folder, tmp_path))
    assert first == second
    assert set(first) == {"report.json", "report.md", "index.html"}


@pytest.mark.slow
def test_cuped_and_segments_have_a_table_only_where_known(whole_report, formats, tmp_path):
    first, *others = whole_report.hypotheses
    test = replace(first.cluster_robust, slope=1.25, interval=(0.75, 1.75))
    new = SegmentSlope(
        segment=HOSTILE,
        users=70_000,
        slope=1.25,
        interval=(0.75, 1.75),
        p_value=0.011,
        difference_p_value=0.0455,
        test=test,
        undefined_reason=None,
        opposite_sign=True,
        differs=True,
    )
    old = SegmentSlope(
        segment="old",
        users=9,
        slope=None,
        interval=None,
        p_value=None,
        difference_p_value=None,
        test=None,
        undefined_reason=UndefinedReason.NO_SUCCESSES,
        opposite_sign=False,
        differs=False,
    )
    first = replace(
        first,
        cuped=Cuped(cluster_robust=test, small_sample=None, variance_share=0.4),
        segments=Segments(slopes=(new, old), cochran_q=4.0, p_value=0.0455, cochran_p_value=0.02),
    )

    _, page, words = written(replace(whole_report, hypotheses=(first, *others)), tmp_path)

    (row,) = page.by_id["cuped"][1:]
    assert row[2:] == ["1.2500", "0.750 to 1.750", "–", "40.0%"]
    first, second = page.by_id["segments"][1:]
    assert first[1:] == [
        HOSTILE,
        *("70,000", "1.2500", "0.750 to 1.750", "0.0110", "0.0455"),
        *("opposite sign to the overall slope", "0.0455", "0.0200"),
    ]
    assert (second[1], second[7]) == ("old", "no trial succeeded")
    assert "| 1.2500 | 0.750 to 1.750 | – | 40.0% |" in words
    _, plain, markdown = formats
    assert "User segments" in page.text
    assert "User segments" not in plain.text
    assert "adjusted slope" not in markdown


def test_the_sentence_of_a_hypothesis_is_the_summary_s(whole_report):
    assert whole_report.summary == tuple(
        answer_sentence(one, 20) for one in whole_report.hypotheses
    )


@pytest.mark.slow
def test_without_orders_the_report_begins_with_that_and_shows_dashes(whole_report, tmp_path):
    of_clicks = tuple(row for row in whole_report.group_kpis if not row.kpi.needs_orders)
    points = tuple(
        replace(one, metrics={"recall": one.metrics["recall"], "score_uniformity": 0.9})
        for one in whole_report.front.points
    )
    spans = {"recall": 0.2, "score_uniformity": 0.0, "catalogue_coverage": 0.15}
    report = rebuild(
        whole_report,
        objectives=("click", "distortion"),
        group_kpis=of_clicks,
        front=replace(
            whole_report.front, axes=("recall", "score_uniformity"), spans=spans, points=points
        ),
    )
    report = replace(report, limitations=(Limitation(kind=LimitationKind.NO_ORDERS),))

    _, page, markdown = written(report, tmp_path)

    assert "**Clicks only.** The sessions have no orders" in markdown.split("\n\n")[1]
    assert "Recall@20 20.0%, score uniformity 0.0%, catalogue coverage@20 15.0%" in markdown
    heads, *rows = page.by_id["kpis"]
    place = heads.index("post-click conversion rate")
    assert {row[place] for row in rows} == {"–"}
    heads, *rows = page.by_id["front-points"]
    assert {row[heads.index("OD@20")] for row in rows} == {"–"}
    assert "clicks and orders under past" not in page.text
