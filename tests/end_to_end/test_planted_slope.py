"""From a log with a known truth, through files and DuckDB, to the slope."""

import numpy as np
import polars as pl
import pytest

from pipeline.experiment.ingestion import ingest
from pipeline.experiment.kpis import sum_up
from pipeline.experiment.log import write_log
from pipeline.experiment.plan import make_plan
from pipeline.inference.evidence import Evidence
from pipeline.inference.hypotheses import estimate_hypotheses
from pipeline.schemas import EXPOSURES, OFFLINE_METRICS, PARETO_FRONT
from pipeline.study import ExperimentSection, RegressionSection

RECALL = [0.40, 0.42, 0.44, 0.46, 0.48]
ORDER_DENSITY = [0.060, 0.058, 0.056, 0.054, 0.052]
SLOPES = {"H1": 0.9, "H2": 1.2}
"""Planted: CTR on recall, CVR on order density."""


@pytest.fixture
def plan():
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
    return make_plan(front, ExperimentSection(groups=5))


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


def planted_log(plan, *, users: int, seed: int) -> pl.DataFrame:
    """Each user sees eight lists; log odds are planted, and differ between users."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(users), 8)
    groups = [plan.group_of(f"u{n}") for n in range(users)]
    number = np.array([int(group.name[1:]) - 1 for group in groups])[unit]
    x_recall = np.array(RECALL) / min(RECALL) - 1
    x_density = np.array(ORDER_DENSITY) / min(ORDER_DENSITY) - 1
    habit = rng.normal(0, 0.5, users)[unit]
    click_odds = -1.5 + SLOPES["H1"] * x_recall[number] + habit
    order_odds = -1.8 + SLOPES["H2"] * x_density[number]
    clicked = rng.random(len(unit)) < 1 / (1 + np.exp(-click_odds))
    ordered = clicked & (rng.random(len(unit)) < 1 / (1 + np.exp(-order_odds)))
    return pl.DataFrame(
        {
            "experiment": [plan.experiment] * len(unit),
            "exposure": [f"e{n}" for n in range(len(unit))],
            "unit": [f"u{n}" for n in unit],
            "group": [groups[n].name for n in unit],
            "ts": 1_760_000_000_000 + rng.integers(0, 5 * 86_400_000, len(unit)),
            "clicked": clicked,
            "ordered": ordered,
            "units": ordered.astype(np.int32),
        },
        schema=EXPOSURES.columns,
    )


def test_planted_slopes_come_back_through_files_and_database(plan, tmp_path):
    exposures = planted_log(plan, users=40_000, seed=1)
    files = write_log(exposures, tmp_path)
    ingest(files, plan, tmp_path / "experiment.duckdb")
    kpis, _ = sum_up(tmp_path / "experiment.duckdb", plan)

    evidence = Evidence(offline_metrics(), None, kpis)
    estimates = estimate_hypotheses(evidence, RegressionSection(), seed=0)

    found = {estimate.hypothesis.id: estimate for estimate in estimates}
    assert found["H1"].n == exposures.height
    assert found["H2"].n == int(exposures["clicked"].sum())
    for name, truth in SLOPES.items():
        fit = found[name].fit
        assert fit is not None
        assert abs(fit.slope - truth) < 3 * fit.clustered.standard_error
        assert found[name].verdict in {"confirmed", "fragile"}
    h1 = found["H1"].fit
    assert h1 is not None
    assert h1.clustered.standard_error > 1.1 * h1.model.standard_error
