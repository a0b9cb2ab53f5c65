"""The ground truth of a simulated experiment, compared with its log."""

from math import hypot, sqrt

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.simulator.ground_truth import expected_kpis, shop_truth, truth_table
from pipeline.simulator.recommender_backend import InProcess
from pipeline.simulator.session_loop import SimulationState
from pipeline.simulator.shop_experiment import (
    EXPERIMENT_TS,
    preferences_of,
    simulate_users,
    user_ids,
)
from pipeline.simulator.users import UserState
from pipeline.synthetic.generate_log import build_shop
from pipeline.synthetic.users import make_users
from tests.pipeline.simulator.experiments import (
    PLAN,
    SHOP,
    Tempter,
    config_of,
    inputs_of,
    reported,
    write_direct_log,
    write_shop_log,
)

SEEDS = 25
KPIS = [Kpi.CTR, Kpi.CVR, Kpi.UNITS_PER_IMPRESSION]
RATES = {"impressions_per_user": 12.0, "ctr": 0.2, "cvr": 0.1}
LEVELS = {
    "sample_ratio": 5e-4,
    "aa_rerandomisation": 1e-3,
    "carry_over": 1e-3,
    "aa_replicates": 1e-3,
    "novelty": 0.05,
}
"""False positive rates of the checks; all others never fail on clean experiments."""


def test_expected_kpis_of_two_users():
    rows = [(0, 0.5, 0.10, 0.2), (0, 0.3, 0.02, 0.0), (1, 0.1, 0.06, 0.1)]
    names = ["user", "expected_clicks", "expected_orders", "expected_units"]

    found = expected_kpis(pl.DataFrame(rows, schema=names, orient="row"))

    assert found["ctr"]["value"] == pytest.approx(0.9 / 3)
    assert found["cvr"]["value"] == pytest.approx(0.18 / 0.9)
    assert found["units_per_impression"]["value"] == pytest.approx(0.3 / 3)
    assert found["clicks_per_user"]["value"] == pytest.approx(0.9 / 2)
    # the residuals of the users are 0.8 - 2 · 0.3 = 0.2 above and 0.1 - 0.3 = -0.2 below; U / (U - 1) = 2
    assert found["ctr"]["standard_error"] == pytest.approx(sqrt(2 * (0.2**2 + 0.2**2)) / 3)
    assert not any(Kpi(name).needs_revenue for name in found)


def test_a_ratio_without_clicks_is_none():
    rows = pl.DataFrame({"user": [1], "expected_clicks": [0.0]})
    rows = rows.with_columns(expected_orders=pl.lit(0.0), expected_units=pl.lit(0.0))

    assert expected_kpis(rows)["cvr"] == {"value": None, "standard_error": None}
    assert expected_kpis(rows)["ctr"] == {"value": 0.0, "standard_error": None}


@pytest.mark.parametrize("rules", [{}, {"learning": 0.5, "drift": 0.1}], ids=["plain", "learning"])
def test_what_is_expected_of_a_list_is_what_comes_of_it_on_average(rules):
    config = config_of(1, users=1000, **rules)
    rng = np.random.default_rng(1)
    shop, preference = build_shop(SHOP), preferences_of(user_ids(config), PLAN)
    tastes = make_users(SHOP, 1000, rng)
    state = SimulationState(
        shop=shop,
        users=UserState.of(tastes, preference, config.simulator, opening_ts=EXPERIMENT_TS),
        backend=InProcess.of(Tempter(), preference, k=5, shop_items=SHOP.items),
        opening_ts=EXPERIMENT_TS,
    )

    rows = simulate_users(state, config, rng, expected=True)

    # given the past, the difference of every list has mean 0, so the sum is a martingale
    for happened, expected in (("clicked", "clicks"), ("ordered", "orders"), ("units", "units")):
        difference = rows[happened].cast(pl.Float64) - rows[f"expected_{expected}"]
        assert abs(difference.sum()) < 4 * sqrt((difference**2).sum())
        assert rows[happened].sum() > 30


def test_the_truth_has_every_group_and_its_error_decreases_with_the_users():
    few, many = (shop_truth(Tempter(), PLAN, config_of(1, truth_users=n)) for n in (50, 800))

    assert list(few["groups"]) == [group.name for group in PLAN.groups]
    assert few["groups"]["g1"] == few["groups"]["g4"]  # the same users under the same preference
    for found, wider in zip(many["groups"].values(), few["groups"].values(), strict=True):
        ratio = found["ctr"]["standard_error"] / wider["ctr"]["standard_error"]
        assert ratio == pytest.approx(1 / 4, rel=0.5)
    assert many["groups"]["g3"]["ctr"]["value"] > many["groups"]["g1"]["ctr"]["value"] + 0.05


def test_the_truth_as_a_table():
    one = {"ctr": 0.1, "cvr": None, "units_per_impression": 0.2}
    truth = {
        "groups": {
            group.name: {
                kpi: {"value": value, "standard_error": 0.00123 if kpi == "ctr" else 0.0}
                for kpi, value in one.items()
            }
            for group in PLAN.groups
        }
    }

    lines = truth_table(truth, PLAN).splitlines()

    assert lines[0] == "| group | ctr | cvr | units_per_impression |"
    assert lines[2] == "| g1 | 0.10000 ± 0.00123 | undefined | 0.20000 |"
    assert len(lines) == 2 + len(PLAN.groups)


def distances(folder, truth):
    """Differences of measured and true KPIs in standard errors, by KPI."""
    table, _ = inputs_of(folder)
    found = {}
    for kpi in KPIS:
        rows = table.group_kpis.filter(kpi=kpi.value).sort("group").to_dicts()
        true = [truth["groups"][row["group"]][kpi.value] for row in rows]
        found[kpi] = [
            (row["rate"] - one["value"]) / hypot(row["standard_error"], one["standard_error"])
            for row, one in zip(rows, true, strict=True)
        ]
    return found


@pytest.fixture(scope="module", params=["shop", "direct"])
def experiments(request, tmp_path_factory):
    """Distances from the truth and failed checks of the experiments."""
    found: list[dict] = []
    reports: list[set[str]] = []
    truth = shop_truth(Tempter(), PLAN, config_of(999, truth_users=20_000))
    for seed in range(SEEDS):
        folder = tmp_path_factory.mktemp(f"{request.param}-{seed}")
        config = config_of(seed, direct=RATES)
        if request.param == "direct":
            simulation = write_direct_log(config, folder)
            truth = simulation.truth()
        else:
            write_shop_log(config, folder)
        found.append(distances(folder, truth))
        reports.append(reported(folder))
    return found, reports


@pytest.mark.slow
@pytest.mark.parametrize("kpi", KPIS)
def test_measured_kpis_and_the_truth_agree_within_sampling_error(experiments, kpi):
    z = np.array([of_seed[kpi] for of_seed in experiments[0]])

    # errors are estimated from 250 users per group, so the squares are slightly too large
    assert 0.001 < stats.chi2.cdf((z**2).sum(), z.size) < 0.999
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert abs(z.mean()) < 4 / sqrt(z.size)


@pytest.mark.slow
def test_false_positives_on_clean_experiments_are_within_the_levels(experiments):
    counts = dict.fromkeys(LEVELS, 0)
    for found in experiments[1]:
        assert found <= set(LEVELS)
        for name in found:
            counts[name] += 1

    for name, level in LEVELS.items():
        assert counts[name] <= stats.binom.isf(1e-3, SEEDS, level), counts
