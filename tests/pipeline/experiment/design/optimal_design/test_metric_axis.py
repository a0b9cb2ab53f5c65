"""Partial information and inflation against least squares, and designs that break collinearity."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from pipeline.experiment.design.optimal_design.criterion import DesignCriterion, slope_information
from pipeline.experiment.design.optimal_design.joint_information import (
    partial_information,
    variance_inflation,
)
from pipeline.experiment.design.optimal_design.metric_axis import (
    JointMetrics,
    MetricAxis,
    lowest_inflation,
)

X = np.array([[0.0, 0.1, 0.35, 0.8, 1.0, 0.4], [0.9, 1.0, 0.2, 0.5, 0.0, 0.3]])
D = np.array([0.3, 0.1, 0.2, 0.15, 0.25, 0.4])


def exact(x_KC):
    x = np.array(x_KC, dtype=np.float64)
    return JointMetrics(x.T, np.zeros((len(x), len(x), x.shape[1], x.shape[1])))


def axes_of(x_KC, noise=None):
    """An axis per metric, with all others held fixed."""
    joint = exact(x_KC) if noise is None else JointMetrics(np.array(x_KC).T, noise)
    metrics, found = range(len(x_KC)), []
    for k in metrics:
        order = [k, *(n for n in metrics if n != k)]
        own = JointMetrics(joint.x_CK[:, order], joint.noise_KKCC[np.ix_(order, order)])
        x = own.x_CK[:, 0]
        found.append(MetricAxis(x, own.noise_KKCC[0, 0], np.ones_like(x), own))
    return found


def least_squares_information(x_MG, d_G):
    """One over the variance of each slope of weighted least squares with an intercept."""
    design = np.column_stack([np.ones(len(d_G)), *x_MG])
    return 1 / np.diag(np.linalg.inv((design.T * d_G) @ design))[1:]


def grid(levels=(0.0, 0.5), preferences=5):
    """Recall and diversity of cells: both move with π, the level moves diversity the most."""
    front = np.tile(np.linspace(0, 1, preferences), len(levels))
    level = np.repeat(levels, preferences)
    return np.stack([front - 0.1 * level, level - 0.4 * front])


def test_partial_information_is_that_of_least_squares_on_all_metrics():
    designs = np.array([[0, 1, 2, 3, 4, 5], [1, 0, 2, 3, 5, 4]])

    for axis, n in zip(axes_of(X), (0, 1), strict=True):
        expected = least_squares_information(X, D)[n]
        found = partial_information(axis.joint.information(designs, D[designs]))[:, 0]
        assert found == pytest.approx([expected] * 2)


def test_metrics_on_a_line_have_no_partial_information():
    (axis, _) = axes_of([X[0], 3 - 2 * X[0]])

    assert partial_information(axis.joint.information(np.arange(6)[None], D[None]))[0, 0] == 0


def test_errors_of_the_metrics_are_those_of_the_chosen_candidates():
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(12, 12)) * 0.05
    noise = (mixing @ mixing.T).reshape(2, 6, 2, 6).transpose(0, 2, 1, 3)
    (axis, _), design, d = axes_of(X, noise), np.array([4, 1, 2]), D[:3]

    (found,) = axis.joint.information(design[None], d[None])

    centring = np.diag(d) - np.outer(d, d) / d.sum()
    for k in range(2):
        for other in range(2):
            of_pair = noise[k, other][np.ix_(design, design)]
            expected = X[k][design] @ centring @ X[other][design] - np.trace(centring @ of_pair)
            assert found[k, other] == pytest.approx(expected)


@pytest.mark.parametrize("noisy", [False, True])
def test_the_exchange_finds_the_cells_with_the_largest_product_of_partial_information(noisy):
    x = grid(levels=(0.0, 0.2, 0.5), preferences=4)
    error = np.random.default_rng(3).normal(size=(24, 24)) * (0.02 if noisy else 0)
    noise = (error @ error.T).reshape(2, 12, 2, 12).transpose(0, 2, 1, 3)
    axes, weights = axes_of(x, noise), np.full(5, 0.2)
    criterion = DesignCriterion.of(axes, weights, seed=0)

    found = criterion.choose(floor=0, seed=0)

    designs = np.array(list(combinations(range(12), 5)))
    partial = np.stack([slope_information(axis, designs, weights) for axis in axes])
    own = np.stack([slope_information(axis, found[None], weights) for axis in axes])
    assert own.prod() == pytest.approx(partial.prod(axis=0).max())
    assert criterion.best_slope == pytest.approx(partial.max(axis=1))


def test_the_joint_design_breaks_the_collinearity_of_the_one_front_plan():
    x = grid(levels=(0.0, 0.25, 0.5), preferences=11)
    axes, weights = axes_of(x), np.full(6, 1 / 6)
    joint = DesignCriterion.of(axes, weights, seed=0)
    front = DesignCriterion.of([axis.marginal.of(np.arange(11)) for axis in axes], weights, seed=0)

    chosen, one_front = joint.choose(floor=0.5, seed=0), front.choose(floor=0.5, seed=0)

    apart, together = (joint.efficiencies(design, axes) for design in (chosen, one_front))
    for one, other in zip(apart, together, strict=True):
        assert abs(one.correlations[0]) < 0.6
        assert one.inflation < 1.5
        assert one.slope > 0.7
        assert other.inflation is None  # on the front, diversity is a line in recall
        assert other.correlations[0] == pytest.approx(-1)
        assert other.slope == 0


def test_the_lowest_inflation_is_that_of_the_best_design():
    x = grid(levels=(0.0, 0.5), preferences=4)
    axis, weights = axes_of(x)[0], np.full(4, 0.25)

    designs = np.array(list(combinations(range(8), 4)))
    factors = variance_inflation(axis.joint.information(designs, np.full(designs.shape, 0.25)))
    assert lowest_inflation(axis, weights, seed=0) == pytest.approx(factors[:, 0].min())
    assert lowest_inflation(axis.of(np.arange(4)), np.full(3, 1 / 3), seed=0) == np.inf


def test_without_rivals_the_criterion_is_the_marginal_one():
    x = grid()[0]
    axis = MetricAxis(x, np.zeros((10, 10)), np.linspace(0.5, 1.5, 10))
    alone = replace(axis, joint=exact(x[None]))
    designs = np.array(list(combinations(range(10), 4)))

    both = (slope_information(one, designs, np.full(4, 0.25)) for one in (axis, alone))

    first, second = both
    assert second == pytest.approx(first)
