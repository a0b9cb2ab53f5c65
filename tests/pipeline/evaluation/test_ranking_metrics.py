"""Metrics as ratios of global counts, on targets a reader can count."""

from dataclasses import replace
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring.target_scores import TargetScores
from pipeline.core.contracts import Metric
from pipeline.core.errors import DataError
from pipeline.evaluation.ranking_metrics import TARGET_METRICS, Targets, click_loss

NOT_COLD = np.zeros(10, dtype=np.bool_)
ITEM_IDS = np.arange(10).astype(str)


def target_scores(
    targets, click_loss=None, order_loss=None, history=None, item=None, *, uniformity=None
):
    """Scores from (session, rank, ordered) triples, one per target."""
    session, rank, ordered = zip(*targets, strict=True)
    return TargetScores(
        session=np.array(session),
        history=np.array(history or [1] * len(targets)),
        item=np.array(item or [0] * len(targets)),
        rank=np.array(rank),
        ordered=np.array(ordered, dtype=np.bool_),
        click_loss=np.array(click_loss or [0.0] * len(targets)),
        uniformity=np.array(uniformity or [1.0] * len(targets)),
        order_loss=np.array(order_loss or [0.0] * len(targets)),
    )


def shuffled(scores, seed):
    order = np.random.default_rng(seed).permutation(len(scores.rank))
    return TargetScores(**{name: getattr(scores, name)[order] for name in FIELDS})


FIELDS = ("session", "history", "item", "ordered", "rank", "click_loss", "uniformity", "order_loss")


def value(metric, scores, cutoff, cold=NOT_COLD):
    """Σ numerator / Σ denominator; nan where the denominator is 0."""
    numerator, denominator = TARGET_METRICS[metric](
        Targets.from_scores(scores, cutoff, cold, ITEM_IDS)
    )
    return numerator.sum() / denominator.sum() if denominator.sum() else np.nan


# session, rank, ordered: with cutoff 3, the targets of rank 1, 3, 2, 1 and 3 are hits
EIGHT_TARGETS = [
    (0, 1, 1),
    (0, 4, 1),
    (0, 3, 0),
    (1, 2, 0),
    (1, 9, 0),
    (2, 1, 1),
    (2, 3, 0),
    (2, 4, 0),
]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Metric.RECALL, 5 / 8),
        (Metric.ORDER_DENSITY, 2 / 5),
        (Metric.RECALL_ORDER_DENSITY, 2 / 8),
        (Metric.ORDER_RECALL, 2 / 3),
        (Metric.NDCG, (1 + 1 / log2(4) + 1 / log2(3) + 1 + 1 / log2(4)) / 8),
        (Metric.COLD_ITEM_RECALL, 3 / 4),  # items 7, 7, 8 and 8: ranks 1, 4, 3 and 2
        (Metric.SHORT_SESSION_RECALL, 4 / 6),  # all but the two after three clicks
        (Metric.MRR, (1 / 1 + 1 / 3 + 1 / 2 + 1 / 1 + 1 / 3) / 8),
        (Metric.CLICK_LOSS, (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8) / 8),
        (Metric.ORDER_LOSS, (0.5 + 0.25) / 8),
    ],
)
def test_metric_by_hand(metric, expected):
    scores = target_scores(
        EIGHT_TARGETS,
        click_loss=[1, 2, 3, 4, 5, 6, 7, 8],
        order_loss=[0.5, 0, 0, 0.25, 0, 0, 0, 0],
        history=[1, 2, 3, 1, 2, 1, 2, 3],
        item=[7, 7, 8, 8, 1, 2, 3, 1],
    )
    cold = np.isin(np.arange(10), [7, 8, 9])

    assert value(metric, scores, cutoff=3, cold=cold) == pytest.approx(expected, rel=1e-12)


def test_order_density_where_every_click_is_hit_is_the_share_of_ordered_clicks():
    scores = target_scores([(0, 1, 1), (0, 1, 0), (0, 1, 0), (0, 1, 1)])

    assert value(Metric.ORDER_DENSITY, scores, cutoff=1) == 2 / 4


def test_recall_times_order_density_is_the_product():
    scores = target_scores(EIGHT_TARGETS)

    for cutoff in range(1, 10):
        recall, density, product = (
            value(metric, scores, cutoff)
            for metric in (Metric.RECALL, Metric.ORDER_DENSITY, Metric.RECALL_ORDER_DENSITY)
        )
        assert product == pytest.approx(recall * density, rel=1e-12)


@pytest.mark.parametrize(("cutoff", "hits"), [(1, 2), (2, 3), (3, 5), (4, 7), (8, 7), (9, 8)])
def test_a_rank_equal_to_the_cutoff_is_a_hit(cutoff, hits):
    assert value(Metric.RECALL, target_scores(EIGHT_TARGETS), cutoff) == hits / 8


def test_order_density_without_a_hit_is_undefined_and_the_rest_is_not():
    scores = target_scores([(0, 4, 1), (1, 5, 0)])

    assert np.isnan(value(Metric.ORDER_DENSITY, scores, cutoff=3))
    assert value(Metric.RECALL, scores, cutoff=3) == 0
    assert value(Metric.RECALL_ORDER_DENSITY, scores, cutoff=3) == 0
    assert value(Metric.MRR, scores, cutoff=3) == 0


def test_metric_is_a_ratio_of_global_counts_and_no_mean_of_session_means():
    # session 0 has 1 target and hits it; session 1 has 4 and hits one of them
    scores = target_scores([(0, 1, 0), (1, 1, 0), (1, 9, 0), (1, 9, 0), (1, 9, 0)])

    found = value(Metric.RECALL, scores, cutoff=1)

    mean_of_session_means = (1 / 1 + 1 / 4) / 2
    assert found == (1 + 1) / (1 + 4)
    assert found != mean_of_session_means


@settings(max_examples=30)
@given(
    targets=st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 6), st.integers(0, 1)), min_size=1, max_size=30
    ),
    seed=st.integers(0, 1000),
)
def test_order_of_the_targets_does_not_matter(targets, seed):
    losses = [0.1 * rank for _, rank, _ in targets]
    scores = target_scores(targets, click_loss=losses, order_loss=losses)
    moved = shuffled(scores, seed)

    for metric in TARGET_METRICS:
        here, there = value(metric, scores, cutoff=3), value(metric, moved, cutoff=3)
        assert here == pytest.approx(there, rel=1e-9, abs=1e-12, nan_ok=True)


def test_metrics_of_all_scores_have_no_cutoff():
    of_scores = {Metric.CLICK_LOSS, Metric.ORDER_LOSS, Metric.SCORE_UNIFORMITY}

    assert {metric for metric in Metric if not metric.has_cutoff} == of_scores
    losses = {metric for metric in TARGET_METRICS if not metric.higher_is_better}
    assert losses == of_scores - {Metric.SCORE_UNIFORMITY}


def test_a_metric_of_a_column_that_is_missing_names_it():
    scores = replace(target_scores(EIGHT_TARGETS), click_loss=None)

    with pytest.raises(DataError, match=r"no column 'click_loss'; they have .*'order_loss'"):
        click_loss(Targets.from_scores(scores, 3, NOT_COLD, ITEM_IDS))
