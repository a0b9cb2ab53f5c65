"""Metrics as ratios of global counts, on targets a reader can count."""

from dataclasses import astuple
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.scoring import TargetScores
from pipeline.evaluation.metrics import (
    HAS_CUTOFF,
    HIGHER_IS_BETTER,
    Estimate,
    estimate,
    ratio_of_sums,
    terms,
)
from pipeline.schemas import Metric


def target_scores(targets, click_loss=None, order_loss=None):
    """Scores from (session, rank, ordered) triples, one a target."""
    session, rank, ordered = zip(*targets, strict=True)
    return TargetScores(
        session=np.array(session),
        rank=np.array(rank),
        ordered=np.array(ordered, dtype=np.bool_),
        click_loss=np.array(click_loss or [0.0] * len(targets)),
        order_loss=np.array(order_loss or [0.0] * len(targets)),
    )


def shuffled(scores, seed):
    order = np.random.default_rng(seed).permutation(len(scores.rank))
    return TargetScores(
        session=scores.session[order],
        ordered=scores.ordered[order],
        rank=scores.rank[order],
        click_loss=scores.click_loss[order],
        order_loss=scores.order_loss[order],
    )


def defined(result):
    """The value, where it must be defined."""
    assert result.value is not None
    return result.value


def numbers(result):
    """Value and standard error, nan for None."""
    return [np.nan if number is None else number for number in astuple(result)]


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
    )

    assert estimate(metric, scores, cutoff=3).value == pytest.approx(expected, rel=1e-12)


def test_order_density_where_every_click_is_hit_is_the_share_of_ordered_clicks():
    scores = target_scores([(0, 1, 1), (0, 1, 0), (0, 1, 0), (0, 1, 1)])

    assert estimate(Metric.ORDER_DENSITY, scores, cutoff=1).value == 2 / 4


def test_recall_times_order_density_is_the_product():
    scores = target_scores(EIGHT_TARGETS)

    for cutoff in range(1, 10):
        recall, density, product = (
            defined(estimate(metric, scores, cutoff))
            for metric in (Metric.RECALL, Metric.ORDER_DENSITY, Metric.RECALL_ORDER_DENSITY)
        )
        assert product == pytest.approx(recall * density, rel=1e-12)


@pytest.mark.parametrize(("cutoff", "hits"), [(1, 2), (2, 3), (3, 5), (4, 7), (8, 7), (9, 8)])
def test_a_rank_equal_to_the_cutoff_is_a_hit(cutoff, hits):
    assert estimate(Metric.RECALL, target_scores(EIGHT_TARGETS), cutoff).value == hits / 8


def test_order_density_without_a_hit_is_undefined_and_the_rest_is_not():
    scores = target_scores([(0, 4, 1), (1, 5, 0)])

    undefined = Estimate(value=None, standard_error=None)
    assert estimate(Metric.ORDER_DENSITY, scores, cutoff=3) == undefined
    assert estimate(Metric.RECALL, scores, cutoff=3).value == 0
    assert estimate(Metric.RECALL_ORDER_DENSITY, scores, cutoff=3).value == 0
    assert estimate(Metric.MRR, scores, cutoff=3).value == 0


def test_metric_is_a_ratio_of_global_counts_and_no_mean_of_session_means():
    # session 0 has 1 target and hits it; session 1 has 4 and hits one of them
    scores = target_scores([(0, 1, 0), (1, 1, 0), (1, 9, 0), (1, 9, 0), (1, 9, 0)])

    value = estimate(Metric.RECALL, scores, cutoff=1).value

    mean_of_session_means = (1 / 1 + 1 / 4) / 2
    assert value == (1 + 1) / (1 + 4)
    assert value != mean_of_session_means


@settings(max_examples=30, deadline=None)
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

    for metric in Metric:
        here, there = estimate(metric, scores, cutoff=3), estimate(metric, moved, cutoff=3)
        assert numbers(here) == pytest.approx(numbers(there), rel=1e-9, abs=1e-12, nan_ok=True)


def test_shards_of_a_test_set_add_up_to_the_whole():
    whole = target_scores(EIGHT_TARGETS)
    shards = [target_scores(EIGHT_TARGETS[5:]), target_scores(EIGHT_TARGETS[:5])]

    for metric in Metric:
        per_shard = [terms(metric, shard, cutoff=3) for shard in shards]
        numerator = sum(part.sum() for part, _ in per_shard)
        denominator = sum(part.sum() for _, part in per_shard)
        assert estimate(metric, whole, cutoff=3).value == numerator / denominator


def test_standard_error_of_a_ratio_by_hand():
    # sums of the sessions: y = 1, 0, 2 and m = 1, 2, 3, so R = 3/6 and y - R m = 1/2, -1, 1/2
    numerator = np.array([1.0, 0, 0, 2, 0, 0])
    session = np.array([7, 8, 8, 9, 9, 9])

    result = ratio_of_sums(numerator, np.ones(6), session)

    assert result.value == 3 / 6
    squares = (1 / 2) ** 2 + (-1) ** 2 + (1 / 2) ** 2
    assert result.standard_error == pytest.approx(sqrt(3 / 2 * squares) / 6, rel=1e-12)


def test_one_session_has_a_value_and_no_standard_error():
    result = ratio_of_sums(np.array([1.0, 0]), np.ones(2), np.array([4, 4]))

    assert result == Estimate(value=1 / 2, standard_error=None)


def test_targets_that_repeat_inside_a_session_add_no_precision():
    each_once = target_scores([(0, 1, 0), (1, 9, 0), (2, 1, 0), (3, 9, 0)])
    each_ten_times = target_scores([(s, 1 + 8 * (s % 2), 0) for s in range(4) for _ in range(10)])

    once = estimate(Metric.RECALL, each_once, cutoff=1)
    ten_times = estimate(Metric.RECALL, each_ten_times, cutoff=1)

    assert once.standard_error == pytest.approx(ten_times.standard_error, rel=1e-12)


@pytest.mark.parametrize("metric", [Metric.RECALL, Metric.ORDER_DENSITY, Metric.MRR])
def test_standard_error_agrees_with_a_bootstrap_of_sessions(metric):
    rng = np.random.default_rng(5)
    session = np.repeat(np.arange(400), rng.integers(1, 12, 400))
    skill = rng.beta(2, 2, 400)[session]  # hits of a session are correlated
    rank = np.where(rng.random(len(session)) < skill, rng.integers(1, 4, len(session)), 9)
    ordered = rng.random(len(session)) < 0.1 + 0.4 * skill
    scores = target_scores(list(zip(session, rank, ordered, strict=True)))

    numerator, denominator = terms(metric, scores, cutoff=3)
    y, m = np.bincount(session, numerator), np.bincount(session, denominator)
    drawn = rng.integers(0, 400, (4000, 400))
    bootstrap = (y[drawn].sum(axis=1) / m[drawn].sum(axis=1)).std()

    # 4,000 replications know a standard deviation to 1/sqrt(8000), about 1.1 %
    assert estimate(metric, scores, cutoff=3).standard_error == pytest.approx(bootstrap, rel=0.05)


def test_losses_are_the_metrics_without_cutoff_and_the_ones_to_keep_low():
    losses = {Metric.CLICK_LOSS, Metric.ORDER_LOSS}

    assert set(Metric) - HAS_CUTOFF == losses
    assert {metric for metric in Metric if not HIGHER_IS_BETTER[metric]} == losses
