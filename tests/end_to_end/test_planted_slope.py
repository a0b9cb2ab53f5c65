"""From a log with known slopes, through files and DuckDB, to the estimates."""

import numpy as np
import polars as pl
import pytest

from pipeline.core.contracts import OFFLINE_METRICS
from pipeline.core.front_contract import PARETO_FRONT
from pipeline.experiment.design.make_plan import make_plan
from pipeline.experiment.design.optimal_design.measured_front import MeasuredFront
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.log_files import write_log
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs, relative_change
from pipeline.results.reasons import Verdict
from pipeline.simulator.planted_slopes import DirectSimulation
from pipeline.simulator.shop_experiment import SimulationConfig
from pipeline.study import (
    PAPER_HYPOTHESES,
    DirectConfig,
    ExperimentConfig,
    RegressionConfig,
    SimulatorConfig,
    SyntheticConfig,
    TrueSlope,
    load_study,
)
from tests.pipeline.experiment.logs import ingest

RECALL = [0.40, 0.42, 0.44, 0.46, 0.48]
ORDER_DENSITY = [0.060, 0.058, 0.056, 0.054, 0.052]
SLOPES = {"H1": 0.9, "H2": 1.2}
"""Planted: CTR on recall, CVR on order density."""


@pytest.fixture
def plan(project_root):
    front = pl.DataFrame(
        {
            "preference_id": [f"p{n}" for n in range(5)],
            "preference": [[n / 4, 1 - n / 4] for n in range(5)],
            "recall": RECALL,
            "order_density": ORDER_DENSITY,
            "recall_order_density": np.multiply(RECALL, ORDER_DENSITY).tolist(),
            "dominated": [False] * 5,
        },
        schema=PARETO_FRONT.columns,
    )
    study = load_study(
        project_root / "params.yaml", {"experiment.groups": 5, "experiment.guardrails": {}}
    )
    return make_plan(MeasuredFront(front, offline_metrics()), study)[0]


def offline_metrics() -> pl.DataFrame:
    values = {
        "recall": RECALL,
        "order_density": ORDER_DENSITY,
        "recall_order_density": np.multiply(RECALL, ORDER_DENSITY).tolist(),
    }
    rows = [
        {
            "preference_id": f"p{n}",
            "preference": [n / 4, 1 - n / 4],
            "metric": metric,
            "cutoff": 20,
            "segment": "all",
            "value": series[n],
            "standard_error": 0.001,
            "n_targets": 10_000,
            "n_sessions": 1_000,
            "higher_is_better": True,
        }
        for metric, series in values.items()
        for n in range(5)
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.columns)


@pytest.mark.slow
def test_planted_slopes_are_recovered_from_files_and_database(plan, tmp_path):
    chosen = DirectConfig(
        impressions_per_user=8.0,
        ctr=0.18,
        cvr=0.14,
        ctr_slope=TrueSlope(metric="recall", slope=SLOPES["H1"]),
        cvr_slope=TrueSlope(metric="order_density", slope=SLOPES["H2"]),
    )
    setting = SimulationConfig(
        synthetic=SyntheticConfig(),
        experiment=ExperimentConfig(users=40_000, days=5),
        simulator=SimulatorConfig(direct=chosen),
        seed=1,
    )
    x_recall, x_density = (relative_change(np.array(of)) for of in (RECALL, ORDER_DENSITY))
    world = DirectSimulation.of(plan, setting, x_ctr=x_recall, x_cvr=x_density)
    files = [file for day in world.days() for file in write_log(day, tmp_path)]
    ingest(files, plan, tmp_path / "experiment.duckdb")
    kpis = aggregate(tmp_path / "experiment.duckdb", plan).group_kpis

    inputs = RegressionInputs(offline_metrics(), None, kpis)
    results = estimate_hypotheses(inputs, RegressionConfig(hypotheses=PAPER_HYPOTHESES), seed=0)

    found = {one.id: one for one in results}
    impressions = pl.concat(map(pl.read_parquet, files))
    assert found["H1"].n == impressions.height
    assert found["H2"].n == int(impressions["clicked"].sum())
    for name, truth in SLOPES.items():
        result = found[name]
        assert abs(result.slope - truth) < 3 * result.cluster_robust.standard_error
        assert result.verdict in {Verdict.CONFIRMED, Verdict.SUGGESTIVE}
    h1 = found["H1"]
    assert h1.cluster_robust.standard_error > 1.1 * h1.standard_error
