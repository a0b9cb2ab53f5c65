"""Small Pareto fronts with given metrics, and studies on them."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import yaml

from pipeline.core.contracts import ALL_TARGETS, OFFLINE_METRICS, Kpi
from pipeline.core.front_contract import PARETO_FRONT
from pipeline.experiment.design.optimal_design.measured_front import MeasuredFront
from pipeline.study import ExperimentConfig, Hypothesis, RegressionConfig, parse_study

_ROOT = Path(__file__).parents[3]


def study_of(section=None, metrics=("recall",)):
    """The default study with another experiment and a hypothesis per metric."""
    study = parse_study(yaml.safe_load((_ROOT / "params.yaml").read_text("utf-8")))
    hypotheses = tuple(
        Hypothesis(id=f"H{n}", metric=metric, kpi=Kpi.CTR, direction="positive")
        for n, metric in enumerate(metrics, start=1)
    )
    return replace(
        study,
        experiment=section or ExperimentConfig(),
        regression=RegressionConfig(hypotheses=hypotheses),
    )


def front_of(recall, *, dominated=(), covariance=None, **metrics):
    """A front of preferences p00, p01, … with the given metrics; ``covariance`` is that of recall."""
    ids = [f"p{number:02d}" for number in range(len(recall))]
    weights = [[n / (len(ids) - 1), 1 - n / (len(ids) - 1)] for n in range(len(ids))]
    points = pl.DataFrame(
        {
            "preference_id": ids,
            "preference": weights,
            "recall": recall,
            "order_density": [1 - value for value in recall],
            "recall_order_density": [value * (1 - value) for value in recall],
            "dominated": [name in dominated for name in ids],
        },
        schema=PARETO_FRONT.columns,
    )
    rows = [
        {
            "preference_id": name,
            "preference": weights[n],
            "metric": metric,
            "cutoff": 20,
            "segment": ALL_TARGETS,
            "value": values[n],
            "standard_error": 0.001,
            "n_targets": 100,
            "n_sessions": 50,
            "higher_is_better": True,
        }
        for metric, values in {"recall": recall, **metrics}.items()
        for n, name in enumerate(ids)
    ]
    pairs = [
        ("recall", one, other, float(covariance[i][j]), "bootstrap")
        for i, one in enumerate(ids)
        for j, other in enumerate(ids)
        if covariance is not None
    ]
    schema = ["metric", "preference_id", "other_preference_id", "covariance", "method"]
    return MeasuredFront(
        points,
        pl.DataFrame(rows, schema=OFFLINE_METRICS.columns),
        pl.DataFrame(pairs, schema=schema, orient="row") if pairs else None,
    )
