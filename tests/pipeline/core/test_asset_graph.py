"""Selections of assets, as of a further study; and the graph of a study without a model."""

import pytest

from pipeline.core.asset_graph import (
    ASSET_GRAPH,
    EVERYTHING,
    OPTIONAL,
    assets_of,
    report_assets,
    study_selection,
)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (EVERYTHING, "*my-shop/regression_report"),
        ("traffic_plan*", "my-shop/traffic_plan*"),
        ("sessions, events", "my-shop/sessions,my-shop/events"),
        ("preference_scores/p03", "my-shop/preference_scores/p03"),
        ("events or sessions+", 'key:"my-shop/events" or key:"my-shop/sessions"+'),
        ('key:"preference_scores/*"+', 'key:"my-shop/preference_scores/*"+'),
        ("not key:events", 'not key:"my-shop/events"'),
        ('group:"1_data"', 'group:"my_shop__1_data"'),
        ("tag:params/training", "tag:params/training"),
    ],
)
def test_a_selection_is_that_of_a_study(selection, expected):
    assert study_selection(selection, "my-shop") == expected
    assert study_selection(selection, "") == selection


def test_a_study_without_a_model_begins_with_its_plan():
    assert assets_of(trains=True) == ASSET_GRAPH
    assert assets_of(trains=False) == {
        "traffic_plan": (),
        "experiment_log_files": ("traffic_plan",),
        "experiment_log": ("experiment_log_files", "traffic_plan"),
        "group_kpis": ("experiment_log", "traffic_plan"),
        "regression_estimates": ("group_kpis", "experiment_log", "traffic_plan"),
        "regression_report": (
            *("regression_estimates", "group_kpis", "experiment_log", "traffic_plan"),
        ),
    }


def test_the_report_needs_no_optional_asset():
    needed = {one for asset in report_assets(trains=True) for one in ASSET_GRAPH[asset]}

    assert not needed & set(OPTIONAL)
    assert {*report_assets(trains=True), *OPTIONAL} == set(ASSET_GRAPH)
