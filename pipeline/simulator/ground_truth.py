"""The truth behind a simulated log: what the KPIs of each group are expected to be.

In the simulated shop it is a mean over many users none of whom is in the log. They visit under each
group's preference in turn; their paths are drawn, but what is summed up is the exact chance of a
click and of an order on every list they are shown, so far less is left to chance than in a log.
"""

from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.recommender.recommender import Recommender
from pipeline.simulator.click_model import Floats
from pipeline.simulator.recommender_backend import InProcess
from pipeline.simulator.session_loop import SimulationState
from pipeline.simulator.shop_experiment import EXPERIMENT_TS, SimulationConfig, simulate_users
from pipeline.simulator.users import UserState
from pipeline.synthetic.generate_log import build_shop
from pipeline.synthetic.users import make_users

TRUTH = "truth.json"

_HOW = (
    "expected clicks, orders and units summed over the visits of users who are not in the log, the "
    "same under every group's preference; the errors are of having so many users"
)


def shop_truth(
    recommender: Recommender, plan: TrafficPlan, setting: SimulationConfig
) -> dict[str, Any]:
    """The expected KPIs of every group, each with the standard error of its own estimation.

    Carry-over, novelty, learning and drift are in them; faults of the log are not.
    """
    shop = build_shop(setting.synthetic)
    users = setting.simulator.truth_users
    found: dict[str, Any] = {}
    for group in plan.groups:
        rng = np.random.default_rng([setting.seed, 4])
        preference = np.tile(group.preference, (users, 1))
        shoppers = make_users(setting.synthetic, users, rng)
        scene = SimulationState(
            shop=shop,
            people=UserState.of(shoppers, preference, setting.simulator, opening_ts=EXPERIMENT_TS),
            host=InProcess.of(
                recommender, preference, k=plan.list_length, shop_items=shop.catalogue.size
            ),
            opening_ts=EXPERIMENT_TS,
        )
        found[group.name] = expected_kpis(simulate_users(scene, setting, rng, expected=True))
    return {"how": _HOW, "users": users, "groups": found}


def expected_kpis(outcomes: pl.DataFrame) -> dict[str, dict[str, float | None]]:
    """The KPIs that expected outcomes come to, with standard errors clustered by user."""
    by_user = outcomes.group_by("user", maintain_order=True).agg(
        users=pl.lit(1.0),
        impressions=pl.len().cast(pl.Float64),
        clicks=pl.col("expected_clicks").sum(),
        orders=pl.col("expected_orders").sum(),
        units=pl.col("expected_units").sum(),
    )
    return {
        kpi.value: _ratio(by_user[trials].to_numpy(), by_user[successes].to_numpy())
        for kpi, (trials, successes) in TERMS.items()
        if not kpi.needs_revenue
    }


def _ratio(m: Floats, y: Floats) -> dict[str, float | None]:
    """``Σ y / Σ m`` and its standard error over users (delta method); None where not defined."""
    if m.sum() == 0:
        return {"value": None, "standard_error": None}
    rate = y.sum() / m.sum()
    squares = float(((y - rate * m) ** 2).sum())
    error = (squares * len(m) / (len(m) - 1)) ** 0.5 / m.sum() if len(m) > 1 else None
    return {"value": float(rate), "standard_error": None if error is None else float(error)}


def truth_table(truth: dict[str, Any], plan: TrafficPlan) -> str:
    """The truth as a Markdown table of groups and the three KPIs of the paper."""
    kpis = (Kpi.CTR, Kpi.CVR, Kpi.UNITS_PER_IMPRESSION)
    lines = [f"| group | {' | '.join(kpis)} |", "|---|" + "---|" * len(kpis)]
    for group in plan.groups:
        cells = [_cell(**truth["groups"][group.name][kpi]) for kpi in kpis]
        lines.append(f"| {group.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float | None, standard_error: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:.5f} ± {standard_error:.5f}" if standard_error else f"{value:.5f}"
