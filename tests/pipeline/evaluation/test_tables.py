"""The table of offline metrics of a model whose scores are planted, so that all of it is by hand.

An item's score is π · lean: item 0 leans to clicks, item 1 to orders, item 2 to neither.
"""

from math import exp, log

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from models.configuration import ModelConfig
from models.network import build_model
from models.tokens import SessionTokens
from pipeline.evaluation.tables import evaluate_preferences, preference_id
from pipeline.schemas import Metric
from pipeline.study import EvaluationSection

# targets: 0, 0 and 1 (ordered) of the first session, 1 of the second
TOKENS = SessionTokens.of([[(2, 0), (0, 0), (0, 0), (1, 1)], [(2, 1), (1, 0)]])
SECTION = EvaluationSection(cutoff=1, preferences=3)


class Leaning(torch.nn.Module):
    """Scores items by the preference alone."""

    config = ModelConfig(width=2, layers=1, heads=1, max_length=10)
    n_items = 3
    n_objectives = 2
    device = torch.device("cpu")
    lean = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])

    def forward(self, inputs_BT, _lengths_B, preference_BO):
        return preference_BO[:, None, :].expand(-1, inputs_BT.shape[1], -1)

    def score_all(self, hidden_PD):
        return hidden_PD @ self.lean.T


@pytest.fixture
def planted_model():
    return Leaning()


def values_of(table, metric):
    return table.filter(pl.col("metric") == metric.value).sort("preference_id")["value"].to_list()


def test_every_preference_of_the_grid_has_every_metric(planted_model):
    table = evaluate_preferences(planted_model, TOKENS, SECTION)

    keys = [(number, metric.value) for number in ("p00", "p01", "p02") for metric in Metric]
    assert table.select("preference_id", "metric").rows() == keys
    preferences = table.filter(pl.col("metric") == "mrr")["preference"].to_list()
    assert preferences == [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    assert set(table["n_targets"]) == {4}
    assert set(table["n_sessions"]) == {2}
    assert set(table.filter(pl.col("metric") == "recall")["cutoff"]) == {1}
    assert set(table.filter(pl.col("metric") == "click_loss")["cutoff"]) == {None}


def test_metrics_of_planted_scores(planted_model):
    table = evaluate_preferences(planted_model, TOKENS, SECTION)

    # p00 ranks item 1 first, p02 item 0; under p01 the two tie, and a tie ranks second
    assert values_of(table, Metric.RECALL) == [2 / 4, 0 / 4, 2 / 4]
    assert values_of(table, Metric.ORDER_DENSITY) == [1 / 2, None, 0 / 2]
    assert values_of(table, Metric.RECALL_ORDER_DENSITY) == [1 / 4, 0 / 4, 0 / 4]
    assert values_of(table, Metric.MRR) == [2 / 4, 0 / 4, 2 / 4]


def test_losses_of_planted_scores(planted_model):
    table = evaluate_preferences(planted_model, TOKENS, SECTION)

    click = table.filter(metric="click_loss", preference_id="p02")["value"].item()
    order = table.filter(metric="order_loss", preference_id="p02")["value"].item()

    # scores 1, 0, 0: item 0 costs log(e + 2) - 1 twice, item 1 costs log(e + 2) twice
    assert click == pytest.approx((2 * (log(exp(1) + 2) - 1) + 2 * log(exp(1) + 2)) / 4, rel=1e-6)
    # not ordered at score 1: log(1 + e) twice; at score 0, ordered or not: log 2 twice
    assert order == pytest.approx((2 * log(1 + exp(1)) + 2 * log(2)) / 4, rel=1e-6)


def test_order_of_the_sessions_does_not_matter():
    model = build_model(
        ModelConfig(width=8, layers=1, heads=2, max_length=6), n_items=12, n_objectives=2, seed=3
    )
    sessions = [[((7 * s + t * t) % 12, (s + t) % 3 // 2) for t in range(2 + s)] for s in range(4)]
    here = evaluate_preferences(model, SessionTokens.of(sessions), SECTION)

    there = evaluate_preferences(model, SessionTokens.of(sessions[::-1]), SECTION)

    assert_frame_equal(here, there, rel_tol=1e-6)


def test_preference_ids_sort_like_their_numbers():
    names = [preference_id(number) for number in range(100)]

    assert names[:2] == ["p00", "p01"]
    assert sorted(names) == names
