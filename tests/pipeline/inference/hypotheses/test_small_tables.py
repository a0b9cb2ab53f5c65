"""Small tables from practice: every hypothesis has an answer or a reason, and no number is nan."""

import json

import numpy as np
import polars as pl
import pytest

from pipeline.inference.hypotheses.evidence_rating import rate_evidence
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.reporting.text.reasons import evidence_words
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.serialization import to_dict


def fit(table, *hypotheses):
    """The results; the JSON of all findings is valid."""
    declared = [parse_hypothesis(text, n) for n, text in enumerate(hypotheses, start=1)]
    found = fit_counts(pl.DataFrame(table), declared, level=0.95, seed=1)
    json.dumps(to_dict(found), allow_nan=False)
    return found


def answers(table, *hypotheses):
    return fit(table, *hypotheses).hypotheses


def test_two_variants_are_a_line_without_a_small_sample_interval():
    (found,) = answers(
        {
            "group": ["A", "B"],
            "impressions": [10_000, 12_000],
            "clicks": [1000, 1290],
            "auc": [0.70, 0.72],
        },
        "auc:ctr:+",
    )

    # log odds ratio ln((1290/10710)/(1000/9000)) = 0.08069 over x = 0.72/0.70 - 1
    assert (found.slope, found.standard_error) == pytest.approx((2.8241, 1.5573), abs=1e-4)
    assert found.headline.undefined_reason == "two_groups"
    assert (found.small_sample, found.small_sample_undefined_reason) == (None, "two_groups")
    assert found.verdict == "inconclusive"
    assert "The slope is undefined with 2 groups" in answer_sentence(found, None)


@pytest.mark.parametrize("orders", [[0, 9, 7], [0, 12, 13]])
def test_a_group_without_success_is_answered_by_the_likelihood(orders):
    first, second = answers(
        {
            "group": ["g1", "g2", "g3"],
            "impressions": [10_000] * 3,
            "clicks": [1000, 1050, 1100],
            "orders": orders,
            "recall@20": [0.40, 0.42, 0.45],
        },
        "recall@20:ctr:+",
        "recall@20:orders_per_impression:+",
    )

    assert first.verdict == "suggestive"
    assert (first.small_sample is None, second.small_sample) == (False, None)
    assert second.small_sample_undefined_reason == "rate_without_error"
    assert second.verdict == "inconclusive"
    low, high = second.headline.interval
    assert low < second.headline.slope < high


def test_a_group_with_one_user_leaves_the_other_kpi_alone():
    sums = {"users": [80, 80, 80, 1], "sum_mm": [320, 320, 320, 4]}
    ctr, cvr = answers(
        {
            "group": ["a", "b", "c", "d"],
            "impressions": [1000] * 4,
            "clicks": [160, 160, 160, 2],
            "orders": [60, 70, 80, 1],
            **{f"cvr_{name}": values for name, values in sums.items()},
            "cvr_sum_my": [120, 140, 160, 2],
            "cvr_sum_yy": [100, 124, 150, 1],
            "auc": [0.6, 0.7, 0.8, 0.85],
        },
        "auc:ctr:+",
        "auc:cvr:+",
    )

    assert ctr.verdict == "inconclusive"
    assert (cvr.small_sample, cvr.small_sample_undefined_reason) == (None, "rate_without_error")
    assert cvr.headline.interval is not None


def test_users_who_do_not_differ_are_answered():
    clicks = np.array([100, 120, 130])
    (found,) = answers(
        {
            "group": ["a", "b", "c"],
            "impressions": [1000] * 3,
            "clicks": clicks,
            "ctr_users": [1] * 3,
            "ctr_sum_mm": [1_000_000] * 3,
            "ctr_sum_my": 1000 * clicks,
            "ctr_sum_yy": clicks**2,
            "auc": [0.6, 0.7, 0.8],
        },
        "auc:ctr:+",
    )

    assert found.verdict == "inconclusive"
    assert found.effective_users == 3


def test_groups_that_scatter_contradict_nothing():
    """Of the users alone the slope is significantly negative; the groups scatter as much."""
    (found,) = answers(
        {
            "group": ["g1", "g2", "g3", "g4", "g5"],
            "impressions": [49835, 49808, 50061, 50307, 49797],
            "clicks": [6001, 5728, 5671, 5529, 5710],
            "ctr_users": [5000] * 5,
            "ctr_sum_mm": [545059, 546224, 549975, 556581, 545937],
            "ctr_sum_my": [65502, 62417, 62376, 61455, 62843],
            "ctr_sum_yy": [16169, 15070, 14609, 13913, 14768],
            "recall@20": [0.4, 0.409, 0.421, 0.432, 0.444],
        },
        "recall@20:ctr:+",
    )

    assert found.headline.interval == pytest.approx((-1.733, 0.612), abs=1e-3)
    assert found.verdict == "inconclusive"
    assert "The users of these groups differ, but the groups deviate" in answer_sentence(found, 20)


def test_three_small_groups_are_inconclusive():
    (found,) = answers(
        {
            "group": ["g1", "g2", "g3"],
            "impressions": [300] * 3,
            "clicks": [27, 36, 42],
            "recall@20": [0.40, 0.42, 0.44],
        },
        "recall@20:ctr:+",
    )

    assert found.headline.interval == pytest.approx((-5.8, 15.6), abs=0.05)
    assert found.verdict == "inconclusive"


def test_one_order_says_nothing_of_orders_and_leaves_clicks_alone():
    orders, clicks = answers(
        {
            "group": list("abcdef"),
            "impressions": [21948, 16910, 19847, 17093, 19588, 18682],
            "clicks": [158, 104, 139, 103, 94, 85],
            "orders": [0, 0, 0, 1, 0, 0],
            "auc": [0.61, 0.55, 0.70, 0.66, 0.58, 0.52],
        },
        "auc:orders_per_impression:+",
        "auc:ctr:+",
    )

    assert (orders.slope, orders.p_value, orders.required_trials) == (None, None, None)
    assert (orders.undefined_reason, orders.verdict) == ("few_successes", "undefined")
    assert "only 1 order in all groups; a CI requires 5" in answer_sentence(orders, None)
    assert clicks.slope is not None


def random_table(rng):
    """Two to twelve groups of few users and few events; some columns unknown, some degenerate."""
    groups, users = int(rng.integers(2, 13)), int(rng.integers(1, 60))
    m = rng.integers(1, 40, (groups, users))
    y = rng.binomial(m, rng.choice([0.0, 0.001, 0.01, 0.1, 0.5, 1.0]) * rng.random((groups, 1)))
    if rng.random() < 0.2:
        y[rng.integers(groups)] = 0
    orders = rng.binomial(y, rng.choice([0, 0.02, 0.3, 1.0]))
    revenue = (orders * rng.lognormal(3, 2, (groups, users))).astype(int)
    auc = rng.random(groups)
    if rng.random() < 0.2:
        auc[:] = rng.choice([0.5, 0.0])
    table = {"group": [f"g{n}" for n in range(groups)], "auc": auc, "ndcg": rng.random(groups)}
    counts = {"impressions": m, "clicks": y, "orders": orders, "revenue": revenue}
    table |= {name: values.sum(axis=1) for name, values in counts.items()}
    if rng.random() < 0.5:
        table["auc_se"] = 0.02 * rng.random(groups)
    if rng.random() < 0.6:
        pairs = {"ctr": (m, y), "cvr": (y, orders), "revenue_per_impression": (m, revenue)}
        for kpi, (a, b) in pairs.items():
            table[f"{kpi}_users"] = (a > 0).sum(axis=1)
            table[f"{kpi}_sum_mm"] = (a * a).sum(axis=1)
            table[f"{kpi}_sum_my"] = (a * b).sum(axis=1)
            table[f"{kpi}_sum_yy"] = (b * b).sum(axis=1)
    return table


def check_answers(found):
    for one in found.hypotheses:
        assert answer_sentence(one, found.cutoff).endswith(".")
        assert evidence_words(rate_evidence(one, found.diagnostics), one.verdict)
        assert (one.verdict == "undefined") == (one.undefined_reason is not None)
        ends = one.headline.interval
        assert ends is not None or one.headline.undefined_reason
        if ends and one.headline.p_value is not None:
            low, high = ends
            excludes = (low is not None and low > 0) or (high is not None and high < 0)
            assert excludes == (one.headline.p_value < 0.05)


KPIS = ("ctr", "cvr", "orders_per_impression", "revenue_per_impression")


@pytest.mark.parametrize("seed", range(12))
def test_random_small_tables_have_answers_or_reasons(seed):
    check_answers(fit(random_table(np.random.default_rng(seed)), *(f"auc:{k}:+" for k in KPIS)))


@pytest.mark.slow
def test_500_random_small_tables_have_answers_or_reasons():
    for seed in range(100, 600):
        check_answers(fit(random_table(np.random.default_rng(seed)), *(f"auc:{k}:+" for k in KPIS)))
