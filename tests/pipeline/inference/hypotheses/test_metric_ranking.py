"""Metric ranking: the paper's counts, a planted truth, and ties."""

import numpy as np
import polars as pl
import pytest

from pipeline.core.contracts import Kpi
from pipeline.inference.counts.counts_table import CountsOptions, read_counts
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.metric_ranking import rank_metrics, with_rivals
from pipeline.results.reasons import UndefinedReason
from pipeline.study import Hypothesis, RegressionConfig
from tests.pipeline.inference.golden import GOLDEN, IMPRESSIONS_A_GROUP, TEST_CLICKS


def evidence_of(impressions, clicks, orders, **metrics):
    groups = len(clicks)
    table = pl.DataFrame(
        {
            "group": [f"g{n + 1}" for n in range(groups)],
            "impressions": [impressions] * groups,
            "clicks": clicks,
            "orders": orders,
            "units": orders,
            **metrics,
        }
    )
    counts = read_counts(table, CountsOptions())
    return RegressionInputs(counts.offline_metrics(), None, counts.group_kpis())


@pytest.fixture(scope="module")
def golden():
    hits, ordered, clicks, orders = np.array(list(GOLDEN.values())).T
    recall, density = hits / TEST_CLICKS, ordered / hits
    evidence = evidence_of(
        IMPRESSIONS_A_GROUP, clicks, orders, recall=recall, order_density=density
    )
    return {(one.kpi, one.metric): one for one in rank_metrics(evidence, level=0.95).metrics}


def test_click_through_follows_recall(golden):
    best = golden["ctr", "recall"]

    assert best.probability_of_best > 0.9
    assert golden["ctr", "order_density"].probability_of_best < 0.001
    assert golden["ctr", "order_density"].correlation_with_best == pytest.approx(-0.9811, abs=1e-4)


def test_on_one_front_all_metrics_are_tied(golden):
    assert all(one.tied for one in golden.values())


def test_where_no_metric_is_associated_nothing_is_ranked(golden):
    own = [one for (kpi, _), one in golden.items() if kpi == "cvr"]

    assert min(one.p_value for one in own) > 0.1
    assert {one.undefined_reason for one in own} == {UndefinedReason.NOT_ASSOCIATED}
    assert {one.probability_of_best for one in own} == {None}
    assert {one.correlation_with_best for one in own} == {None}


@pytest.mark.parametrize(
    ("kpi", "metric", "error"),
    [
        ("ctr", "recall", 0.0006),
        ("ctr", "recall_order_density", 0.0021),
        ("ctr", "order_density", 0.0110),
        ("cvr", "recall", 0.028),
        ("cvr", "recall_order_density", 0.028),
        ("cvr", "order_density", 0.027),
        ("orders_per_impression", "recall", 0.0284),
        ("orders_per_impression", "recall_order_density", 0.0272),
        ("orders_per_impression", "order_density", 0.0339),
    ],
)
def test_leave_one_group_out_error(golden, kpi, metric, error):
    found = golden[kpi, metric].leave_one_out_error

    assert found == pytest.approx(error, abs=5e-4 if kpi == "cvr" else 5e-5)


def test_probabilities_of_a_kpi_sum_to_1_and_the_best_comes_first(golden):
    for kpi in ("ctr", "orders_per_impression"):
        own = [one.probability_of_best for (of, _), one in golden.items() if of == kpi]
        assert sum(own) == pytest.approx(1)
        assert own == sorted(own, reverse=True)


def test_p_values_are_adjusted_for_all_metrics_and_kpis(golden):
    p_values = np.array([one.p_value for one in golden.values()])
    order = np.argsort(p_values)
    steps = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    by_hand = np.empty(len(p_values))
    by_hand[order] = np.minimum.accumulate(steps[::-1])[::-1].clip(max=1)

    assert [one.bh_p_value for one in golden.values()] == pytest.approx(list(by_hand))


TRUE, OTHER = np.array([1, 1.02, 1.05, 1.07, 1.1]), np.array([1.1, 1, 1.02, 1.06, 1.04])
"""The metric that click-through follows, and one on a second axis."""


def planted(**metrics):
    rates = 1 / (1 + np.exp(-(-2 + 1.5 * (TRUE - 1))))
    clicks = np.round(1_000_000 * rates).astype(int)
    return evidence_of(1_000_000, clicks, clicks // 30, **metrics)


def test_the_metric_a_kpi_is_planted_on_is_found():
    found = rank_metrics(planted(mrr=0.2 * TRUE, ndcg=0.3 * OTHER), level=0.95).metrics

    best, second = [one for one in found if one.kpi == "ctr"]
    assert (best.metric, best.tied, second.tied) == ("mrr", True, False)
    assert best.slope == pytest.approx(1.5, abs=0.01)
    assert best.probability_of_best > 0.99


def test_a_metric_that_is_negative_in_a_group_has_no_slope_but_can_be_the_rival_of_another():
    ranking = rank_metrics(planted(mrr=0.2 * TRUE, r2=TRUE - 1.05), level=0.95)

    (pair,) = [one for one in ranking.unfitted_pairs if one.kpi == "ctr"]
    assert (pair.metric, pair.undefined_reason) == ("r2", UndefinedReason.METRIC_NOT_POSITIVE)
    slopes = {one.metric: one.slope for one in ranking.metrics if one.kpi == "ctr"}
    assert slopes == {"mrr": pytest.approx(1.5, abs=0.01), "r2": None}
    (rival,) = ranking.comparisons[Kpi.CTR].rivals("mrr")
    assert (rival.metric, rival.correlation) == ("r2", pytest.approx(1))


def hypotheses_of(evidence, *metrics):
    declared = tuple(
        Hypothesis(id=f"H{n}", metric=metric, kpi=Kpi.CTR, direction="positive")
        for n, metric in enumerate(metrics, start=1)
    )
    section = RegressionConfig(level=0.95, hypotheses=declared)
    results = estimate_hypotheses(evidence, section, seed=0)
    return with_rivals(results, rank_metrics(evidence, level=0.95))


def test_a_verdict_has_the_rivals_of_the_ranking():
    wave = np.array([0, 0.1, 0, 0.1, 0])
    flat = 1 + wave - np.polyval(np.polyfit(TRUE, wave, 1), TRUE)
    evidence = planted(mrr=0.2 * TRUE, hit=3 * TRUE**1.1, flat=flat)

    h1, h2 = hypotheses_of(evidence, "mrr", "flat")

    assert (h1.verdict, [one.metric for one in h1.rivals]) == ("confirmed", ["hit"])
    assert h1.rivals[0].correlation > 0.999
    assert (h2.verdict, h2.rivals) == ("inconclusive", ())


def test_a_metric_on_a_second_axis_leaves_no_rival():
    (h1,) = hypotheses_of(planted(mrr=0.2 * TRUE, ndcg=0.3 * OTHER), "mrr")

    assert (h1.verdict, h1.rivals) == ("confirmed", ())


@pytest.mark.slow
def test_chance_alone_is_seldom_called_a_finding():
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(80):
        metrics = {f"m{n}": rng.uniform(1, 1.1, 5) for n in range(4)}
        clicks = rng.binomial(50_000, 0.1, 5)
        evidence = evidence_of(50_000, clicks, rng.binomial(clicks, 0.03), **metrics)
        candidates = rank_metrics(evidence, level=0.95).metrics
        found += any(one.bh_p_value < 0.05 for one in candidates)

    assert found / 80 < 0.1


def test_a_metric_that_does_not_vary_is_left_out():
    clicks = np.array([5000, 5100, 5300])

    evidence = evidence_of(50_000, clicks, clicks // 30, mrr=[0.2] * 3, ndcg=[0.1, 0.11, 0.12])
    ranking = rank_metrics(evidence, level=0.95)

    assert {one.metric for one in ranking.metrics} == {"ndcg"}
    assert {(one.metric, one.undefined_reason) for one in ranking.unfitted_pairs} == {
        ("mrr", UndefinedReason.METRIC_CONSTANT)
    }


def test_with_two_groups_metrics_are_not_told_apart():
    evidence = evidence_of(12_000, [1000, 1290], [10, 12], mrr=[0.2, 0.21], ndcg=[0.3, 0.2])

    found = rank_metrics(evidence, level=0.95).metrics

    assert {one.undefined_reason for one in found} == {UndefinedReason.FEWER_THAN_4_GROUPS}
    assert all(one.tied and one.probability_of_best is None for one in found)
