"""Ground truth of a simulated log: the expected KPIs of each group.

In the simulated shop they are means over users who are not in the log, simulated under each group's
preference in turn. Their sessions are random, but the exact probabilities of a click and of an order on
every list are summed, so the error is far smaller than that of a log.
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

_HOW = (
    "expected clicks, orders and units over the sessions of users who are not in the log, the same "
    "users under every group's preference; the errors are due to the finite number of users"
)


def shop_truth(
    recommender: Recommender, plan: TrafficPlan, config: SimulationConfig
) -> dict[str, Any]:
    """The expected KPIs of every group, with standard errors.

    They include carry-over, novelty, learning and drift, but no faults of the log.
    """
    shop = build_shop(config.synthetic)
    users = config.simulator.truth_users
    found: dict[str, Any] = {}
    for group in plan.groups:
        rng = np.random.default_rng([config.seed, 4])
        preference = np.tile(group.preference, (users, 1))
        level = None if group.level is None else np.full(users, group.level)
        tastes = make_users(config.synthetic, users, rng)
        state = SimulationState(
            shop=shop,
            users=UserState.of(tastes, preference, config.simulator, opening_ts=EXPERIMENT_TS),
            backend=InProcess.of(
                recommender,
                preference,
                k=plan.list_length,
                shop_items=shop.catalogue.size,
                level=level,
            ),
            opening_ts=EXPERIMENT_TS,
        )
        found[group.name] = expected_kpis(simulate_users(state, config, rng, expected=True))
    return {"how": _HOW, "users": users, "groups": found}


def expected_kpis(outcomes: pl.DataFrame) -> dict[str, dict[str, float | None]]:
    """KPIs of expected outcomes, with standard errors clustered by user."""
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
    """``Σ y / Σ m`` and its standard error over users (delta method); None where undefined."""
    if m.sum() == 0:
        return {"value": None, "standard_error": None}
    rate = y.sum() / m.sum()
    squares = float(((y - rate * m) ** 2).sum())
    error = (squares * len(m) / (len(m) - 1)) ** 0.5 / m.sum() if len(m) > 1 else None
    return {"value": float(rate), "standard_error": None if error is None else float(error)}


def truth_table(truth: dict[str, Any], plan: TrafficPlan) -> str:
    """The ground truth as a Markdown table of groups and the KPIs of the paper."""
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
