"""Hypotheses: the paper's Table 1 from group counts, and undefined slopes."""

import json
from dataclasses import replace
from math import exp, log

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import (
    OFFLINE_METRIC_COVARIANCE,
    OFFLINE_METRICS,
    Kpi,
    Metric,
)
from pipeline.experiment.kpis.contracts import GROUP_KPIS, PRE_PERIOD_TERMS
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs, relative_change
from pipeline.results.serialization import to_dict
from pipeline.study import PAPER_HYPOTHESES, RegressionConfig
from tests.pipeline.inference.golden import GOLDEN, IMPRESSIONS_A_GROUP, TABLE_1, TEST_CLICKS


def offline_metrics(values):
    """The table of offline metrics from (preference, metric, value) rows."""
    rows = [
        {
            "preference_id": preference,
            "preference": [0.5, 0.5],
            "metric": metric.value,
            "cutoff": 20,
            "segment": "all",
            "value": value,
            "standard_error": None,
            "n_targets": 100,
            "n_sessions": 10,
            "higher_is_better": True,
        }
        for preference, metric, value in values
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.columns)


def group_kpis(counts):
    """The table of KPIs from (group, KPI, trials, successes); every trial a user of its own.

    Group gN has preference pN.
    """
    rows = [
        {
            "group": group,
            "preference_id": f"p{group[1:]}",
            "kpi": kpi.value,
            "trials": n,
            "successes": y,
            "rate": y / n if n else None,
            "standard_error": None,
            "users": n,
            "sum_mm": n,
            "sum_my": y,
            "sum_yy": y,
        }
        for group, kpi, n, y in counts
    ]
    return pl.DataFrame(rows, schema=GROUP_KPIS.columns)


@pytest.fixture(scope="module")
def golden_evidence():
    """Counts that reproduce the paper's Table 1."""
    metrics, kpis = [], []
    for group, (hits, ordered_hits, clicks, orders) in GOLDEN.items():
        preference = f"p{group[1:]}"
        metrics += [
            (preference, Metric.RECALL, hits / TEST_CLICKS),
            (preference, Metric.ORDER_DENSITY, ordered_hits / hits),
            (preference, Metric.RECALL_ORDER_DENSITY, ordered_hits / TEST_CLICKS),
        ]
        kpis += [
            (group, Kpi.CTR, IMPRESSIONS_A_GROUP, clicks),
            (group, Kpi.CVR, clicks, orders),
            (group, Kpi.ORDERS_PER_IMPRESSION, IMPRESSIONS_A_GROUP, orders),
        ]
    return RegressionInputs(offline_metrics(metrics), None, group_kpis(kpis))


@pytest.fixture(scope="module")
def golden(golden_evidence):
    """The four estimates of the paper's hypotheses on them."""
    section = RegressionConfig(level=0.95, hypotheses=PAPER_HYPOTHESES)
    estimates = estimate_hypotheses(golden_evidence, section, seed=0)
    return {estimate.id: estimate for estimate in estimates}


@pytest.mark.parametrize("name", TABLE_1)
def test_slopes_and_intervals_of_the_paper(golden, name):
    slope, within, interval = TABLE_1[name]
    found = golden[name]

    assert found.slope == pytest.approx(slope, abs=within)
    assert found.interval == pytest.approx(interval, abs=5.1e-4)


@pytest.mark.parametrize(("name", "p_value"), [("H2", 0.0080), ("H4", 0.0174)])
def test_p_values_of_the_paper(golden, name, p_value):
    assert golden[name].p_value == pytest.approx(p_value, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "standard_error", "pearson_chi2"),
    [
        ("H1", 0.014784, 0.35),
        ("H2", 0.475459, 15.71),
        ("H3", 0.104805, 16.06),
        ("H4", 0.085761, 17.08),
    ],
)
def test_errors_and_lack_of_fit_of_the_golden_counts(golden, name, standard_error, pearson_chi2):
    found = golden[name]

    assert found.standard_error == pytest.approx(standard_error, abs=5e-7)
    assert found.lack_of_fit.pearson_chi2 == pytest.approx(pearson_chi2, abs=5e-3)
    assert found.lack_of_fit.df == 5 - 2


def test_golden_points_are_relative_to_the_worst_group(golden):
    per_cent = {
        "H1": [0, 1.588, 6.138, 9.617, 11.012],
        "H2": [2.021, 1.757, 1.296, 0.401, 0],
        "H3": [0, 1.325, 5.385, 7.877, 8.813],
    }
    for name, expected in per_cent.items():
        found = [100 * point.x for point in golden[name].points]
        assert found == pytest.approx(expected, abs=5e-4)


def test_h3_has_one_kpi(golden):
    h3 = golden["H3"]

    assert h3.kpi is h3.response is Kpi.ORDERS_PER_IMPRESSION
    assert [point.successes for point in h3.points] == [orders for *_, orders in GOLDEN.values()]
    assert h3.n == 5 * IMPRESSIONS_A_GROUP


def test_units_per_impression_is_fitted_to_orders_per_impression(golden_evidence, golden):
    units = replace(PAPER_HYPOTHESES[2], kpi=Kpi.UNITS_PER_IMPRESSION)
    section = RegressionConfig(level=0.95, hypotheses=(units,))

    (found,) = estimate_hypotheses(golden_evidence, section, seed=0)

    assert (found.kpi, found.response) == (Kpi.UNITS_PER_IMPRESSION, Kpi.ORDERS_PER_IMPRESSION)
    assert (found.slope, found.interval) == (golden["H3"].slope, golden["H3"].interval)
    assert found.log_rate is None  # of the units, which the golden counts do not have


def test_of_the_papers_hypotheses_the_first_alone_is_confirmed(golden):
    # five groups lie about the lines of conversion as if its metrics had nothing to do with it
    verdicts = [golden[f"H{n}"].verdict for n in (1, 2, 3, 4)]

    assert verdicts == ["confirmed", "inconclusive", "suggestive", "inconclusive"]


@pytest.mark.parametrize(
    ("name", "slope", "interval"),
    [
        ("H1", 0.898506, (0.874, 0.923)),
        ("H2", 1.25, (-2.22, 4.71)),
        ("H3", 0.765, (-0.005, 1.535)),
        ("H4", -0.201, (-0.851, 0.449)),
    ],
)
def test_the_headline_of_the_golden_counts(golden, name, slope, interval):
    found = golden[name].headline

    assert found.slope == pytest.approx(slope, abs=0.006)
    assert found.interval == pytest.approx(interval, abs=0.006)
    assert (found.level, found.target) == (0.95, "a new group like these")


def test_without_deviations_between_groups_the_headline_is_the_papers_slope(golden):
    assert golden["H1"].headline.tau == 0
    assert golden["H1"].headline.slope == pytest.approx(golden["H1"].slope, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "quasi", "permutation"),
    [("H1", 1e-5, 1 / 120), ("H2", 0.33, 0.35), ("H3", 0.052, 4 / 120), ("H4", 0.39, 0.425)],
)
def test_five_groups_know_less_than_26_million_impressions(golden, name, quasi, permutation):
    found = golden[name]

    assert found.small_sample.quasi_binomial.p_value == pytest.approx(quasi, rel=0.05)
    assert found.small_sample.quasi_binomial.df == 3
    assert found.permutation.p_value == pytest.approx(permutation, abs=0.01)
    assert (found.permutation.permutations, found.permutation.exact) == (120, True)


@pytest.mark.parametrize(
    ("name", "slope"), [("H1", 0.8054), ("H2", 1.2263), ("H3", 0.7599), ("H4", -0.1984)]
)
def test_the_elasticity_of_the_rate_is_the_slope_of_its_logarithm(golden, name, slope):
    assert golden[name].log_rate.slope == pytest.approx(slope, abs=5e-5)


def test_holms_p_values_are_those_of_the_headlines(golden):
    p = [golden[f"H{n}"].headline.p_value for n in (1, 2, 3, 4)]

    found = [golden[f"H{n}"].holm_p_value for n in (1, 2, 3, 4)]

    # H1 < H3 < H2 < H4: times 4, 3, 2, 1, never below a smaller one's
    assert found == pytest.approx([4 * p[0], 2 * p[1], 3 * p[2], 2 * p[1]], rel=1e-6)


def test_where_the_groups_deviate_no_number_of_trials_is_enough(golden):
    assert golden["H2"].required_trials is None
    assert golden["H1"].required_trials < golden["H1"].n


def test_the_slope_without_each_group_is_that_of_the_others(golden):
    h1 = golden["H1"]

    assert len(h1.leave_one_out) == 5
    assert list(h1.leave_one_out) == ["g1", "g2", "g3", "g4", "g5"]
    assert all(slope == pytest.approx(0.9, abs=0.06) for slope in h1.leave_one_out.values())


def test_an_unhealthy_experiment_has_no_verdict():
    counts = [(1_000_000, y) for y in (100_000, 105_000, 110_000)]

    well, ill = (estimate_one([0.2, 0.21, 0.22], counts, healthy=h) for h in (True, False))

    assert (well.verdict, ill.verdict) == ("confirmed", "blocked")


def test_the_metrics_errors_are_found_by_preference():
    ids = ["p1", "p2", "p3"]
    errors = np.array([[4.0, 2.0, 1.0], [2.0, 5.0, 2.0], [1.0, 2.0, 6.0]]) * 1e-8
    covariance = pl.DataFrame(
        [
            ("recall", one, other, errors[i, j], "bootstrap")
            for i, one in enumerate(ids)
            for j, other in enumerate(ids)
        ][::-1],
        schema=OFFLINE_METRIC_COVARIANCE.columns,
        orient="row",
    )
    counts = [(1_000_000, y) for y in (100_000, 105_000, 110_000)]

    estimate = estimate_one([0.2, 0.21, 0.22], counts, covariance)
    unknown = estimate_one([0.2, 0.21, 0.22], counts, covariance[1:])

    assert (unknown.measurement_error, unknown.metric_covariance) == (None, None)
    assert estimate.metric_covariance == tuple(map(tuple, errors.tolist()))
    found = estimate.measurement_error
    # differences of neighbours have variances 4 + 5 - 2·2 and so on; centred, the errors' mean
    # square is Σ (e - mean)² / 2 = (Σ e² - 3 mean²) / 2
    centred = (4 + 5 + 6 - (4 + 5 + 6 + 2 * (2 + 1 + 2)) / 3) / 2 * 1e-8
    assert 1 - found.reliability == pytest.approx(
        centred / np.var([0.2, 0.21, 0.22], ddof=1), rel=0.1
    )
    assert found.propagated.standard_error > found_error(counts)


def found_error(counts):
    return estimate_one([0.2, 0.21, 0.22], counts).cluster_robust.standard_error


def test_rate_elasticity_is_the_slope_times_the_share_of_failures(golden):
    clicks = sum(clicks for _, _, clicks, _ in GOLDEN.values())

    ctr = clicks / (5 * IMPRESSIONS_A_GROUP)

    assert golden["H1"].rate_elasticity == pytest.approx(golden["H1"].slope * (1 - ctr))


def test_report_row_is_json_and_says_what_the_estimate_holds(golden):
    row = json.loads(json.dumps(to_dict(golden["H4"]), allow_nan=False))
    result = golden["H4"]

    assert (row["id"], row["metric"], row["kpi"]) == ("H4", "recall", "cvr")
    assert row["slope"] == result.slope
    assert row["interval"] == list(result.interval)
    assert row["cluster_robust"]["p_value"] == result.cluster_robust.p_value
    assert row["lack_of_fit"]["df"] == 3
    assert (row["n"], row["groups"], row["level"]) == (2_750_858, 5, 0.95)
    assert [point["group"] for point in row["points"]] == ["g1", "g2", "g3", "g4", "g5"]


def estimate_one(metric_values, counts, covariance=None, *, healthy=True):
    """H1 on three groups of the given recalls and (trials, successes)."""
    metrics = [(f"p{n}", Metric.RECALL, value) for n, value in enumerate(metric_values, start=1)]
    kpis = [(f"g{n}", Kpi.CTR, trials, y) for n, (trials, y) in enumerate(counts, start=1)]
    section = RegressionConfig(hypotheses=PAPER_HYPOTHESES[:1])
    evidence = RegressionInputs(
        offline_metrics(metrics), covariance, group_kpis(kpis), healthy=healthy
    )
    (estimate,) = estimate_hypotheses(evidence, section, seed=0)
    return estimate


def test_planted_line_is_recovered():
    # odds 1 : 9 at x = 0 and e times that for each unit of x: at x = 1, p = e / (e + 9)
    successes = [round(1_000_000 * exp(x) / (exp(x) + 9)) for x in (0, 0.5, 1)]

    found = estimate_one([0.2, 0.3, 0.4], [(1_000_000, y) for y in successes])

    assert [point.x for point in found.points] == pytest.approx([0, 0.5, 1])
    assert found.slope == pytest.approx(1, abs=1e-4)
    assert found.intercept == pytest.approx(log(1 / 9), abs=1e-4)


@pytest.mark.parametrize(
    ("metric_values", "counts", "reason"),
    [
        (
            [0.2, None, 0.4],
            [(9, 1), (9, 2), (9, 3)],
            "metric_not_positive",
        ),
        (
            [0.2, 0.0, 0.4],
            [(9, 1), (9, 2), (9, 3)],
            "metric_not_positive",
        ),
        (
            [0.2, -0.3, 0.4],
            [(9, 1), (9, 2), (9, 3)],
            "metric_not_positive",
        ),
        ([0.2, 0.3], [(9, 1), (9, 2), (9, 3)], "metric_not_positive"),
        ([0.2, 0.2, 0.2], [(9, 1), (9, 2), (9, 3)], "metric_constant"),
        ([0.2, 0.3, 0.4], [(9, 1), (0, 0), (9, 3)], "no_trials"),
        ([0.2, 0.3, 0.4], [(9, 0), (9, 0), (9, 0)], "no_successes"),
    ],
    ids=["undefined", "zero", "negative", "no-metric", "constant", "no-trials", "no-success"],
)
def test_an_undefined_estimate_is_none_with_a_reason(metric_values, counts, reason):
    found = estimate_one(metric_values, counts)

    assert (found.slope, found.rate_elasticity, found.verdict) == (None, None, "undefined")
    assert found.undefined_reason == reason
    assert [(point.trials, point.successes) for point in found.points] == counts
    row = json.loads(json.dumps(to_dict(found), allow_nan=False))
    assert (row["slope"], row["undefined_reason"]) == (None, reason)


def test_relative_change_by_hand():
    found = relative_change(np.array([0.44, 0.40, 0.42]))

    assert found.tolist() == pytest.approx([0.44 / 0.40 - 1, 0, 0.42 / 0.40 - 1])


@pytest.mark.parametrize("values", [[0.4, np.nan], [0.4, 0.0], [-0.1, 0.4]], ids=str)
def test_relative_change_without_a_positive_smallest_value_is_undefined(values):
    assert np.isnan(relative_change(np.array(values))).all()


@settings(max_examples=50)
@given(
    values=st.lists(st.floats(0.01, 1), min_size=1, max_size=8), scale=st.sampled_from([0.01, 7.0])
)
def test_relative_change_is_0_for_the_worst_and_does_not_depend_on_the_scale(values, scale):
    change = relative_change(np.array(values))

    assert change.min() == 0
    assert relative_change(scale * np.array(values)) == pytest.approx(change, abs=1e-12)
    assert (np.diff(change[np.argsort(values)]) >= 0).all()


def test_a_known_past_and_known_segments_of_users_are_used(golden_evidence):
    """The click-through rate of half the users each; a past that says nothing."""
    ctr = golden_evidence.group_kpis.filter(kpi="ctr").sort("group")
    sums = ["trials", "successes", "users", "sum_mm", "sum_my", "sum_yy"]
    halves = [
        ctr.with_columns(pl.lit(name).alias("segment"), pl.col(sums) // 2)
        for name in ("new", "old")
    ]
    past = ctr.select(
        "group",
        "kpi",
        "users",
        **{f"sum_{term}": pl.lit(0) for term in PRE_PERIOD_TERMS},
    ).with_columns(
        sum_m=ctr["trials"],
        sum_y=ctr["successes"],
        sum_mm=ctr["sum_mm"],
        sum_my=ctr["sum_my"],
        sum_yy=ctr["sum_yy"],
    )
    evidence = replace(golden_evidence, pre_period_sums=past, segment_kpis=pl.concat(halves))

    h1, h2, *_ = estimate_hypotheses(
        evidence, RegressionConfig(hypotheses=PAPER_HYPOTHESES), seed=1
    )
    row = json.loads(json.dumps(to_dict(h1)))

    assert row["cuped"]["variance_share"] == pytest.approx(1)
    assert row["cuped"]["cluster_robust"]["slope"] == pytest.approx(row["slope"])
    assert [one["segment"] for one in row["segments"]["slopes"]] == ["new", "old"]
    assert row["segments"]["p_value"] == pytest.approx(1, abs=1e-3)
    assert (h2.cuped, h2.segments) == (None, None)  # nothing is known of its KPI


@pytest.mark.parametrize(
    ("without", "reasons"),
    [
        ("cvr", [None, "no_orders", None, "no_orders"]),  # the KPI is not in the log
        ("order_density", [None, "no_orders", None, None]),  # the metric was not measured
    ],
)
def test_hypotheses_on_orders_say_that_there_are_none(golden_evidence, without, reasons):
    evidence = replace(
        golden_evidence,
        offline_metrics=golden_evidence.offline_metrics.filter(pl.col("metric") != without),
        group_kpis=golden_evidence.group_kpis.filter(pl.col("kpi") != without),
    )

    results = estimate_hypotheses(evidence, RegressionConfig(hypotheses=PAPER_HYPOTHESES), seed=0)

    found = [one.undefined_reason and one.undefined_reason.value for one in results]
    assert found == reasons
    assert all(one.n == 0 for one in results if one.undefined_reason)
