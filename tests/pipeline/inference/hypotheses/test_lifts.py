"""The lift of every KPI against the control: by hand, by statsmodels, with CUPED and by day."""

from datetime import date, timedelta
from math import exp, log

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm

import paretoscope as ps
from pipeline.core.contracts import OFFLINE_METRICS, Kpi
from pipeline.experiment.kpis.contracts import DAILY_TOTALS, GROUP_KPIS, PRE_PERIOD_SUMS
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.lifts import control_of, kpi_lifts
from pipeline.study import AdviceConfig, RegressionConfig

AB = pl.DataFrame(
    {
        "variant": ["control", "treatment"],
        "impressions": [12_000, 12_100],
        "clicks": [1_000, 1_100],
        "users": [12_000, 12_100],
        "share": [1, 1],
    }
)


def lifts(counts, **options):
    return {(one.kpi, one.group): one for one in ps.fit(counts, **options).document.lifts}


def test_an_ab_test_without_a_metric_has_the_test_of_two_proportions():
    found = ps.fit(AB, one_trial_per_user=True)

    ctr = lifts(AB, one_trial_per_user=True)["ctr", "treatment"]
    pooled = 2_100 / 24_100
    error = (pooled * (1 - pooled) * (1 / 12_000 + 1 / 12_100)) ** 0.5
    z = (1_100 / 12_100 - 1_000 / 12_000) / error
    ratio = log((1_100 / 12_100) / (1_000 / 12_000))
    assert ctr.lift == pytest.approx(exp(ratio) - 1)
    assert ctr.p_value == pytest.approx(0.0371, abs=5e-4)
    # the interval excludes 0 as the test does: its error is that for which the ratio has the same z
    assert ctr.interval == pytest.approx(
        (exp(ratio - 1.96 * ratio / z) - 1, exp(ratio + 1.96 * ratio / z) - 1), rel=1e-3
    )
    assert found.hypotheses == ()
    assert found.document.diagnostics.sample_ratio.passed
    assert found.document.limitations[0].kind == "no_metrics"
    (advice,) = (one for one in found.document.advice if one.kpi is Kpi.CTR)
    assert (advice.action, advice.group) == ("ship", "treatment")


def test_a_significant_lift_excludes_0_and_others_do_not():
    for clicks in (1_000, 1_040, 1_080, 1_090, 1_200):
        table = AB.with_columns(clicks=pl.Series([1_000, clicks]))
        one = lifts(table, one_trial_per_user=True)["ctr", "treatment"]
        assert (one.interval[0] > 0 or one.interval[1] < 0) == (one.p_value < 0.05)


def test_the_control_is_declared_named_or_the_first_of_two():
    assert control_of(["A", "B"], None) == "A"
    assert control_of(["A", "Control", "B"], None) == "Control"
    assert control_of(["A", "B", "C"], None) is None
    assert control_of(["A", "B", "C"], "C") == "C"
    three = pl.concat([AB, AB.tail(1).with_columns(variant=pl.lit("C"))])
    assert set(lifts(three)) == {("ctr", "treatment"), ("ctr", "C")} | {
        ("clicks_per_user", name) for name in ("treatment", "C")
    }
    assert lifts(AB, control="treatment")["ctr", "control"].declared


def test_an_amount_without_sums_over_users_has_a_lift_and_no_interval():
    one = lifts(AB.with_columns(revenue=pl.Series([100.0, 120.0])))[
        "revenue_per_impression", "treatment"
    ]

    assert one.lift == pytest.approx(120 / 12_100 / (100 / 12_000) - 1)
    assert (one.interval, one.p_value, one.undefined_reason) == (None, None, "users_unknown")


def test_a_sample_ratio_mismatch_leaves_no_lift():
    found = ps.fit(AB.with_columns(users=pl.Series([12_000, 14_000])))

    assert not found.document.diagnostics.sample_ratio.passed
    assert found.document.lifts == ()


def users():
    """Clicks of users before and in an experiment with 10 impressions each; the treatment adds 8%."""
    rng, count = np.random.default_rng(5), 4_000
    rate = rng.beta(2, 8, count)
    treated = np.arange(count) % 2 == 1
    before = rng.binomial(10, rate)
    after = rng.binomial(10, rate * np.where(treated, 1.08, 1.0))
    return pl.DataFrame({"treated": treated, "a": 10, "b": before, "m": 10, "y": after})


def inputs(table, days=None):
    grouped = table.with_columns(group=pl.when("treated").then(pl.lit("B")).otherwise(pl.lit("A")))
    products = {
        f"sum_{one}{two}": (pl.col(one) * pl.col(two)).sum().cast(pl.Float64)
        for at, one in enumerate("myab")
        for two in "myab"[at:]
    }
    sums = grouped.group_by("group", maintain_order=True).agg(
        kpi=pl.lit("ctr"),
        users=pl.len().cast(pl.Int64),
        **{f"sum_{name}": pl.col(name).sum().cast(pl.Float64) for name in "myab"},
        **products,
    )
    rows = sums.sort("group").with_columns(
        preference_id="group",
        trials=pl.col("sum_m").cast(pl.Int64),
        successes=pl.col("sum_y").cast(pl.Int64),
        rate=pl.col("sum_y") / pl.col("sum_m"),
        standard_error=pl.lit(0.01),
    )
    return RegressionInputs(
        pl.DataFrame(schema=OFFLINE_METRICS.schema),
        None,
        rows.select(list(GROUP_KPIS.columns)),
        pre_period_sums=sums.select(list(PRE_PERIOD_SUMS.columns)),
        daily_totals=days,
        planned_days=14,
    )


SECTION = RegressionConfig(hypotheses=(), advice=AdviceConfig(control="A"))


def test_cuped_is_the_regression_of_statsmodels_on_the_covariate():
    table = users()

    (ctr,) = kpi_lifts(inputs(table), SECTION)

    x = np.column_stack([np.ones(4_000), table["treated"], table["b"] - table["b"].mean()])
    fitted = sm.OLS(table["y"].to_numpy(), x).fit(cov_type="HC1")
    base = fitted.params[0]
    assert ctr.cuped.lift == pytest.approx(fitted.params[1] / base, rel=0.02)
    plain = sm.OLS(table["y"].to_numpy(), x[:, :2]).fit(cov_type="HC1")
    assert ctr.lift == pytest.approx(plain.params[1] / plain.params[0])
    assert ctr.cuped.variance_share == pytest.approx((fitted.bse[1] / plain.bse[1]) ** 2, rel=0.03)
    width = np.subtract(*ctr.cuped.interval[::-1])
    assert width < 0.9 * np.subtract(*ctr.interval[::-1])


def test_the_anytime_interval_contains_the_fixed_one_and_its_p_value_never_rises():
    table = users()
    batch = pl.int_range(pl.len()) // 2 % 100
    by_batch = (
        table.with_columns(
            group=pl.when("treated").then(pl.lit("B")).otherwise(pl.lit("A")), batch=batch
        )
        .group_by("group", "batch", maintain_order=True)
        .agg(impressions=pl.col("m").sum(), clicks=pl.col("y").sum(), new_users=pl.len())
    )
    days = pl.concat(
        by_batch.with_columns(
            day=pl.lit(date(2026, 1, 1) + timedelta(days=number)),
            orders=pl.lit(0),
            units=pl.lit(0),
            revenue=pl.lit(None, dtype=pl.Int64),
        )
        for number in range(14)
    ).select(pl.col(name).cast(kind) for name, kind in DAILY_TOTALS.columns.items())
    p_values = []
    for until in (3, 7, 14):
        evidence = inputs(
            table, days.filter(pl.col("day") < date(2026, 1, 1) + timedelta(days=until))
        )
        (ctr,) = kpi_lifts(evidence, SECTION)
        assert ctr.anytime.interval[0] < ctr.lift < ctr.anytime.interval[1]
        p_values.append(ctr.anytime.p_value)

    assert p_values == sorted(p_values, reverse=True)
