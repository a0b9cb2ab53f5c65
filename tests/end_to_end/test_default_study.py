"""Properties of the reference results of the default study."""

import json

import polars as pl


def test_the_reference_front_spreads(project_root):
    front = pl.read_parquet(
        project_root / "data/reference/synthetic-shop/pareto_front.parquet"
    ).sort("recall")

    assert front["recall"].max() / front["recall"].min() - 1 >= 0.05
    assert front.select(pl.corr("recall", "order_density", method="spearman")).item() < -0.9
    assert front["order_density"][0] > front["order_density"][-1]


def test_every_hypothesis_has_a_slope(project_root):
    reference = project_root / "data/reference/synthetic-shop/regression_estimates.json"

    estimates = json.loads(reference.read_text("utf-8"))

    assert [estimate["id"] for estimate in estimates] == ["H1", "H2", "H3", "H4"]
    assert all(estimate["slope"] is not None for estimate in estimates)
