"""The library knows the same chain as Dagster."""

from assets.definitions import defs
from pipeline.core.asset_graph import ASSET_GRAPH, EVERYTHING


def test_the_librarys_chain_is_dagsters():
    graph = defs.resolve_asset_graph()

    found = {
        key.path[0]: {parent.path[0] for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }

    assert {asset: set(made_from) for asset, made_from in ASSET_GRAPH.items()} == found


def test_the_chain_is_in_an_order_in_which_it_can_be_made():
    made = set()
    for asset, made_from in ASSET_GRAPH.items():
        assert made.issuperset(made_from)
        made.add(asset)


def test_everything_is_all_before_the_last():
    assert f"*{list(ASSET_GRAPH)[-1]}" == EVERYTHING
