"""Diagnostics: a healthy experiment passes every check, and each check finds its fault."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from pipeline.core.contracts import ALL_TARGETS, OFFLINE_METRICS, Kpi
from pipeline.experiment.kpis.contracts import DAILY_TOTALS, RETURNING_USER_TOTALS
from pipeline.experiment.kpis.group_kpis import group_kpis
from pipeline.experiment.log.row_fates import RowFates
from pipeline.inference.diagnostics.run_diagnostics import run_diagnostics
from pipeline.inference.diagnostics.sample_ratio import check_days
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.results.diagnostics import CHECKS, CompleteDays
from pipeline.study import Hypothesis
from tests.pipeline.inference.shops import FIRST, pre_period_sums_of, weeks

RECALL = {"g1": 0.40, "g2": 0.42, "g3": 0.45}
PREFERENCES = {"g1": "p0", "g2": "p1", "g3": "p2"}
H1 = Hypothesis(id="H1", metric="recall", kpi=Kpi.CTR, direction="positive")
GROUPS = list(RECALL)


def tables(outcome):
    """``daily_totals`` and ``group_kpis`` of an outcome whose batches are its users."""
    rows = [
        (GROUPS[g], outcome.days[d], b, int(d == 0), int(m), int(y), int(y) // 2, int(y), None)
        for (g, d, b), m in np.ndenumerate(outcome.trials_GDB)
        for y in [outcome.successes_GDB[g, d, b]]
        if m
    ]
    daily = pl.DataFrame(rows, schema=DAILY_TOTALS.columns, orient="row")
    users = daily.group_by("group", "batch").agg(pl.col("impressions", "clicks", "orders").sum())
    counts = users.group_by("group").agg(
        pl.col("impressions", "clicks", "orders").sum(),
        *(
            expression.sum().alias(f"{kpi}_{name}")
            for kpi, m, y in (("ctr", "impressions", "clicks"), ("cvr", "clicks", "orders"))
            for name, expression in (
                ("users", (pl.col(m) > 0).cast(pl.Int64)),
                ("sum_mm", pl.col(m) ** 2),
                ("sum_my", pl.col(m) * pl.col(y)),
                ("sum_yy", pl.col(y) ** 2),
            )
        ),
    )
    return daily, group_kpis(counts, PREFERENCES)


def evidence_of(outcome, preferences=PREFERENCES):
    daily, kpis = tables(outcome)
    kpis = kpis.with_columns(preference_id=pl.col("group").replace_strict(preferences))
    measured = {preferences[name]: value for name, value in RECALL.items()}
    metrics = [
        {"preference_id": name, "metric": "recall", "segment": ALL_TARGETS, "value": value}
        for name, value in measured.items()
    ]
    offline = pl.DataFrame(metrics, schema=OFFLINE_METRICS.schema)
    return RegressionInputs(offline, None, kpis, daily_totals=daily, planned_days=14)


FATES = {**dict.fromkeys(("table", "group", "kind", "reason"), pl.String), "rows": pl.Int64}
NOTHING_LOST = RowFates(
    fates=pl.DataFrame([("clicks", "g1", "used", None, 900)], schema=FATES, orient="row"),
    sums=pl.DataFrame(schema={"table": pl.String}),
    outcomes=pl.DataFrame(
        schema=dict.fromkeys(("group", "impressions", "clicks", "orders"), pl.Int64)
    ),
)

HEALTHY = evidence_of(weeks(2, x=np.zeros(3), days=14))


def health(evidence, shares=None, rows=NOTHING_LOST):
    found = run_diagnostics(
        evidence, [H1], shares=shares or dict.fromkeys(GROUPS, 1.0), rows=rows, seed=1
    )
    assert [name for name, _ in found.items()] == list(CHECKS)
    return found


def failed(found):
    return [name for name, check in found.items() if check.passed is False]


def test_a_healthy_experiment_passes_every_check():
    found = health(HEALTHY)

    assert failed(found) == []
    assert found.complete_days == CompleteDays(passed=True, days=14, missing=())
    assert found.aa_rerandomisation.hypotheses["H1"].divisions == 1000


def test_a_sample_ratio_mismatch_is_found():
    assert failed(health(HEALTHY, shares={"g1": 1.0, "g2": 1.0, "g3": 3.0})) == ["sample_ratio"]


def test_a_group_without_a_day_is_found():
    daily = HEALTHY.daily_totals.filter(~((pl.col("group") == "g2") & (pl.col("day") == FIRST)))
    found = health(replace(HEALTHY, daily_totals=daily))

    assert failed(found) == ["complete_days"]
    assert found.complete_days.missing == (date(2025, 9, 1),)


def test_ten_days_are_not_whole_weeks():
    ten = HEALTHY.daily_totals.filter(pl.col("day") < FIRST + timedelta(days=10))

    assert failed(health(replace(HEALTHY, daily_totals=ten))) == ["whole_weeks"]


@pytest.mark.parametrize(("lost", "names"), [(9, []), (10, ["lost_outcomes"])])
def test_lost_events_are_found_from_ten_rows_and_one_percent(lost, names):
    more = pl.DataFrame(
        [("clicks", None, "unmatched", "click without impression", lost)],
        schema=NOTHING_LOST.fates.schema,
        orient="row",
    )
    found = health(HEALTHY, rows=replace(NOTHING_LOST, fates=NOTHING_LOST.fates.vstack(more)))

    assert failed(found) == names
    assert found.allow_verdicts is (names == [])
    assert found.lost_outcomes.lost_share == pytest.approx(lost / (900 + lost))
    assert found.lost_outcomes.unknown_group == lost


@pytest.mark.parametrize(("more", "found"), [(0, []), (6, ["carry_over"])])
def test_carry_over_is_found(more, found):
    """Of 50 impressions on the first day and as many after it 10 are clicked, but for the best group."""
    rng = np.random.default_rng(1)
    rows = [
        (group, batch, "ctr", 9, 50, 10 + noise, 10.0 - noise + more * (group == "g3"))
        for group in GROUPS
        for batch, noise in enumerate(rng.integers(-3, 4, 100).tolist())
    ]
    returning = pl.DataFrame(rows, schema=RETURNING_USER_TOTALS.columns, orient="row")

    checked = health(replace(HEALTHY, returning_user_totals=returning))

    assert failed(checked) == found
    assert (checked.carry_over.hypotheses["H1"].slope > 2) == bool(more)


@pytest.mark.parametrize(("reused", "found"), [(0.0, []), (0.1, ["pre_experiment_balance"])])
def test_groups_that_differed_before_the_experiment_are_found(reused, found):
    """As when the last experiment's buckets are used again, and its lists have left habits."""
    rng = np.random.default_rng(4)
    impressions = rng.poisson(10, (3, 500))
    clicks = rng.binomial(impressions, 0.2 + reused * np.array([[0], [0], [1]]))
    before = pre_period_sums_of({"m": impressions, "y": clicks, "a": impressions, "b": clicks})

    checked = health(replace(HEALTHY, pre_period_sums=before))

    assert failed(checked) == found
    assert checked.pre_experiment_balance.kpis["ctr"].df == 2


def test_groups_of_one_preference_that_differ_are_found():
    alike = {"g1": "p0", "g2": "p1", "g3": "p0"}
    same = evidence_of(weeks(2, x=np.zeros(3), days=14), alike)
    other = evidence_of(weeks(2, slope=1.0, x=np.array([0.0, 0.0, 1.0]), days=14), alike)

    assert failed(health(same)) == []
    assert failed(health(other)) == ["aa_replicates"]
    assert health(other).aa_replicates.kpis["ctr"].df == 1


def day(number, impressions=100, group="g1"):
    sums = {"new_users": 1, "clicks": 1, "orders": 0, "units": 0, "revenue": None}
    when = date(2025, 9, 1) + timedelta(days=number)
    return {"group": group, "day": when, "batch": 0, "impressions": impressions} | sums


@pytest.mark.parametrize(
    ("days", "missing", "whole_weeks"),
    [
        ([day(n) for n in range(7)], 0, True),
        ([day(n) for n in range(8)], 0, False),
        ([*(day(n) for n in range(7)), day(7, impressions=9)], 0, True),  # visits past midnight
        ([day(n) for n in (0, 1, 2, 3, 5, 6)], 1, True),
        ([*(day(n) for n in range(7)), day(3, group="g2")], 6, True),
        ([], 0, False),
    ],
)
def test_days_by_hand(days, missing, whole_weeks):
    groups = {row["group"] for row in days}

    complete, weeks = check_days(pl.DataFrame(days, schema=DAILY_TOTALS.schema), groups)

    assert len(complete.missing) == missing
    assert complete.passed == (missing == 0)
    assert weeks.passed == whole_weeks
