"""The contract of the table ``pareto_front``, whose columns depend on the study's objectives."""

from collections.abc import Iterable

import polars as pl

from pipeline.core.frame_contract import Contract

_FRONT_KEYS = ("preference_id", "preference", "dominated")

PARETO_FRONT = Contract(
    name="pareto_front",
    row="one preference as a point in metric space",
    columns={
        "preference_id": pl.String,
        "preference": pl.List(pl.Float64),
        "recall": pl.Float64,
        "order_density": pl.Float64,
        "recall_order_density": pl.Float64,
        "dominated": pl.Boolean,
    },
)
"""Of a study with the objectives click and order; others have the metrics of their objectives instead
of recall, order density and their product."""


def front_contract(metrics: Iterable[str]) -> Contract:
    """The contract of ``pareto_front`` whose columns are the metrics of the study's front."""
    known = PARETO_FRONT.columns
    return Contract(
        name=PARETO_FRONT.name,
        row=PARETO_FRONT.row,
        columns={
            **{name: known[name] for name in _FRONT_KEYS[:2]},
            **dict.fromkeys(metrics, pl.Float64()),
            **{name: known[name] for name in _FRONT_KEYS[2:]},
        },
    )


def front_metrics(front: pl.DataFrame) -> list[str]:
    """The metrics of the table ``pareto_front``, its axes first."""
    return [name for name in front.columns if name not in _FRONT_KEYS]
