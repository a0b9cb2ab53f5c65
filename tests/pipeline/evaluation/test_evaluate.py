"""Metrics of frames of ranks and of lists: a study's values, and frames a reader can count."""

import doctest
from math import log2

import numpy as np
import polars as pl
import pytest

from models.errors import ModelError
from models.scoring.target_scores import TargetScores
from pipeline.core.errors import DataError, StudyError
from pipeline.evaluation import evaluate
from pipeline.evaluation.evaluate import evaluate_lists, evaluate_ranks
from pipeline.evaluation.ranking_metrics import TARGET_METRICS, Targets
from pipeline.evaluation.standard_errors import SessionSums

RANKS = pl.DataFrame(
    {
        "session": ["a", "a", "b", "c"],
        "rank": [1, 30, 2, 4],
        "ordered": [True, False, False, True],
        "history": [1, 2, 1, 3],
        "train_clicks": [5, 50, 10, 11],
        "item": ["i1", "i2", "i1", "i3"],
        "price": [1.0, 2.0, 3.0, 4.0],
    }
)
LISTS = pl.DataFrame({"session": [1, 2], "items": [["a", "b", "d"], ["a", "c", "d"]]})
CATALOGUE = pl.DataFrame(
    {
        "item": ["a", "b", "c", "d"],
        "train_clicks": [8, 4, 4, 0],
        "embedding": [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 2.0]],
        "category": ["x", "x", "y", None],
    }
)
HOUR = 3_600_000


def values(table):
    return dict(table.select("metric", "value").iter_rows())


def test_the_examples_of_the_documentation():
    result = doctest.testmod(evaluate)

    assert result.attempted > 0
    assert result.failed == 0


def test_metrics_of_ranks_by_hand():
    table = evaluate_ranks(RANKS, k=2)

    assert values(table) == pytest.approx(
        {
            "recall": 2 / 4,
            "order_density": 1 / 2,
            "recall_order_density": 1 / 4,
            "order_recall": 1 / 2,
            "mrr": (1 / 1 + 1 / 2) / 4,
            "ndcg": (1 + 1 / log2(3)) / 4,
            "cold_item_recall": 2 / 2,
            "short_session_recall": 2 / 3,
        }
    )
    assert set(table["n_targets"]) == {4}
    assert set(table["n_sessions"]) == {3}
    assert set(table["cutoff"]) == {2}


def test_values_and_errors_are_those_of_a_study():
    rng = np.random.default_rng(0)
    scores = TargetScores(
        session=np.sort(rng.integers(0, 40, 200)),
        history=rng.integers(1, 5, 200),
        item=rng.integers(0, 9, 200),
        ordered=rng.random(200) < 0.3,
        rank=rng.integers(1, 60, 200),
        click_loss=rng.random(200),
        uniformity=rng.random(200),
        order_loss=rng.random(200),
    )
    clicks_I = np.arange(9) * 3
    frame = pl.DataFrame({name: getattr(scores, name) for name in TargetScores.__slots__})
    frame = frame.with_columns(train_clicks=clicks_I[scores.item])

    found = evaluate_ranks(frame.sample(fraction=1, shuffle=True, seed=1), k=20)

    targets = Targets.from_scores(scores, 20, clicks_I <= 10, clicks_I.astype(str))
    for metric, value, error in found.select("metric", "value", "standard_error").iter_rows():
        numerator, denominator = TARGET_METRICS[metric](targets)
        sums = SessionSums.of([numerator], [denominator], scores.session)
        assert value == pytest.approx(sums.ratio_G()[0], rel=1e-12)
        assert error == pytest.approx(np.sqrt(sums.delta_covariance_GG()[0, 0]), rel=1e-9)
    assert found.height == len(TARGET_METRICS)
    losses = found.filter(pl.col("metric").str.ends_with("_loss"))
    assert losses["cutoff"].to_list() == [None, None]
    assert losses["higher_is_better"].to_list() == [False, False]


def price_recall(targets):
    price = targets.columns["price"]
    return targets.hit * price, price


price_recall.higher_is_better = False


def test_a_function_and_a_cutoff_in_the_name():
    table = evaluate_ranks(RANKS, ["recall@1", price_recall, "mrr"], k=2)

    assert table.select("metric", "cutoff", "value", "higher_is_better").rows() == [
        ("recall@1", 1, 1 / 4, True),
        ("price_recall", 2, (1 + 3) / (1 + 2 + 3 + 4), False),
        ("mrr", 2, (1 / 1 + 1 / 2) / 4, True),
    ]


def test_a_metric_without_a_hit_is_null():
    table = evaluate_ranks(RANKS.with_columns(rank=pl.lit(9)), ["order_density"], k=2)

    assert table.select("value", "standard_error").rows() == [(None, None)]


@pytest.mark.parametrize(
    ("frame", "metrics", "words"),
    [
        (RANKS.drop("rank"), None, r"lacks the columns \['rank'\]"),
        (RANKS.drop("ordered"), ["order_recall"], "'order_recall' needs the column 'ordered'"),
        (RANKS.with_columns(rank=pl.lit(0)), None, "'rank' holds 0; ranks are integers from 1"),
        (RANKS.with_columns(rank=pl.lit("no")), None, "another type than expected"),
        (
            RANKS.with_columns(ordered=pl.Series([True, None, None, False])),
            None,
            "'ordered' is null in 2 of 4 rows",
        ),
        (RANKS.clear(), None, "no rows"),
    ],
)
def test_an_invalid_frame_of_ranks_is_rejected(frame, metrics, words):
    with pytest.raises(DataError, match=words):
        evaluate_ranks(frame, metrics)


def test_an_unknown_or_invalid_metric_is_rejected():
    with pytest.raises(ModelError, match="'recal' is unknown; built-in: recall, order_density"):
        evaluate_ranks(RANKS, ["recal"])
    with pytest.raises(StudyError, match=r"returns .* for 4 targets; expected two arrays"):
        evaluate_ranks(RANKS, [lambda targets: (targets.hit[:1], targets.ones)])


def test_metrics_of_lists_by_hand():
    lists = LISTS.with_columns(ts=pl.Series([24, 72]) * HOUR)
    catalogue = CATALOGUE.with_columns(available_since=pl.Series([0, None, 50, 60]) * HOUR)

    table = evaluate_lists(lists, catalogue, k=2, fresh_days=1)

    # 17 clicks, for the item without any counts as one with one
    assert values(table) == pytest.approx(
        {
            "catalogue_coverage": 3 / 4,
            "gini_index": (-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2) / (4 * 4),
            "popularity_percentile": (3.5 / 4 + 2 / 4) / 2,
            "novelty": (log2(17 / 8) + log2(17 / 4)) / 2,
            "intra_list_diversity": (1 + 0) / 2,
            "category_diversity": (0 + 1) / 2,
            "freshness": (1 + 1) / (1 + 2),
        }
    )
    assert set(table["n_sessions"]) == {2}
    direction = dict(table.select("metric", "higher_is_better").iter_rows())
    assert not direction["gini_index"]
    assert direction["novelty"]


def test_one_list_has_values_without_errors():
    table = evaluate_lists(LISTS[:1], CATALOGUE)

    assert table["value"].null_count() == 0
    assert table["standard_error"].null_count() == table.height


@pytest.mark.parametrize(
    ("lists", "catalogue", "options", "words"),
    [
        (LISTS, CATALOGUE, {"k": 4}, "have 3 to 3 items, expected 4 in each; pass k=3"),
        (
            LISTS.with_columns(items=pl.Series([["a"], ["a", "b"]])),
            CATALOGUE,
            {},
            "have 1 to 2 items, expected 2 in each; pass k=1",
        ),
        (LISTS, CATALOGUE[:3], {}, "2 recommended items are not in the catalogue, such as 'd'"),
        (LISTS, pl.concat([CATALOGUE, CATALOGUE[:1]]), {}, "item 'a' more than once"),
        (LISTS, CATALOGUE, {"metrics": ["recall"]}, r"unknown metrics of lists \['recall'\]"),
        (
            LISTS,
            CATALOGUE.drop("embedding"),
            {"metrics": ["intra_list_diversity"]},
            "'intra_list_diversity' needs the column 'embedding'",
        ),
        (LISTS, CATALOGUE, {"metrics": ["freshness"]}, "'available_since', and 'ts' of every"),
        (pl.concat([LISTS, LISTS]), CATALOGUE, {}, "session 1 has more than one list"),
    ],
)
def test_invalid_lists_are_rejected(lists, catalogue, options, words):
    with pytest.raises(DataError, match=words):
        evaluate_lists(lists, catalogue, **options)
