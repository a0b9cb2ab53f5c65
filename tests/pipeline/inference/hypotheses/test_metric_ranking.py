"""Metric ranking: the paper's counts, a planted truth, and ties."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.hypotheses.counts_table import group_kpis, offline_metrics
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.metric_ranking import TIED_WITHIN, rank_metrics, vuong
from tests.pipeline.inference.golden import GOLDEN, IMPRESSIONS_A_GROUP, TEST_CLICKS


def evidence_of(impressions, clicks, orders, **metrics):
    groups = len(clicks)
    counts = pl.DataFrame(
        {
            "group": [f"g{n + 1}" for n in range(groups)],
            "impressions": [impressions] * groups,
            "clicks": clicks,
            "orders": orders,
            "units": orders,
            **metrics,
        }
    )
    return RegressionInputs(offline_metrics(counts), None, group_kpis(counts))


@pytest.fixture(scope="module")
def golden():
    hits, ordered, clicks, orders = np.array(list(GOLDEN.values())).T
    recall, density = hits / TEST_CLICKS, ordered / hits
    evidence = evidence_of(
        IMPRESSIONS_A_GROUP, clicks, orders, recall=recall, order_density=density
    )
    return {(one.kpi, one.metric): one for one in rank_metrics(evidence, level=0.95, seed=0)[0]}


def test_click_through_follows_recall_and_nothing_else_as_well(golden):
    tied = {metric for (kpi, metric), one in golden.items() if kpi == "ctr" and one.tied}

    assert tied == {"recall"}
    assert golden["ctr", "recall"].akaike_weight > 0.9
    # 85.2 - 79.1 and 229.8 - 79.1 by AIC of the same lines
    assert golden["ctr", "recall_order_density"].delta_qaic == pytest.approx(6.1, abs=0.2)
    assert golden["ctr", "order_density"].delta_qaic == pytest.approx(150.7, rel=0.02)


def test_what_the_paper_cannot_decide_is_a_tie(golden):
    for kpi in ("cvr", "orders_per_impression"):
        assert all(one.tied for (of, _), one in golden.items() if of == kpi)


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


def test_weights_of_a_kpi_sum_to_1_and_the_best_comes_first(golden):
    for kpi in ("ctr", "cvr", "orders_per_impression"):
        own = [one for (of, _), one in golden.items() if of == kpi]
        assert sum(one.akaike_weight for one in own) == pytest.approx(1)
        assert [one.delta_qaic for one in own] == sorted(one.delta_qaic for one in own)
        assert own[0].delta_qaic == 0
        assert [one.tied for one in own] == [one.delta_qaic <= TIED_WITHIN for one in own]


def test_vuongs_test_equals_its_computation_user_by_user():
    rng = np.random.default_rng(6)
    group = rng.integers(0, 3, 500)
    m = rng.integers(1, 9, 500)
    y = rng.binomial(m, 0.3)
    one, other = np.array([-1.0, -0.9, -0.7]), np.array([-0.8, -0.9, -0.8])
    sums = GroupSums(
        **{
            name: np.array([values[group == g].sum() for g in range(3)], dtype=float)
            for name, values in {
                "trials": m,
                "successes": y,
                "users": np.ones(500),
                "sum_mm": m * m,
                "sum_my": m * y,
                "sum_yy": y * y,
            }.items()
        }
    )
    likelihoods = [
        stats.binom.logpmf(y, m, 1 / (1 + np.exp(-line[group]))) for line in (one, other)
    ]
    d = likelihoods[0] - likelihoods[1]
    z = d.sum() / (np.sqrt(500) * d.std(ddof=1))

    assert vuong(one, other, sums) == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert vuong(one, one, sums) == 1


def test_metrics_that_are_multiples_of_each_other_are_one_line():
    recall = np.array([0.40, 0.41, 0.43, 0.44, 0.47])
    clicks = np.array([5000, 5120, 5300, 5500, 5790])

    found, _ = rank_metrics(
        evidence_of(50_000, clicks, clicks // 30, mrr=recall / 3, ndcg=recall / 7),
        level=0.95,
        seed=0,
    )

    assert {one.vuong_p_value for one in found} == {1.0}


def test_the_best_is_as_likely_as_itself_and_a_bad_line_is_not(golden):
    assert golden["ctr", "recall"].vuong_p_value == 1
    assert golden["ctr", "order_density"].vuong_p_value < 1e-9


def test_p_values_are_adjusted_for_all_metrics_and_kpis(golden):
    p_values = np.array([one.p_value for one in golden.values()])
    order = np.argsort(p_values)
    steps = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    by_hand = np.empty(len(p_values))
    by_hand[order] = np.minimum.accumulate(steps[::-1])[::-1].clip(max=1)

    assert [one.bh_p_value for one in golden.values()] == pytest.approx(list(by_hand))


def test_the_metric_a_kpi_is_planted_on_is_found():
    true, other = np.array([1, 1.02, 1.05, 1.07, 1.1]), np.array([1.1, 1, 1.02, 1.06, 1.04])
    rates = 1 / (1 + np.exp(-(-2 + 1.5 * (true - 1))))
    clicks = np.round(1_000_000 * rates).astype(int)

    found, _ = rank_metrics(
        evidence_of(1_000_000, clicks, clicks // 30, mrr=0.2 * true, ndcg=0.3 * other),
        level=0.95,
        seed=0,
    )

    best = next(one for one in found if one.kpi == "ctr")
    assert (best.metric, best.tied) == ("mrr", True)
    assert best.slope == pytest.approx(1.5, abs=0.01)
    assert best.akaike_weight > 0.999


@pytest.mark.slow
def test_chance_alone_is_seldom_called_a_finding():
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(200):
        metrics = {f"m{n}": rng.uniform(1, 1.1, 5) for n in range(4)}
        clicks = rng.binomial(50_000, 0.1, 5)
        candidates, _ = rank_metrics(
            evidence_of(50_000, clicks, rng.binomial(clicks, 0.03), **metrics), level=0.95, seed=0
        )
        found += any(one.bh_p_value < 0.05 for one in candidates)

    assert found / 200 < 0.1


def test_a_metric_that_does_not_vary_is_left_out():
    clicks = np.array([5000, 5100, 5300])

    found, _ = rank_metrics(
        evidence_of(50_000, clicks, clicks // 30, mrr=[0.2] * 3, ndcg=[0.1, 0.11, 0.12]),
        level=0.95,
        seed=0,
    )

    assert {one.metric for one in found} == {"ndcg"}
