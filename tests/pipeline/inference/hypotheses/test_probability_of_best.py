"""How sure it is which metric is best: clear cases, equal ones, and draws by hand."""

import numpy as np
import pytest

from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.hypotheses.probability_of_best import Measured, probabilities_of_best
from pipeline.inference.sensitivity.random_effects import link_variance

X = np.array([0.40, 0.42, 0.45, 0.47, 0.50])


def clicks(x, trials, slope=3.0):
    """Groups that lie on the line of x, but for rounding."""
    m = np.full(len(x), float(trials))
    y = np.round(m / (1 + np.exp(2.2 - slope * (x - x.min()))))
    return GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)


def test_with_many_users_the_metric_the_kpi_follows_is_surely_the_best():
    other = X[[1, 0, 3, 2, 4]]

    chances = probabilities_of_best([Measured(X), Measured(other)], clicks(X, 1_000_000), seed=1)

    assert chances[0] > 0.999
    assert sum(chances) == pytest.approx(1)


def test_with_few_users_it_is_not():
    other = X[[1, 0, 3, 2, 4]]

    chances = probabilities_of_best([Measured(X), Measured(other)], clicks(X, 300), seed=1)

    assert 0.5 < chances[0] < 0.8


def test_metrics_that_are_multiples_of_each_other_share_the_chance():
    chances = probabilities_of_best(
        [Measured(X), Measured(3 * X), Measured(X - 0.1)], clicks(X, 900), seed=1
    )

    assert chances == pytest.approx([1 / 3] * 3)


def test_a_metric_that_is_badly_measured_is_less_sure():
    sums, error = clicks(X, 100_000), np.eye(5) * 0.01**2
    other = X + np.array([0.006, -0.006, 0.006, -0.006, 0.0])

    sharp = probabilities_of_best([Measured(X), Measured(other)], sums, seed=1)
    blurred = probabilities_of_best(
        [Measured(X, covariance_GG=error), Measured(other, covariance_GG=error)], sums, seed=1
    )

    assert sharp[0] > 0.95
    assert 0.5 < blurred[0] < 0.8


def test_a_copy_of_a_metric_takes_no_chance_from_the_others():
    """Both are measured on the same redrawn sessions; drawn apart, they would win twice as often."""
    sums, rng = clicks(X, 100_000), np.random.default_rng(3)
    other = X + np.array([0.006, -0.006, 0.006, -0.006, 0.0])
    first, second = (one + rng.standard_normal((400, 5)) * 0.01 for one in (X, other))
    known = [Measured(X, first), Measured(other, second)]

    alone = probabilities_of_best(known, sums, seed=1)
    beside = probabilities_of_best([*known, Measured(2 * X, 2 * first)], sums, seed=1)

    assert 0.2 < alone[1] < 0.5
    assert beside[1] == alone[1]
    assert beside[0] == beside[2] == pytest.approx(alone[0] / 2)


def test_a_redrawn_test_set_on_which_the_groups_do_not_differ_explains_nothing():
    flat, other = np.tile(X.mean(), (100, 5)), X[[1, 0, 3, 2, 4]]

    chances = probabilities_of_best([Measured(X, flat), Measured(other)], clicks(X, 10_000), seed=1)

    assert chances == [0, 1]


def test_draws_by_hand():
    """The same draws, each metric's weighted line by numpy."""
    other = np.array([0.1, 0.3, 0.2, 0.5, 0.4])
    sums = clicks(X, 2_000)
    rate = sums.successes / sums.trials
    sigma = np.sqrt(link_variance(sums))
    rng = np.random.default_rng([7, 5])
    drawn = np.log(rate / (1 - rate)) + rng.standard_normal((2000, 5)) * sigma
    misfit = [
        [
            (((y - np.polyval(np.polyfit(x, y, 1, w=1 / sigma), x)) / sigma) ** 2).sum()
            for y in drawn[:200]
        ]
        for x in (X, other)
    ]
    expected = np.mean(np.array(misfit[0]) < misfit[1])

    found = probabilities_of_best([Measured(X), Measured(other)], sums, seed=7)

    assert found[0] == pytest.approx(expected, abs=0.1)


def test_a_group_without_a_success_leaves_it_unknown():
    m, y = np.full(3, 9.0), np.array([0.0, 1.0, 2.0])
    sums = GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)

    assert probabilities_of_best([Measured(X[:3])], sums, seed=1) is None
