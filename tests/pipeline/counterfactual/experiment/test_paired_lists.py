"""Paired lists of a simulated experiment: the logged list again, others for other preferences, refusals."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.network.configuration import ModelConfig
from models.network.model import build_model
from pipeline.counterfactual.estimators import estimate
from pipeline.counterfactual.experiment.examination import ExaminationCurve
from pipeline.counterfactual.experiment.mixture import weigh_mixture
from pipeline.counterfactual.experiment.paired_lists import pair_lists
from pipeline.experiment.log.reading.shown_lists import SHOWN_LISTS, UnpairableListsError
from pipeline.recommender.recommender import Recommender
from pipeline.results.counterfactual import Estimator
from pipeline.simulator.shop_experiment import SimulationConfig, simulate_shop
from pipeline.study import ExperimentConfig, SimulatorConfig, SyntheticConfig
from pipeline.synthetic.generate_log import item_id
from tests.pipeline.experiment.logs import plan_of

SHOP = SyntheticConfig(seed=3, items=60, categories=4, neighbours=5, users=10, sessions=10, days=3)
SECTION = ExperimentConfig(name="spring", groups=3, list_length=4, days=3, users=200)
ITEMS = [str(number) for number in item_id(np.arange(SHOP.items))]
PLAN = plan_of(3, salt="pareto-1", list_length=4, model="0123456789abcdef")


def untrained(seed):
    config = ModelConfig(hidden_size=8, layers=1, heads=1, dropout=0.0, max_length=10)
    model = build_model(config, n_items=len(ITEMS), n_objectives=2, seed=seed)
    return Recommender.of(model, ITEMS)


MODEL = untrained(2)


@pytest.fixture(scope="module")
def shown():
    config = SimulationConfig(
        synthetic=SHOP, experiment=SECTION, simulator=SimulatorConfig(), seed=5
    )
    log = simulate_shop(MODEL, PLAN, config).with_columns(
        pl.col("units").cast(pl.Int64),
        revenue=pl.lit(None, pl.Int64),
        fallback=pl.lit(None, pl.String),
    )
    return SHOWN_LISTS.validate(log.select(list(SHOWN_LISTS.columns)).sort("ts", "impression"))


def test_the_model_shows_every_logged_list_again(shown):
    pairs = pair_lists(shown, PLAN, MODEL)

    assert pairs.equal_share == 1
    assert pairs.fallbacks == 0
    assert pairs.impressions.to_list() == shown["impression"].to_list()
    rows = np.arange(shown.height)
    own = pairs.log.lists_GNK[pairs.log.group_N, rows]
    assert [[ITEMS[item] for item in row] for row in own] == shown["items"].to_list()
    assert pairs.click_NK.sum(axis=1).tolist() == shown["clicked"].cast(int).to_list()
    clicked = [ITEMS[own[row, k]] for row, k in zip(*np.nonzero(pairs.click_NK), strict=True)]
    assert clicked == shown.filter("clicked")["clicked_item"].to_list()
    shares = shown["group"].value_counts(sort=False).sort("group")["count"] / shown.height
    assert pairs.log.share_G == pytest.approx(shares.to_list())
    assert len(np.unique(pairs.log.user_N)) == shown["user"].n_unique()


def test_a_preference_of_a_group_has_its_lists_and_another_has_others(shown):
    pairs = pair_lists(shown, PLAN, MODEL)

    chains, k = MODEL.chains(pairs.session_N), pairs.log.lists_GNK.shape[2]
    own = MODEL.policy_lists(chains, PLAN.groups[1].preference, k=k)
    assert (own == pairs.log.lists_GNK[1]).all()
    between = MODEL.policy_lists(chains, (0.8, 0.2), k=k)
    assert between.shape == pairs.log.lists_GNK[0].shape
    assert (between != pairs.log.lists_GNK[0]).any()


def test_the_pairs_feed_the_mixture(shown):
    """With the experiment's own clicks, the lists of all groups have their users' mean."""
    pairs = pair_lists(shown, PLAN, MODEL)
    own = pairs.log.lists_GNK[pairs.log.group_N, np.arange(shown.height)]

    log = weigh_mixture(
        pairs.log, own, pairs.click_NK.astype(float), ExaminationCurve(exponent=0.6)
    )

    assert log.support == pytest.approx(1)
    value = estimate(log, Estimator.IPS)
    assert value.interval[0] < shown["clicked"].mean() < value.interval[1]


def test_fallbacks_are_left_out_and_counted(shown):
    late = shown.with_row_index().with_columns(
        fallback=pl.when(pl.col("index") < 7).then(pl.lit("model timeout")).otherwise("fallback"),
        items=pl.when(pl.col("index") < 7).then(pl.lit(["9"])).otherwise("items"),
    )

    pairs = pair_lists(late.drop("index"), PLAN, MODEL)

    assert pairs.fallbacks == 7
    assert len(pairs.impressions) == shown.height - 7
    with pytest.raises(UnpairableListsError, match="all are fallbacks"):
        pair_lists(shown.with_columns(fallback=pl.lit("model error")), PLAN, MODEL)


def test_lists_that_the_model_does_not_show_are_refused(shown):
    with pytest.raises(
        UnpairableListsError, match=r"reproduces \d+\.\d% of the logged lists; expected 99%"
    ):
        pair_lists(shown, PLAN, untrained(3))
    reversed_lists = shown.with_columns(pl.col("items").list.reverse())
    with pytest.raises(
        UnpairableListsError, match="Rules, filters, an index or another model were at work"
    ):
        pair_lists(reversed_lists, PLAN, MODEL)


def test_a_log_of_another_model_is_refused(shown):
    other = replace(PLAN, model="ba9876543210")

    with pytest.raises(
        UnpairableListsError, match=r"model 0123456789ab, and the plan's is ba9876543210"
    ):
        pair_lists(shown, other, MODEL)
