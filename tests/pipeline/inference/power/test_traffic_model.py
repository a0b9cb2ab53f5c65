"""What users can be expected to do: by hand, by drawing them, and from an experiment that was."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from pipeline.artifacts.storage import StudyPaths, write_json
from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError, MissingArtifact
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.experiment.kpis.group_kpis import group_kpis
from pipeline.inference.power.traffic_model import Traffic, past_traffic, traffic_of
from pipeline.study import PlanningConfig
from tests.pipeline.experiment.design.test_traffic_plan import plan_of

RHO = 0.1
TRAFFIC = Traffic(
    ctr=0.2,
    cvr=0.3,
    units_per_order=1.5,
    revenue_variation=0.5,
    impressions_per_day=6000.0,
    returning_users=500.0,
    new_users_per_day=100.0,
    impressions_variation=0.5,
    correlation={Kpi.CTR: RHO, Kpi.CVR: 0.05, Kpi.ORDERS_PER_IMPRESSION: 0.0},
)
KPIS = [Kpi.CTR, Kpi.CVR, Kpi.CLICKS_PER_USER, Kpi.UNITS_PER_USER, Kpi.REVENUE_PER_IMPRESSION]


def drawn_users(n, days, seed=0):
    """Impressions, clicks, orders, units and revenue of ``n`` users, drawn one by one."""
    rng = np.random.default_rng(seed)
    mean = TRAFFIC.impressions(days) / TRAFFIC.users(days)
    m = np.maximum(rng.gamma(4, mean / 4, n).round(), 0).astype(int)  # variation 1/2
    c, o = 1 / RHO - 1, 1 / 0.05 - 1
    clicks = rng.binomial(m, rng.beta(c * 0.2, c * 0.8, n))
    orders = rng.binomial(clicks, rng.beta(o * 0.3, o * 0.7, n))
    units = orders + rng.poisson(0.5 * orders)
    revenue = rng.normal(orders, 0.5 * np.sqrt(orders))
    return {
        "users": np.ones(n, dtype=int),
        "impressions": m,
        "clicks": clicks,
        "orders": orders,
        "units": units,
        "revenue": revenue,
    }


def test_users_who_come_back_add_impressions_and_no_users():
    assert (TRAFFIC.users(10), TRAFFIC.impressions(10)) == (1500, 60_000)
    only_regulars = replace(TRAFFIC, new_users_per_day=0.0)
    assert only_regulars.users(10) == only_regulars.users(100) == 500
    few_lists = replace(TRAFFIC, impressions_per_day=30.0)
    assert few_lists.users(10) == 300  # nobody is a user without an impression


def test_a_part_of_the_users_has_that_part_of_everything():
    part = TRAFFIC.part(0.1)

    assert (part.users(10), part.impressions(10)) == pytest.approx((150, 6000))
    assert part.ctr == TRAFFIC.ctr


@pytest.mark.parametrize("kpi", KPIS)
def test_sums_are_those_of_users_who_are_drawn(kpi):
    n, days = 200_000, 10
    users = drawn_users(n, days)
    m, y = (users[name].astype(float) for name in TERMS[kpi])
    # orders depend on the habits of clicking and of ordering alike
    both = (1 + RHO * (1 / 0.2 - 1)) * (1 + 0.05 * (1 / 0.3 - 1)) - 1
    sale = both * 0.06 / (1 - 0.06)
    traffic = replace(TRAFFIC, correlation={**TRAFFIC.correlation, Kpi.ORDERS_PER_IMPRESSION: sale})

    sums = traffic.sums(kpi, days=days, shares=np.ones(1), chances=np.array([traffic.chance(kpi)]))

    scale = n / traffic.users(days)
    for name, found in {
        "trials": m.sum(),
        "successes": y.sum(),
        "sum_mm": (m * m).sum(),
        "sum_my": (m * y).sum(),
        "sum_yy": (y * y).sum(),
    }.items():
        assert getattr(sums, name)[0] * scale == pytest.approx(found, rel=0.04), name


PER_DAY = 100


def past_experiment(days, n):
    """Its users, and their ``group_kpis`` and new users by day."""
    users = drawn_users(n, days, seed=1)
    counts = {name: [int(values.sum())] for name, values in users.items() if name != "revenue"}
    revenue = np.round(1000 * users["revenue"]).astype(int)
    columns = {**users, "revenue": revenue}
    counts |= {"group": ["g1"], "revenue": [int(revenue.sum())]}
    for kpi, (trials, successes) in TERMS.items():
        m, y = columns[trials], columns[successes]
        sums = {"users": (m > 0).sum(), "sum_mm": m @ m, "sum_my": m @ y, "sum_yy": y @ y}
        counts |= {f"{kpi}_{name}": [int(value)] for name, value in sums.items()}
    table = group_kpis(pl.DataFrame(counts), {"g1": "p0"})
    daily = pl.DataFrame(
        {
            "day": [date(2026, 3, 2) + timedelta(days=d) for d in range(days)],
            "new_users": [n - PER_DAY * (days - 1), *[PER_DAY] * (days - 1)],
        }
    )
    return users, table, daily


def test_an_experiment_that_was_tells_its_traffic():
    days = 10
    users, table, daily = past_experiment(days, 100_000)

    found = past_traffic(table, daily)

    assert found.ctr == pytest.approx(0.2, rel=0.02)
    assert found.cvr == pytest.approx(0.3, rel=0.02)
    assert found.units_per_order == pytest.approx(1.5, rel=0.02)
    assert found.revenue_variation == pytest.approx(0.5, rel=0.05)
    assert found.impressions_variation == pytest.approx(0.5, rel=0.02)
    assert found.impressions_per_day == users["impressions"].sum() / days
    assert found.correlation[Kpi.CTR] == pytest.approx(RHO, rel=0.05)
    assert found.correlation[Kpi.CVR] == pytest.approx(0.05, rel=0.15)
    assert found.new_users_per_day == PER_DAY
    seen = (users["impressions"] > 0).sum()
    assert found.returning_users == seen - PER_DAY * days


def test_a_past_experiment_of_clicks_has_no_rate_of_orders():
    _, table, daily = past_experiment(10, 20_000)
    of_clicks = table.filter(pl.col("kpi").is_in(["ctr", "clicks_per_user"]))

    found, whole = past_traffic(of_clicks, daily), past_traffic(table, daily)

    assert (found.cvr, found.correlation[Kpi.CVR]) == (0.0, 0.0)
    assert (found.ctr, found.correlation[Kpi.CTR]) == (whole.ctr, whole.correlation[Kpi.CTR])
    assert found.impressions_per_day == whole.impressions_per_day


def test_a_past_study_tells_what_the_whole_shop_would_have_brought(tmp_path):
    paths = StudyPaths(root=tmp_path, name="autumn")
    past = StudyPaths(root=tmp_path, name="spring")
    section = PlanningConfig(past_study="spring", ctr=0.9)
    with pytest.raises(MissingArtifact, match=r"spring/traffic_plan.*traffic_plan"):
        traffic_of(section, paths)
    _, table, daily = past_experiment(4, 2000)
    for asset in ("group_kpis", "traffic_plan"):
        past.artifact(asset).mkdir(parents=True)
    table.write_parquet(past.artifact("group_kpis", "group_kpis.parquet"))
    daily.write_parquet(past.artifact("group_kpis", "daily_totals.parquet"))
    plan = plan_of(traffic_share=0.5, holdout=0.2)
    write_json(past.artifact("traffic_plan", "traffic_plan.json"), plan.as_dict())

    found = traffic_of(section, paths)

    seen = past_traffic(table, daily)
    assert found.ctr == seen.ctr
    assert found.impressions_per_day == pytest.approx(seen.impressions_per_day / (0.5 * 0.8))
    assert found.users(4) == pytest.approx(seen.users(4) / 0.4)


def test_past_traffic_without_orders_is_an_error():
    counts = {"group": ["g1"], "users": [2], "impressions": [10], "clicks": [3], "orders": [0]}
    counts |= {"units": [0], "revenue": [None]}
    for kpi in TERMS:
        counts |= {f"{kpi}_{name}": [5] for name in ("users", "sum_mm", "sum_my", "sum_yy")}
    table = group_kpis(pl.DataFrame(counts), {"g1": "p0"})

    with pytest.raises(DataError, match=r"3 clicks and no order.*past_study: null"):
        past_traffic(table, pl.DataFrame({"day": [date(2026, 3, 2)], "new_users": [2]}))


def test_a_study_says_its_traffic_key_by_key(tmp_path):
    section = PlanningConfig(ctr=0.1, user_correlation=0.07, new_users_per_day=3.0)

    found = traffic_of(section, StudyPaths(root=tmp_path, name="spring"))

    assert (found.ctr, found.cvr, found.new_users_per_day) == (0.1, section.cvr, 3.0)
    assert set(found.correlation.values()) == {0.07}
