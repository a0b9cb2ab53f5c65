"""Optimal shares against theory: information goes where it is scarce, and to the extremes."""

import numpy as np
import pytest

from pipeline.experiment.design.optimal_design.criterion import DesignCriterion, slope_information
from pipeline.experiment.design.optimal_design.metric_axis import MetricAxis
from pipeline.experiment.design.optimal_design.optimal_shares import LEAST_SHARE, optimal_shares


def criterion_of(x, information=None, groups=None):
    x = np.array(x, dtype=np.float64)
    axis = MetricAxis(
        x, np.zeros((len(x), len(x))), np.ones_like(x) if information is None else information
    )
    groups = len(x) if groups is None else groups
    return DesignCriterion.of([axis], np.full(groups, 1 / groups), seed=0)


def test_two_groups_share_in_inverse_proportion_to_the_root_of_their_information():
    """The variance of a difference, 1/(w u) + 1/((1 - w) v), is smallest at w = √v / (√u + √v)."""
    criterion = criterion_of([0, 1], np.array([4.0, 1.0]))

    found = optimal_shares(criterion, np.arange(2), floor=0)

    assert found == pytest.approx([1 / 3, 2 / 3], abs=0.011)


def test_without_a_floor_the_middle_gets_the_least_share():
    criterion = criterion_of([0, 0.5, 1])

    found = optimal_shares(criterion, np.arange(3), floor=0)

    assert found == pytest.approx([5 / 12, LEAST_SHARE / 3, 5 / 12], abs=0.011)
    assert found.sum() == pytest.approx(1)


def test_the_floor_keeps_the_middle():
    criterion = criterion_of([0, 0.25, 0.5, 0.75, 1])

    free, bound = (optimal_shares(criterion, np.arange(5), floor=floor) for floor in (0, 0.9))

    assert bound[2] > free[2]
    axis = criterion.axes[0]
    design = np.arange(5)[None]
    gains = [slope_information(axis, design, w)[0] for w in (criterion.weights_G, bound, free)]
    assert gains[0] <= gains[1] < gains[2]
