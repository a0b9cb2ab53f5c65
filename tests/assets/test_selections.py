"""Asset selections in messages."""

import shlex

import pytest
from dagster import AssetSelection

from assets.definitions import defs
from pipeline.core.asset_graph import ASSET_GRAPH, OPTIONAL, ROLLOUT, rematerialize_command


@pytest.mark.parametrize("asset", ASSET_GRAPH)
def test_the_command_selects_an_asset_and_all_downstream(asset):
    graph = defs.resolve_asset_graph()
    *_, selection = shlex.split(rematerialize_command(asset))

    selected = AssetSelection.from_string(selection).resolve(graph)

    names = {key.path[0] for key in selected}
    last = "regression_report" if asset not in OPTIONAL else "counterfactual_report"
    last = "rollout_plan" if asset in ROLLOUT else last
    assert {asset, last} <= names
    assert not set(ASSET_GRAPH[asset]) & names
