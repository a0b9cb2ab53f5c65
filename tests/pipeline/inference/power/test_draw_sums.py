"""Sums of simulated experiments: what the traffic expects on average, whichever way they are drawn."""

from dataclasses import fields, replace

import numpy as np
import pytest

from pipeline.core.contracts import Kpi
from pipeline.inference.power import draw_sums as drawing
from pipeline.inference.power.draw_sums import PlannedGroups, draw_sums
from pipeline.inference.power.traffic_model import Traffic

TRAFFIC = Traffic(
    ctr=0.2,
    cvr=0.3,
    units_per_order=1.5,
    revenue_variation=0.5,
    impressions_per_day=300.0,
    returning_users=100.0,
    new_users_per_day=0.0,
    impressions_variation=0.5,
    correlation={Kpi.CTR: 0.1, Kpi.CVR: 0.05, Kpi.ORDERS_PER_IMPRESSION: 0.02},
)
SHARES, DAYS, DRAWS = np.array([0.3, 0.7]), 4, 3000


def drawn(kpi, traffic=TRAFFIC):
    chances = np.full((DRAWS, 2), traffic.chance(kpi))
    groups = PlannedGroups(traffic=traffic, kpi=kpi, days=DAYS, shares=SHARES, chances_RG=chances)
    return draw_sums(np.random.default_rng(0), groups)


@pytest.fixture(params=["users", "groups"])
def way(request, monkeypatch):
    """Draw users one by one, or the groups' counts."""
    most = 2500 if request.param == "users" else 0
    monkeypatch.setattr(drawing, "MOST_USERS", most)
    monkeypatch.setattr(drawing, "FEW_USERS", np.inf)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kpi", list(Kpi))
def test_the_sums_are_on_average_what_the_traffic_expects(kpi):
    found = drawn(kpi)

    chances = np.full(2, TRAFFIC.chance(kpi))
    expected = TRAFFIC.sums(kpi, days=DAYS, shares=SHARES, chances=chances)
    for name in (f.name for f in fields(expected) if f.name not in {"family", "users"}):
        mean = np.broadcast_to(getattr(found, name), (DRAWS, 2)).mean(axis=0)
        assert mean == pytest.approx(getattr(expected, name), rel=0.06), name


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("kpi", [Kpi.CTR, Kpi.CVR, Kpi.REVENUE_PER_USER, Kpi.UNITS_PER_IMPRESSION])
def test_rates_vary_as_their_users_imply(kpi):
    found = drawn(kpi)

    rate = found.successes / found.trials
    p = rate.mean(axis=0)
    squares = (found.sum_yy - 2 * p * found.sum_my + p**2 * found.sum_mm).mean(axis=0)
    trials = np.broadcast_to(found.trials, rate.shape).mean(axis=0)
    assert rate.var(axis=0) == pytest.approx(squares / trials**2, rel=0.15)


@pytest.mark.slow
def test_users_are_drawn_where_few_of_them_matter(monkeypatch):
    calls = []
    monkeypatch.setattr(drawing, "_draw_groups", lambda *_: calls.append("groups"))
    many = replace(TRAFFIC, returning_users=2000.0, impressions_per_day=6000.0)
    heavy, rare = replace(many, impressions_variation=4.0), replace(many, ctr=0.001)

    for traffic in (heavy, rare):
        assert drawn(Kpi.CTR, traffic) is not None
    assert calls == []
    assert drawn(Kpi.CTR, many) is None
    assert calls == ["groups"]


def test_a_group_without_a_success_is_drawn_as_often_as_it_happens():
    rare = replace(TRAFFIC, ctr=0.002, correlation=dict.fromkeys(TRAFFIC.correlation, 0.0))

    found = drawn(Kpi.CTR, rare)

    # 100 users with 12 impressions each, of which 30% are in the first group: 0.72 clicks
    assert (found.successes[:, 0] == 0).mean() == pytest.approx(np.exp(-0.72), abs=0.03)
