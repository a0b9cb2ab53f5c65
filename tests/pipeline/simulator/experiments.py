"""Small simulated experiments, from users to the health of what their log says."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from pipeline.core.contracts import ALL_TARGETS, OFFLINE_METRICS, Kpi
from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.ingest import ingest
from pipeline.inference.diagnostics.run_diagnostics import run_diagnostics
from pipeline.inference.hypotheses.inputs import (
    RegressionInputs,
    daily_kpi,
    group_cells,
    relative_change,
)
from pipeline.inference.sensitivity.day_effects import day_effects
from pipeline.simulator.fault_injection import write_simulated_log
from pipeline.simulator.planted_slopes import DirectWorld
from pipeline.simulator.shop_experiment import SimulationConfig, simulate_shop
from pipeline.study import (
    DirectConfig,
    ExperimentConfig,
    Hypothesis,
    PlantedFaults,
    SimulatorConfig,
    SyntheticConfig,
)
from pipeline.synthetic.generate_log import build_shop, item_id
from pipeline.synthetic.shop import BROWSE

WORLD = SyntheticConfig(seed=3, items=60, categories=4, neighbours=5, users=10, sessions=10, days=3)
ITEMS = [str(number) for number in item_id(np.arange(WORLD.items))]
RECALL = (0.40, 0.43, 0.48)
"""Of the three preferences, each of which two groups are served under."""
PLAN = TrafficPlan(
    experiment="spring",
    salt="pareto-1",
    list_length=5,
    groups=tuple(
        Group(
            name=f"g{n + 1}",
            preference_id=f"p{n % 3}",
            preference=((1 + n % 3) / 3, 1 - (1 + n % 3) / 3),
            first_bucket=first,
            last_bucket=last,
        )
        for n, (first, last) in enumerate(
            [(0, 1666), (1667, 3332), (3333, 4999), (5000, 6666), (6667, 8332), (8333, 9999)]
        )
    ),
)
X = relative_change(np.array(RECALL * 2))
H1 = Hypothesis(id="H1", metric="recall", kpi=Kpi.CTR, direction="positive")


@cache
def _scores():
    """How probable each next item is after each item, and how good it is; both standardised."""
    shop = build_shop(WORLD)
    everything = np.tile(np.arange(WORLD.items), (WORLD.items, 1))
    one = np.ones(WORLD.items, dtype=np.int64)
    chance = shop.next_click_probability(
        np.arange(WORLD.items)[:, None], one, np.full(WORLD.items, BROWSE), items=everything
    )
    quality = np.broadcast_to(shop.catalogue.quality, chance.shape)
    return [(values - values.mean()) / values.std() for values in (np.log(chance), quality)]


@dataclass(frozen=True)
class Tempter:
    """Lists what is probably clicked next, or what is good, as much of each as π says."""

    items: tuple[str, ...] = tuple(ITEMS)

    @property
    def index(self):
        return {name: n for n, name in enumerate(self.items)}

    def recommend(self, sessions, preferences, *, k):
        last = np.array([session[-1] for session in sessions])
        tempting, good = _scores()
        score = preferences[:, :1] * tempting[last] + preferences[:, 1:] * good[last]
        return np.argsort(-score, axis=1, kind="stable")[:, :k]


def setting(seed, users=1500, days=7, faults=None, direct=None, **simulator):
    return SimulationConfig(
        synthetic=WORLD,
        experiment=ExperimentConfig(users=users, days=days),
        simulator=SimulatorConfig(
            faults=PlantedFaults(**(faults or {})),
            direct=DirectConfig(**(direct or {})),
            **simulator,
        ),
        seed=seed,
    )


def write_shop_log(where, folder):
    """The log of the simulated shop."""
    days = [simulate_shop(Tempter(), PLAN, where)]
    write_simulated_log(
        days, PLAN, where.simulator.faults, folder, rng=np.random.default_rng(where.seed)
    )


def write_direct_log(where, folder):
    """The log of the world without a recommender; the world it was drawn from."""
    world = DirectWorld.open(PLAN, where, x_ctr=X, x_cvr=-X)
    rng = np.random.default_rng(where.seed)
    write_simulated_log(world.days(), PLAN, where.simulator.faults, folder, rng=rng)
    return world


def evidence_of(folder):
    """What the log in a folder comes to, and what was set aside of it."""
    database = folder / "log.duckdb"
    result = ingest(sorted(folder.glob("*.parquet")), PLAN, database)
    sums = aggregate(database, PLAN)
    metrics = [
        {"preference_id": f"p{n}", "metric": "recall", "segment": ALL_TARGETS, "value": value}
        for n, value in enumerate(RECALL)
    ]
    offline = pl.DataFrame(metrics, schema=OFFLINE_METRICS.schema)
    evidence = RegressionInputs(
        offline,
        None,
        sums.group_kpis,
        daily_sums=sums.daily_sums,
        returning_sums=sums.returning_sums,
        planned_days=7,
    )
    return evidence, result.rejected


def reported(folder, level=0.95):
    """The names of the checks that found something in the log of a folder."""
    evidence, rejected = evidence_of(folder)
    shares = {group.name: group.share for group in PLAN.groups}
    health = run_diagnostics(evidence, [H1], shares=shares, rejected=rejected, seed=1)
    found = {name for name, check in health.items() if not check.passed}
    cells = group_cells(evidence, "recall", Kpi.CTR)
    effects = day_effects(X, daily_kpi(evidence, cells, Kpi.CTR), level=level)
    if effects is not None and effects.novelty.p_value < 1 - level:
        found.add("novelty")
    return found | set(rejected)
