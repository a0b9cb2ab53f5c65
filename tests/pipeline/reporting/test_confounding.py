"""What the first screen says of metrics that move together along one front: words and JSON."""

import polars as pl
import pytest

from pipeline.artifacts.storage import read_json
from pipeline.cli import main
from tests.pipeline.reporting.page import Page

IMPRESSIONS = [59_643, 60_192, 59_827, 59_530, 59_931]
ONE_FRONT = {
    "group": ["g1", "g2", "g3", "g4", "g5"],
    "impressions": IMPRESSIONS,
    "clicks": [6946, 7223, 7275, 7448, 7505],
    "users": [6000] * 5,
    "share": [1] * 5,
    "ctr_users": [6000] * 5,
    "ctr_sum_mm": [653_481, 664_570, 657_093, 651_232, 658_547],
    "ctr_sum_my": [76_529, 79_192, 79_704, 81_782, 82_524],
    "ctr_sum_yy": [18_374, 19_259, 19_591, 20_070, 20_299],
    "recall@20": [0.4, 0.409, 0.421, 0.432, 0.444],
}
"""Clicks follow recall."""

IRRELEVANT = {
    "list_latency_ms": [100.0, 107.0, 116.0, 125.0, 134.0],
    "serial_number": [101.0, 102.0, 103.0, 104.0, 105.0],
}
"""Metrics that do nothing, but rise along the front."""

COLLINEAR = {
    "ndcg@20": [0.7 * recall for recall in ONE_FRONT["recall@20"]],
    "hit@20": [1.9 * recall for recall in ONE_FRONT["recall@20"]],
}


@pytest.fixture
def fit(tmp_path, capsys):
    """Fits a table; returns what the terminal prints, the report's JSON and the page's summary."""

    def run(columns, *hypotheses):
        path, folder = tmp_path / "counts.csv", tmp_path / "report"
        pl.DataFrame(columns).write_csv(path)
        words = [word for text in hypotheses for word in ("--hypothesis", text)]
        assert main(["fit", str(path), "--report", str(folder), *words]) == 0
        page = Page((folder / "index.html").read_text("utf-8"))
        summary = page.text.partition("Limitations")[0]
        return capsys.readouterr().out, read_json(folder / "report.json"), summary

    return run


@pytest.mark.slow
def test_an_irrelevant_metric_on_the_same_front_cannot_be_told_apart(fit):
    printed, document, summary = fit(ONE_FRONT | IRRELEVANT, "recall:ctr:+")

    words = (
        "Recall@20, list_latency_ms (r = 0.9999) and serial_number (r = 0.9989) cannot be told apart "
        "in this experiment: they move together along this front."
    )
    assert words in printed
    assert words in document["summary"][0]
    assert words in summary
    assert "no metric alone" in summary
    assert "increase Recall@20" not in summary
    (advice,) = document["advice"]
    assert (advice["optimise"], advice["confounded"]) == (None, "H1")
    (h1,) = document["hypotheses"]
    assert h1["verdict"] == "confirmed"
    assert advice["rivals"] == h1["rivals"]
    assert [one["metric"] for one in h1["rivals"]] == ["list_latency_ms", "serial_number"]


@pytest.mark.slow
def test_nor_is_it_recommended_where_it_is_the_declared_one(fit):
    _, document, summary = fit(ONE_FRONT | IRRELEVANT, "list_latency_ms:ctr:+")

    assert "increase list_latency_ms" not in summary
    assert document["advice"][0]["optimise"] is None
    evidence = document["evidence"]["H1"]
    assert evidence["strength"] != "high"
    assert "confounded" in evidence["minor"]


@pytest.mark.slow
@pytest.mark.parametrize("more", [IRRELEVANT, COLLINEAR])
def test_first_screen_and_table_2_agree(fit, more):
    _, document, _ = fit(ONE_FRONT | more, "recall:ctr:+")

    rivals = {one["metric"] for one in document["hypotheses"][0]["rivals"]}
    own = [one for one in document["metric_ranking"] if one["kpi"] == "ctr"]
    assert {one["metric"] for one in own if one["tied"]} == rivals | {"recall"}


@pytest.mark.slow
def test_multiples_of_a_metric_have_the_same_probability(fit):
    _, document, _ = fit(ONE_FRONT | COLLINEAR, "recall:ctr:+")

    own = [one for one in document["metric_ranking"] if one["kpi"] == "ctr"]
    assert [one["probability_of_best"] for one in own] == pytest.approx([1 / 3] * 3)
    assert [one["probability_better"] for one in document["advice"][0]["rivals"]] == pytest.approx(
        [0.5] * 2
    )


@pytest.mark.slow
def test_hypotheses_on_one_direction_are_one_result(fit):
    printed, document, summary = fit(
        ONE_FRONT | IRRELEVANT, "recall:ctr:+", "list_latency_ms:ctr:-"
    )

    words = (
        "H1 and H2 are one direction of the front and count as one result: Recall@20 and "
        "list_latency_ms move together over the groups (|r| ≥ 0.9999)."
    )
    assert words in printed
    assert words in summary
    (direction,) = document["shared_directions"]
    assert direction["hypotheses"] == ["H1", "H2"]


SECOND_AXIS = {
    "group": [f"g{n}" for n in range(1, 11)],
    "impressions": [400_000] * 10,
    "recall@20": [0.40, 0.40, 0.42, 0.42, 0.44, 0.44, 0.46, 0.46, 0.48, 0.48],
    "list_latency_ms": [100.0, 130.0, 103.0, 134.0, 99.0, 131.0, 104.0, 129.0, 101.0, 133.0],
    "clicks": [40_110, 39_905, 42_060, 41_930, 43_890, 44_130, 46_090, 45_880, 48_020, 47_940],
}
"""Five preferences, each with a fast and a slow recommendation list: clicks follow recall."""


@pytest.mark.slow
def test_a_second_axis_tells_them_apart(fit):
    _, document, summary = fit(SECOND_AXIS, "recall:ctr:+")

    assert document["hypotheses"][0]["rivals"] == []
    assert document["advice"][0]["optimise"]["metric"] == "recall"
    assert "increase Recall@20 along this front" in summary
    assert "told apart from the other measured metrics; next best: list_latency_ms (r = " in summary


def test_a_metric_measured_alone_is_not_called_told_apart(fit):
    _, _, summary = fit(ONE_FRONT, "recall:ctr:+")

    assert "increase Recall@20 along this front" in summary
    assert "No other metric is measured." in summary


@pytest.mark.slow
def test_with_three_groups_every_other_metric_is_a_rival(fit):
    three = {name: values[:3] for name, values in SECOND_AXIS.items() if name != "group"}
    table = three | {"group": ["a", "b", "c"], "recall@20": [0.40, 0.44, 0.48]}
    table["clicks"] = [40_000, 44_010, 48_000]

    _, document, summary = fit(table, "recall:ctr:+")

    (rival,) = document["hypotheses"][0]["rivals"]
    assert (rival["metric"], rival["probability_better"]) == ("list_latency_ms", None)
    assert "cannot be told apart in this experiment: 3 groups do not tell metrics apart" in summary


def test_a_table_of_two_groups_has_an_answer_without_a_ranking(fit):
    table = {
        "group": ["a", "b"],
        "impressions": [10_000, 12_000],
        "clicks": [1000, 1290],
        "auc": [0.70, 0.72],
        "gini": [0.40, 0.44],
    }

    _, document, _ = fit(table, "auc:ctr:+")

    own = [one for one in document["metric_ranking"] if one["kpi"] == "ctr"]
    assert {one["undefined_reason"] for one in own} == {"fewer_than_4_groups"}
    assert {one["probability_of_best"] for one in own} == {None}


def test_where_no_metric_is_associated_all_tie(fit):
    table = ONE_FRONT | IRRELEVANT | {"clicks": [7010, 6990, 7000, 7005, 6995]}
    sums = {name for name in table if name.startswith("ctr_")}

    _, document, summary = fit(
        {name: values for name, values in table.items() if name not in sums}, "recall:ctr:+"
    )

    own = [one for one in document["metric_ranking"] if one["kpi"] == "ctr"]
    assert all(one["tied"] and one["undefined_reason"] == "not_associated" for one in own)
    assert document["hypotheses"][0]["rivals"] == []
    assert "no pre-registered metric" in summary
