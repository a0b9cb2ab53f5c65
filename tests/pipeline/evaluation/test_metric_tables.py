"""The table of offline metrics of a model whose scores are planted, so that all of it is by hand.

An item's score is π · lean: item 0 leans to clicks, item 1 to orders, item 2 to neither.
"""

from dataclasses import replace
from math import exp, log, log2

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.scoring.tie_rule import TieRule
from models.tokens import SessionTokens
from pipeline.core.contracts import ITEM_ATTRIBUTES, Metric, Segmentation
from pipeline.evaluation.metric_tables import compute_metric_tables
from pipeline.evaluation.scoring import score_preferences
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.study import EvaluationConfig
from pipeline.study.evaluation import is_of_orders

# targets: 0, 0 and 1 (ordered) of the first session, 1 of the second
TOKENS = SessionTokens.from_lists([[(2, 0), (0, 0), (0, 0), (1, 1)], [(2, 1), (1, 0)]])
SECTION = EvaluationConfig(cutoff=1, preferences=3, segments=())


class Leaning(torch.nn.Module):
    """Scores items by the preference alone."""

    config = ModelConfig(hidden_size=2, layers=1, heads=1, max_length=10)
    n_items = 3
    n_objectives = 2
    device = torch.device("cpu")
    item_embedding = torch.nn.Embedding.from_pretrained(
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    )

    def forward(self, inputs_BT, _lengths_B, preference_BO):
        return preference_BO[:, None, :].expand(-1, inputs_BT.shape[1], -1)

    def score_all(self, hidden_PD):
        return hidden_PD @ self.item_embedding.weight.T


@pytest.fixture
def planted_model():
    return Leaning()


DAY = 86_400_000


def items_of(n, **attributes):
    nothing = dict.fromkeys(ITEM_ATTRIBUTES.columns, [None] * n)
    names = {"index": range(n), "item": [f"item-{number}" for number in range(n)]}
    return pl.DataFrame(nothing | names | attributes, schema=ITEM_ATTRIBUTES.schema)


def evaluate(
    model, tokens=TOKENS, section=SECTION, seed=0, losses=("click", "order"), **attributes
):
    """Items have 1, 2, 3 … clicks in train; every session begins at midnight, a click an hour."""
    place = np.concatenate([np.arange(length) for length in tokens.lengths])
    items = items_of(model.n_items, **attributes)
    test = HeldOutSessions(tokens, place * DAY // 24, np.arange(model.n_items) + 1, items)
    scores = score_preferences(model, test, section)
    return compute_metric_tables(
        scores,
        test,
        model.item_embedding.weight.detach().numpy(),
        section,
        objectives=losses,
        seed=seed,
    )


def values_of(table, metric, segment="all"):
    return (
        table.filter(metric=metric.value, segment=segment).sort("preference_id")["value"].to_list()
    )


def test_every_preference_of_the_grid_has_every_metric(planted_model):
    table = evaluate(planted_model).metrics

    untrained = {Metric.SCORE_UNIFORMITY}  # without the distortion loss
    known = [m.value for m in Metric if not m.needs_attributes and m not in untrained]
    keys = [(number, metric) for number in ("p00", "p01", "p02") for metric in known]
    assert table.select("preference_id", "metric").rows() == keys
    preferences = table.filter(pl.col("metric") == "mrr")["preference"].to_list()
    assert preferences == [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    assert set(table["n_targets"]) == {4}
    assert set(table["n_sessions"]) == {2}
    assert set(table.filter(pl.col("metric") == "recall")["cutoff"]) == {1}
    assert set(table.filter(pl.col("metric") == "click_loss")["cutoff"]) == {None}


def test_metrics_of_planted_scores(planted_model):
    table = evaluate(planted_model).metrics

    # p00 ranks item 1 first, p02 item 0; under p01 the two tie, and a tie ranks second
    assert values_of(table, Metric.RECALL) == [2 / 4, 0 / 4, 2 / 4]
    assert values_of(table, Metric.ORDER_DENSITY) == [1 / 2, None, 0 / 2]
    assert values_of(table, Metric.RECALL_ORDER_DENSITY) == [1 / 4, 0 / 4, 0 / 4]
    assert values_of(table, Metric.MRR) == [2 / 4, 0 / 4, 2 / 4]


def test_without_orders_their_metrics_are_unknown_and_not_zero(planted_model):
    clicks = SessionTokens.from_lists([[(2, 0), (0, 0), (0, 0), (1, 0)], [(2, 0), (1, 0)]])
    section = replace(SECTION, extra_cutoffs=(2,))

    found = evaluate(planted_model, clicks, section, losses=("click", "distortion"))

    names = set(found.metrics["metric"])
    assert {"recall", "recall@2", "score_uniformity", "catalogue_coverage"} <= names
    assert not any(is_of_orders(name) for name in names)
    assert names == set(found.covariance["metric"])


def test_the_uniformity_is_that_of_the_softmax_over_all_items(planted_model):
    table = evaluate(planted_model, losses=("click", "distortion")).metrics

    # scores are 0, 1, 0 under p00, ½, ½, 0 under p01 and 1, 0, 0 under p02
    distortion = [log(2 + exp(1)) - 1 / 3, log(1 + 2 * exp(0.5)) - 1 / 3, log(2 + exp(1)) - 1 / 3]
    assert values_of(table, Metric.SCORE_UNIFORMITY) == pytest.approx(
        [log(3) / one for one in distortion]
    )
    assert "order_loss" not in set(table["metric"])  # orders are in the log, but not trained


def test_metrics_of_parts_of_the_targets(planted_model):
    # items have 1, 2 and 3 clicks in train
    table = evaluate(planted_model, section=replace(SECTION, cold_item_clicks=1)).metrics

    assert values_of(table, Metric.ORDER_RECALL) == [1, 0, 0]
    assert values_of(table, Metric.COLD_ITEM_RECALL) == [0, 0, 1]
    # after one or two clicks: item 0 twice, and item 1 in the second session
    assert values_of(table, Metric.SHORT_SESSION_RECALL) == pytest.approx([1 / 3, 0, 2 / 3])


def test_metrics_of_planted_lists(planted_model):
    table = evaluate(planted_model).metrics

    # the list is item 1 under p00, item 0 under p02, and of the two that tie the first
    assert values_of(table, Metric.CATALOGUE_COVERAGE) == pytest.approx([1 / 3] * 3)
    assert values_of(table, Metric.GINI_INDEX) == pytest.approx([2 / 3] * 3)
    assert values_of(table, Metric.POPULARITY_PERCENTILE) == pytest.approx(
        [1.5 / 3, 0.5 / 3, 0.5 / 3]
    )
    assert values_of(table, Metric.NOVELTY) == pytest.approx([log2(6 / 2), log2(6), log2(6)])


def test_metrics_of_item_attributes(planted_model):
    # the lists are asked for at 2 o'clock (two clicks before the last) and at midnight of day 0
    hours = DAY // 24
    section = replace(
        SECTION,
        cutoff=2,
        fresh_days=1 / 24,
        segments=(Segmentation.CATEGORY,),
        extra_cutoffs=(1,),
    )
    found = evaluate(
        planted_model,
        section=section,
        category=["shoes", "hats", "shoes"],
        available_since=[2 * hours, 0, None],
    )

    # the lists are 1 and 0 under p00, 0 and 1 under p01 (which tie), 0 and 1 under p02
    assert values_of(found.metrics, Metric.CATEGORY_DIVERSITY) == [1, 1, 1]
    # item 0 is new to both sessions, item 1 was new two hours before the first one's list
    assert values_of(found.metrics, Metric.FRESHNESS) == pytest.approx([3 / 4] * 3)
    names = found.metrics["segment"].unique(maintain_order=True).to_list()
    assert names == ["all", "category=hats", "category=shoes"]
    # item 1 comes second under p01, and under p02 it ties with item 2 for the second place
    assert values_of(found.metrics, Metric.RECALL, "category=hats") == [1, 1, 0]
    at_one = found.metrics.filter(metric="recall@1", segment="category=hats")
    assert at_one["value"].to_list() == [1, 0, 0]
    assert at_one["cutoff"].to_list() == [1, 1, 1]


def test_a_cutoff_above_the_catalogue_shows_all_of_it(planted_model):
    table = evaluate(planted_model, section=replace(SECTION, cutoff=20)).metrics

    assert values_of(table, Metric.RECALL) == [1, 1, 1]
    assert values_of(table, Metric.CATALOGUE_COVERAGE) == [1, 1, 1]
    assert values_of(table, Metric.GINI_INDEX) == pytest.approx([0, 0, 0], abs=1e-12)


def test_pessimistic_ties_cost_what_optimistic_ones_give(planted_model):
    recall = {
        rule: values_of(
            evaluate(planted_model, section=replace(SECTION, ties=rule)).metrics, Metric.RECALL
        )
        for rule in TieRule
    }

    assert recall[TieRule.OPTIMISTIC] == [2 / 4, 4 / 4, 2 / 4]
    assert recall[TieRule.PESSIMISTIC] == [2 / 4, 0 / 4, 2 / 4]


def sessions_of_a_random_shop(n):
    rng = np.random.default_rng(0)
    return SessionTokens.from_lists(
        [
            [(int(rng.integers(12)), int(rng.integers(2))) for _ in range(rng.integers(2, 8))]
            for _ in range(n)
        ]
    )


def test_covariances_are_symmetric_and_agree_with_the_errors():
    model = build_model(
        ModelConfig(hidden_size=8, layers=1, heads=2, max_length=6),
        n_items=12,
        n_objectives=2,
        seed=3,
    )
    section = replace(SECTION, cutoff=4, bootstrap=2000)
    found = evaluate(model, sessions_of_a_random_shop(400), section)

    table = found.covariance
    errors = found.metrics.select("metric", "preference_id", "standard_error")
    pairs = table.join(
        table.select(
            "metric", "covariance",
            preference_id="other_preference_id", other_preference_id="preference_id",
        ),
        on=["metric", "preference_id", "other_preference_id"],
    )  # fmt: skip
    known = found.metrics["metric"].unique()
    assert table.height == len(known) * 3 * 3
    assert (pairs["covariance"] == pairs["covariance_right"]).all()
    own = table.filter(pl.col("preference_id") == pl.col("other_preference_id")).join(
        errors, on=["metric", "preference_id"]
    )
    assert (own["covariance"] >= 0).all()
    ratio = own["covariance"].sqrt() / own["standard_error"]
    bootstrap = ratio.filter((own["method"] == "bootstrap") & (own["standard_error"] > 1e-9))
    # 2,000 replicates know it to 1.6%, and the delta method is good to about 1/sqrt(400)
    assert bootstrap.to_list() == pytest.approx([1] * len(bootstrap), rel=0.1)
    jackknife = set(table.filter(method="jackknife")["metric"])
    assert jackknife == {"catalogue_coverage", "gini_index"}


def test_replicates_of_all_metrics_are_of_the_same_redrawn_sessions():
    """The product of Recall and OD is redrawn with its factors; the covariance is the replicates'."""
    model = build_model(
        ModelConfig(hidden_size=8, layers=1, heads=2, max_length=6),
        n_items=12,
        n_objectives=2,
        seed=3,
    )
    found = evaluate(model, sessions_of_a_random_shop(300))
    drawn = {
        (metric, preference): np.array(values)
        for metric, preference, values in found.replicates.iter_rows()
    }

    product = drawn["recall", "p01"] * drawn["order_density", "p01"]
    recalls = np.stack([drawn["recall", "p00"], drawn["recall", "p01"]])
    pair = found.covariance.filter(metric="recall", preference_id="p00", other_preference_id="p01")

    assert drawn["recall_order_density", "p01"] == pytest.approx(product)
    assert pair["covariance"].item() == pytest.approx(np.cov(recalls)[0, 1])
    assert len(product) == SECTION.bootstrap


def test_an_undefined_metric_has_no_covariance(planted_model):
    table = evaluate(planted_model).covariance

    undefined = table.filter(metric="order_density", preference_id="p01")["covariance"]
    assert undefined.to_list() == [None, None, None]


def test_the_bootstrap_follows_the_seed(planted_model):
    tokens = sessions_of_a_random_shop(50)
    one, again, other = (
        evaluate(planted_model, SessionTokens(tokens.items % 3, *tokens_rest(tokens)), seed=seed)
        for seed in (1, 1, 2)
    )

    assert_frame_equal(one.covariance, again.covariance)
    assert not one.covariance.equals(other.covariance)
    assert_frame_equal(one.metrics, other.metrics)


def tokens_rest(tokens):
    return tokens.ordered, tokens.carted, tokens.offsets


def test_segments_are_parts_of_the_targets(planted_model):
    kinds = (Segmentation.SESSION_LENGTH, Segmentation.ITEM_POPULARITY, Segmentation.DAY)
    table = evaluate(planted_model, section=replace(SECTION, segments=kinds)).metrics

    # 1 + 2 + 3 clicks in train: items 0 and 1 end in the first half, item 2 has the second
    names = ["session_length=1", "session_length=2", "session_length=3 to 5"]
    names += ["item_popularity=tail", "item_popularity=middle", "day=1970-01-01"]
    assert table["segment"].unique(maintain_order=True).to_list() == ["all", *names]
    sizes = dict(table.select("segment", "n_targets").unique().iter_rows())
    assert [sizes[name] for name in names] == [2, 1, 1, 2, 2, 4]
    # after one click comes item 0 or 1; item 0 is the tail
    assert values_of(table, Metric.RECALL, "session_length=1") == [1 / 2, 0, 1 / 2]
    assert values_of(table, Metric.RECALL, "item_popularity=tail") == [0, 0, 1]
    assert values_of(table, Metric.RECALL, "day=1970-01-01") == values_of(table, Metric.RECALL)
    of_lists = {Metric.CATALOGUE_COVERAGE, Metric.NOVELTY}
    assert set(table.filter(pl.col("metric").is_in(of_lists))["segment"]) == {"all"}


def test_a_segments_error_is_of_its_own_sessions(planted_model):
    section = replace(SECTION, segments=(Segmentation.SESSION_LENGTH,))
    table = evaluate(planted_model, section=section).metrics

    row = table.filter(metric="recall", segment="session_length=1", preference_id="p00")
    # one target of each session, one of them hit: sqrt(2/1 · (1/4 + 1/4)) / 2
    assert row["n_sessions"].item() == 2
    assert row["standard_error"].item() == pytest.approx(1 / 2)
    alone = table.filter(metric="recall", segment="session_length=3 to 5")
    assert alone["standard_error"].to_list() == [None, None, None]


def test_losses_of_planted_scores(planted_model):
    table = evaluate(planted_model).metrics

    click = table.filter(metric="click_loss", preference_id="p02")["value"].item()
    order = table.filter(metric="order_loss", preference_id="p02")["value"].item()

    # scores 1, 0, 0: item 0 costs log(e + 2) - 1 twice, item 1 costs log(e + 2) twice
    assert click == pytest.approx((2 * (log(exp(1) + 2) - 1) + 2 * log(exp(1) + 2)) / 4, rel=1e-6)
    # not ordered at score 1: log(1 + e) twice; at score 0, ordered or not: log 2 twice
    assert order == pytest.approx((2 * log(1 + exp(1)) + 2 * log(2)) / 4, rel=1e-6)


def test_order_of_the_sessions_does_not_matter():
    model = build_model(
        ModelConfig(hidden_size=8, layers=1, heads=2, max_length=6),
        n_items=12,
        n_objectives=2,
        seed=3,
    )
    sessions = [[((7 * s + t * t) % 12, (s + t) % 3 // 2) for t in range(2 + s)] for s in range(4)]
    here = evaluate(model, SessionTokens.from_lists(sessions))

    there = evaluate(model, SessionTokens.from_lists(sessions[::-1]))

    assert_frame_equal(here.metrics, there.metrics, rel_tol=1e-6)
