"""Small simulated experiments, from users to the diagnostics of their log."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from pipeline.core.contracts import ALL_TARGETS, OFFLINE_METRICS, Kpi
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.inference.diagnostics.run_diagnostics import run_diagnostics
from pipeline.inference.hypotheses.inputs import (
    RegressionInputs,
    daily_kpi,
    group_cells,
    relative_change,
)
from pipeline.inference.sensitivity.day_effects import day_effects
from pipeline.simulator.fault_injection import write_simulated_log
from pipeline.simulator.planted_slopes import DirectSimulation
from pipeline.simulator.shop_experiment import SimulationConfig, simulate_shop
from pipeline.study import (
    DirectConfig,
    ExperimentConfig,
    Hypothesis,
    InjectedFaults,
    SimulatorConfig,
    SyntheticConfig,
)
from pipeline.synthetic.generate_log import build_shop, item_id
from pipeline.synthetic.shop import BROWSE
from tests.pipeline.experiment.logs import ingest_folder, plan_of

SHOP = SyntheticConfig(seed=3, items=60, categories=4, neighbours=5, users=10, sessions=10, days=3)
ITEMS = [str(number) for number in item_id(np.arange(SHOP.items))]
RECALL = (0.40, 0.43, 0.48)
"""Recall of the three preferences, each of which serves two groups."""
PLAN = plan_of(6, [(n / 3, 1 - n / 3) for n in (1, 2, 3)] * 2, salt="pareto-1")
X = relative_change(np.array(RECALL * 2))
H1 = Hypothesis(id="H1", metric="recall", kpi=Kpi.CTR, direction="positive")


@cache
def _scores():
    """Log probability of each next item after each item, and its quality; both standardised."""
    shop = build_shop(SHOP)
    everything = np.tile(np.arange(SHOP.items), (SHOP.items, 1))
    one = np.ones(SHOP.items, dtype=np.int64)
    probability = shop.next_click_probability(
        np.arange(SHOP.items)[:, None], one, np.full(SHOP.items, BROWSE), items=everything
    )
    quality = np.broadcast_to(shop.catalogue.quality, probability.shape)
    return [(values - values.mean()) / values.std() for values in (np.log(probability), quality)]


@dataclass(frozen=True)
class Tempter:
    """Ranks by next-click probability and by quality, weighted by the preference."""

    items: tuple[str, ...] = tuple(ITEMS)

    @property
    def index(self):
        return {name: n for n, name in enumerate(self.items)}

    def recommend(self, sessions, preferences, *, k, **_):
        last = np.array([session[-1] for session in sessions])
        probable, good = _scores()
        score = preferences[:, :1] * probable[last] + preferences[:, 1:] * good[last]
        return np.argsort(-score, axis=1, kind="stable")[:, :k]


def config_of(seed, users=1500, days=7, faults=None, direct=None, **simulator):
    return SimulationConfig(
        synthetic=SHOP,
        experiment=ExperimentConfig(users=users, days=days),
        simulator=SimulatorConfig(
            faults=InjectedFaults(**(faults or {})),
            direct=DirectConfig(**(direct or {})),
            **simulator,
        ),
        seed=seed,
    )


def write_shop_log(config, folder):
    """Write the log of the simulated shop."""
    days = [simulate_shop(Tempter(), PLAN, config)]
    rng = np.random.default_rng(config.seed)
    write_simulated_log(days, PLAN, config.simulator.faults, folder, rng=rng)


def write_direct_log(config, folder):
    """Write a log drawn from known slopes; returns the simulation."""
    simulation = DirectSimulation.of(PLAN, config, x_ctr=X, x_cvr=-X)
    rng = np.random.default_rng(config.seed)
    write_simulated_log(simulation.days(), PLAN, config.simulator.faults, folder, rng=rng)
    return simulation


def inputs_of(folder):
    """The inputs of inference for the log in a folder, and the rejected rows by reason."""
    result = ingest_folder(folder, PLAN)
    sums = aggregate(folder / "log.duckdb", PLAN)
    metrics = [
        {"preference_id": f"p{n}", "metric": "recall", "segment": ALL_TARGETS, "value": value}
        for n, value in enumerate(RECALL)
    ]
    offline = pl.DataFrame(metrics, schema=OFFLINE_METRICS.schema)
    inputs = RegressionInputs(
        offline,
        None,
        sums.group_kpis,
        daily_totals=sums.daily_totals,
        returning_user_totals=sums.returning_user_totals,
        planned_days=7,
    )
    return inputs, result.rejected


def reported(folder, level=0.95):
    """The checks that failed on the log in a folder."""
    inputs, rejected = inputs_of(folder)
    rows = read_row_fates(folder / "log.duckdb")
    shares = {group.name: group.share for group in PLAN.groups}
    diagnostics = run_diagnostics(inputs, [H1], shares=shares, rows=rows, seed=1)
    found = {name for name, check in diagnostics.items() if check.passed is False}
    cells = group_cells(inputs, "recall", Kpi.CTR)
    effects = day_effects(X, daily_kpi(inputs, cells, Kpi.CTR), level=level)
    if effects is not None and effects.novelty.p_value < 1 - level:
        found.add("novelty")
    return found | set(rejected)
