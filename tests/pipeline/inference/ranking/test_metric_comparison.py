"""The probability of being best, and the metrics that are not told apart."""

from itertools import product

import numpy as np
import pytest

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.ranking.metric_comparison import (
    Candidate,
    compare_metrics,
    error_covariance,
    metric_probabilities,
)
from pipeline.results.family import Family
from pipeline.results.reasons import UndefinedReason

FRONT = np.array([0.40, 0.42, 0.45, 0.47, 0.50])
SECOND = np.array([0.30, 0.33, 0.29, 0.34, 0.31])
"""A second axis: its correlation with the front over the groups is 0.2."""


def clicks(x, trials=200_000, slope=3.0):
    """Groups on the line of x, one trial per user."""
    m = np.full(len(x), float(trials))
    y = np.round(m / (1 + np.exp(2.2 - slope * (x - x.min()))))
    return GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)


def candidates(p_value=0.001, error=None, **metrics):
    return [
        Candidate(metric=name, values=values, p_value=p_value, error_covariance=error)
        for name, values in metrics.items()
    ]


def test_on_a_second_axis_the_metric_that_the_kpi_follows_is_told_apart():
    found = compare_metrics(candidates(recall=FRONT, diversity=SECOND), clicks(FRONT))

    assert found.best == "recall"
    assert found.probability("recall") > 0.99
    assert found.rivals("recall") == ()
    (rival,) = found.rivals("diversity")
    assert rival.metric == "recall"
    assert rival.probability_better < 0.01


def test_a_metric_that_does_nothing_but_moves_along_the_front_is_a_rival():
    latency = 100 + 400 * (FRONT - 0.4) ** 1.1

    found = compare_metrics(candidates(recall=FRONT, latency=latency), clicks(FRONT))

    (rival,) = found.rivals("recall")
    assert (rival.metric, found.rivals("latency")[0].metric) == ("latency", "recall")
    assert rival.correlation == pytest.approx(np.corrcoef(FRONT, latency)[0, 1])
    assert rival.correlation > 0.99


def test_so_is_one_that_falls_along_the_front():
    found = compare_metrics(candidates(recall=FRONT, od=1 - FRONT), clicks(FRONT))

    (rival,) = found.rivals("recall")
    assert rival.correlation == pytest.approx(-1)
    assert rival.probability_better == pytest.approx(0.5)


def test_multiples_of_a_metric_share_its_probability():
    found = compare_metrics(
        candidates(recall=FRONT, hits=1000 * FRONT, mirrored=3 - FRONT, diversity=SECOND),
        clicks(FRONT),
    )

    assert found.probability_K[:3] == pytest.approx([1 / 3] * 3, abs=0.001)
    assert found.probability_K.sum() == pytest.approx(1)


def test_metrics_that_differ_by_no_more_than_their_errors_are_tied():
    other = FRONT + np.array([0.006, -0.006, 0.006, -0.006, 0.0])
    sums, error = clicks(FRONT), np.eye(5) * 0.008**2

    sharp = compare_metrics(candidates(recall=FRONT, mrr=other), sums)
    blurred = compare_metrics(candidates(recall=FRONT, mrr=other, error=error), sums)

    assert sharp.probability("recall") > 0.95
    assert blurred.probability("recall") == pytest.approx(0.5, abs=0.05)


def test_errors_that_two_metrics_share_do_not_hide_their_difference():
    """Both are measured on the same test sessions: a draw raises or lowers both."""
    other = FRONT + np.array([0.006, -0.006, 0.006, -0.006, 0.0])
    drawn = 0.008 * np.random.default_rng(5).standard_normal((400, 5))
    sums = clicks(FRONT)

    def compared(noise):
        return compare_metrics(
            [
                Candidate(metric=name, values=values, p_value=0.001, replicates_RG=values + off)
                for name, values, off in (("recall", FRONT, drawn), ("mrr", other, noise))
            ],
            sums,
        )

    apart, together = compared(drawn[::-1]), compared(drawn)

    assert apart.probability("recall") == pytest.approx(0.5, abs=0.05)
    assert together.probability("recall") > 0.6


def test_the_covariance_of_errors_is_that_of_the_replicates():
    rng = np.random.default_rng(6)
    drawn_RG = rng.standard_normal((3000, 5))
    known = [
        Candidate(metric="a", values=FRONT, p_value=0.1, replicates_RG=FRONT + drawn_RG),
        Candidate(metric="b", values=FRONT, p_value=0.1, replicates_RG=FRONT - 2 * drawn_RG),
        Candidate(metric="c", values=FRONT, p_value=0.1, error_covariance=4 * np.eye(5)),
    ]

    found = error_covariance(known)

    assert found == pytest.approx(np.array([[1, -2, 0], [-2, 4, 0], [0, 0, 4]]), rel=0.05)


def test_replicates_of_different_test_sets_say_nothing_of_two_metrics():
    drawn_RG, one = np.random.default_rng(6).standard_normal((30, 5)), np.eye(5)
    known = [
        Candidate(
            metric="a", values=FRONT, p_value=0.1, error_covariance=one, replicates_RG=drawn_RG
        ),
        Candidate(
            metric="b", values=FRONT, p_value=0.1, error_covariance=one, replicates_RG=drawn_RG[:20]
        ),
    ]

    assert error_covariance(known) == pytest.approx(np.eye(2))


def test_an_error_that_all_groups_share_is_none():
    common = np.full((5, 5), 0.1**2)

    (one,) = candidates(recall=FRONT, error=common)

    assert one.error_variance == pytest.approx(0)
    assert candidates(recall=FRONT, error=np.eye(5) * 0.04)[0].error_variance == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("values", "p_value", "reason"),
    [
        (FRONT[:3], 0.001, UndefinedReason.FEWER_THAN_4_GROUPS),
        (FRONT[:2], None, UndefinedReason.FEWER_THAN_4_GROUPS),
        (FRONT, 0.1, UndefinedReason.NOT_ASSOCIATED),
    ],
)
def test_what_cannot_be_ranked_is_tied_with_a_reason(values, p_value, reason):
    other = SECOND[: len(values)]

    found = compare_metrics(candidates(p_value, a=values, b=other), clicks(values))

    assert (found.probability_K, found.undefined_reason, found.best) == (None, reason, None)
    (rival,) = found.rivals("a")
    assert (rival.metric, rival.probability_better) == ("b", None)


def test_a_group_without_a_success_is_no_obstacle():
    m, y = np.full(5, 1000.0), np.array([0.0, 2.0, 4.0, 7.0, 9.0])
    sums = GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)

    found = compare_metrics(candidates(recall=FRONT, diversity=SECOND), sums)

    assert found.best == "recall"


def revenue(currency):
    """Half a million users, of whom one in five buys; the mean basket follows the front."""
    m = np.full(5, 100_000.0)
    basket = currency * 30 * (1 + 4 * (FRONT - 0.4))
    buyers = 0.2 * m
    return GroupSums(
        family=Family.POISSON,
        trials=m,
        successes=buyers * basket,
        users=m,
        sum_mm=m,
        sum_my=buyers * basket,
        sum_yy=3 * buyers * basket**2,
    )


def test_an_amount_has_the_same_probabilities_in_euros_and_in_cents():
    metrics = candidates(recall=FRONT, diversity=SECOND, mrr=FRONT**3)

    euros, cents = (compare_metrics(metrics, revenue(unit)) for unit in (1.0, 100.0))

    assert euros.probability_K == pytest.approx(cents.probability_K)
    assert euros.best == "recall"


@pytest.mark.slow
def test_the_probability_is_a_frequency():
    """In each fifth of what is stated, over 48 worlds of 100 experiments: off by at most 5 points."""
    rng = np.random.default_rng(71)
    stated, true = [], []
    for groups, correlation, reliability, deviation, slope in product(
        (5, 10), (0.6, 0.9), (1.0, 0.95, 0.7), (0.0, 2.2), (2.6, 6.0)
    ):
        shape, error = (100, groups, 4), (1 - reliability) / reliability
        common = rng.standard_normal((100, groups, 1))
        own = rng.standard_normal(shape)
        metrics = correlation**0.5 * common + (1 - correlation) ** 0.5 * own
        followed = rng.integers(0, 4, 100)
        noise = np.sqrt(1 + deviation**2) * rng.standard_normal((100, groups))
        kpi = slope * metrics[np.arange(100), :, followed] + noise
        measured = metrics + np.sqrt(error) * rng.standard_normal(shape)
        equal = np.ones((100, groups))
        stated.append(metric_probabilities(measured, error * np.eye(4), kpi, equal))
        true.append(np.arange(4) == followed[:, None])
    p, hit = np.concatenate(stated).ravel(), np.concatenate(true).ravel()
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        within = (p >= low) & (p < low + 0.2) if low < 0.8 else p >= low
        off, error = p[within].mean() - hit[within].mean(), hit[within].std() / within.sum() ** 0.5
        assert abs(off) < 0.05 + 2 * error, (low, off)
