"""Errors of offline metrics against the spread over redrawn test sets of the synthetic shop."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.network.configuration import ModelConfig
from models.objectives.configuration import Negatives, Objective
from models.tokens import SessionTokens
from models.training.configuration import ItemVectors, TrainingConfig
from models.training.loop import train
from pipeline.datasets.item_attributes import read_item_attributes
from pipeline.evaluation.metric_tables import compute_metric_tables
from pipeline.evaluation.scoring import score_preferences
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.study import EvaluationConfig, SyntheticConfig
from pipeline.synthetic.generate_log import build_shop, simulate_browsing
from pipeline.synthetic.users import make_users

# hardly any user comes twice, as the errors take for granted
WORLD = SyntheticConfig(items=300, categories=10, users=100_000)
SESSIONS, TEST_SETS = 5000, 200
SECTION = EvaluationConfig(
    cutoff=10, preferences=3, bootstrap=2000, segments=(), cold_item_clicks=100
)


@pytest.fixture(scope="module")
def shop():
    return build_shop(WORLD)


def sessions_of(shop, n, seed):
    """Sessions of two clicks or more, of newly drawn users."""
    rng = np.random.default_rng([seed, 77])
    world = replace(WORLD, sessions=13 * n // 10)
    visits = simulate_browsing(shop, make_users(world, world.users, rng), world, rng=rng)
    long = np.flatnonzero(visits.length >= 2)[:n]
    assert len(long) == n
    filled = np.arange(visits.clicks.shape[1]) < visits.length[long][:, None]
    ordered = visits.ordered[long][filled]
    return SessionTokens(
        items=visits.clicks[long][filled].astype(np.int32),
        ordered=ordered.astype(np.uint8),
        carted=np.zeros(len(ordered), dtype=np.uint8),
        offsets=np.append(0, np.cumsum(visits.length[long])),
    )


@pytest.fixture(scope="module")
def evaluate(shop):
    """Metrics of a model that was trained a little, on a test set that is drawn by a seed."""
    tokens = sessions_of(shop, 8000, seed=-1 % 2**32)
    model = train(
        tokens,
        sessions_of(shop, 500, seed=2**31),
        n_items=WORLD.items,
        model_config=ModelConfig(backbone="tron", hidden_size=16, layers=1, max_length=20),
        config=TrainingConfig(
            objectives=(Objective(loss="click"), Objective(loss="order", scale=4.0)),
            initial_items=ItemVectors.RANDOM,
            epochs=6,
            learning_rate=0.01,
            negatives=Negatives(uniform=128),
            validation_preferences=2,
            threads=2,
        ),
        seed=3,
    ).model
    embedding = model.item_embedding.weight.detach().numpy()
    catalogue = pl.DataFrame({"index": range(WORLD.items), "item": range(WORLD.items)})
    items = read_item_attributes(None, catalogue.cast({"index": pl.Int32}))

    def of(seed, section):
        drawn = sessions_of(shop, SESSIONS, seed)
        times = np.zeros(len(drawn.items), dtype=np.int64)
        test = HeldOutSessions(drawn, times, tokens.clicks(WORLD.items), items)
        scores = score_preferences(model, test, section)
        return compute_metric_tables(
            scores, test, embedding, section, objectives=("click", "order"), seed=seed
        )

    return of


@pytest.fixture(scope="module")
def estimated(evaluate):
    """The errors one test set gives itself: by the delta method or the jackknife, and redrawn."""
    found = evaluate(0, SECTION)
    own = found.covariance.filter(pl.col("preference_id") == pl.col("other_preference_id"))
    table = found.metrics.join(
        own.select("metric", "preference_id", "method", redrawn=pl.col("covariance").sqrt()),
        on=["metric", "preference_id"],
    )
    # of what hardly ever happens, such as a hit on a cold item, one test set does not know enough
    return table.filter(pl.col("standard_error") < pl.col("value") / 5)


@pytest.mark.slow
def test_the_bootstraps_errors_are_the_delta_methods(estimated):
    ratios = estimated.filter(method="bootstrap").with_columns(
        ratio=pl.col("redrawn") / pl.col("standard_error")
    )

    assert ratios["metric"].n_unique() >= 12
    assert ratios.height >= 12 * 3
    assert ratios["ratio"].to_list() == pytest.approx([1] * ratios.height, rel=0.05)


@pytest.mark.slow
def test_errors_are_the_spread_over_redrawn_test_sets(evaluate, estimated):
    quickly = replace(SECTION, bootstrap=50)
    values = pl.concat([evaluate(seed, quickly).metrics for seed in range(1, TEST_SETS + 1)])
    spread = values.group_by("metric", "preference_id").agg(
        spread=pl.col("value").std(), usual=pl.col("standard_error").mean()
    )

    both = estimated.join(spread, on=["metric", "preference_id"])
    of_ratios = both.filter(method="bootstrap")
    of_all_lists = both.filter(pl.col("method") == "jackknife", pl.col("spread") > 0)
    assert of_ratios.height >= 12 * 3
    assert of_all_lists["metric"].n_unique() == 2
    # 200 test sets know their spread to 5%
    for error in ("standard_error", "redrawn"):
        ratios = (of_ratios[error] / of_ratios["spread"]).to_list()
        assert ratios == pytest.approx([1] * len(ratios), rel=0.15)
    # one jackknife of 20 groups knows its error to 16%, so this is about its mean;
    # coverage is a count of whole items, which leaving sessions out measures coarsely
    for metric, within in (("gini_index", 0.25), ("catalogue_coverage", 0.5)):
        one = of_all_lists.filter(metric=metric)
        ratios = (one["usual"] / one["spread"]).to_list()
        assert ratios == pytest.approx([1] * len(ratios), rel=within)
