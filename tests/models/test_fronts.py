"""What a front is measured by: rectangles, distances and ranks by hand."""

from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fronts import hypervolume, loss_front, metric_front

SIDE = 5
EVEN = np.array([[0.0, 1.0], [1 / 2, 1 / 2], [1.0, 0.0]])


def share(points, reference, ideal=None):
    """Hypervolume, from the origin by default."""
    reference = np.array(reference, dtype=float)
    ideal = np.zeros(len(reference)) if ideal is None else np.array(ideal, dtype=float)
    return hypervolume(np.array(points, dtype=float), reference=reference, ideal=ideal)


def losses(points, preferences=None, reference=(4.0, 4.0)):
    """A front in loss space; which preferences it has matters to two measures only."""
    if preferences is None:
        weight = np.linspace(0, 1, len(points))
        preferences = np.stack([weight, 1 - weight], axis=1)
    return loss_front(np.array(points), np.array(preferences), reference=np.array(reference))


@pytest.mark.parametrize(
    ("points", "reference", "expected"),
    [
        ([[1, 3]], [4, 4], 3 * 1 / 16),
        ([[1, 3], [2, 1]], [4, 4], (3 * 1 + 2 * 3 - 2 * 1) / 16),
        ([[1, 3], [2, 1], [3, 3]], [4, 4], (3 * 1 + 2 * 3 - 2 * 1) / 16),
        ([[1, 3], [1, 3]], [4, 4], 3 * 1 / 16),
        ([[0, 0]], [4, 2], 1),
        ([[1, 1, 1]], [2, 3, 4], 1 * 2 * 3 / 24),
        ([[1, 1, 1], [0, 2, 3]], [2, 3, 4], (1 * 2 * 3 + 2 * 1 * 1 - 1 * 1 * 1) / 24),
    ],
    ids=["one", "two", "dominated", "twice", "ideal", "box", "two-boxes"],
)
def test_hypervolume_by_hand(points, reference, expected):
    assert share(points, reference) == pytest.approx(expected)


@pytest.mark.parametrize("beyond", [[5, 1], [1, 5], [4, 1], [4, 4], [9, 9]], ids=str)
def test_points_on_or_beyond_the_reference_dominate_nothing(beyond):
    assert share([beyond], [4, 4]) == 0
    assert share([beyond, [1, 3]], [4, 4]) == share([[1, 3]], [4, 4])


def test_hypervolume_of_values_to_be_raised_by_hand():
    rectangles = 0.5 * 0.2 + 0.1 * 0.8 - 0.1 * 0.2
    assert share([[0.5, 0.2], [0.1, 0.8]], [0, 0], [1, 1]) == pytest.approx(rectangles)


def test_one_axis_may_be_lowered_and_the_other_raised():
    assert share([[1, 0.5]], [4, 0], [0, 1]) == pytest.approx((4 - 1) * 0.5 / (4 * 1))


@settings(max_examples=60)
@given(
    points=st.integers(2, 3).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, SIDE + 1), min_size=n, max_size=n), min_size=1, max_size=6
        )
    )
)
def test_hypervolume_is_the_share_of_cells_dominated(points):
    axes = len(points[0])
    cells = list(product(range(SIDE), repeat=axes))  # each by its vertex nearest to the ideal
    dominated = [
        cell
        for cell in cells
        if any(all(p <= c for p, c in zip(point, cell, strict=True)) for point in points)
    ]

    found = share(points, [SIDE] * axes)

    assert found == pytest.approx(len(dominated) / len(cells))
    mirrored = [[SIDE - value for value in point] for point in points]
    assert share(mirrored, [0] * axes, [SIDE] * axes) == pytest.approx(found)


def test_a_loss_front_is_measured_from_its_reference():
    front = losses([[1.0, 3.0], [2.0, 1.0]], reference=(4.0, 5.0))

    assert front.hypervolume == pytest.approx((3 * 2 + 2 * 4 - 2 * 2) / (4 * 5))


def test_a_metric_front_is_measured_from_0():
    front = metric_front(np.array([[0.5, 0.2], [0.1, 0.8]]), EVEN[:2])

    assert front.hypervolume == pytest.approx(0.5 * 0.2 + 0.1 * 0.8 - 0.1 * 0.2)
    assert front.cross_angle is None


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[2.0, 3.0], [4.0, 3.0], [3.0, 2.0]], (4 / 2 - 1, 3 / 2 - 1)),
        ([[1.0, 2.0]], (0, 0)),
        ([[0.0, 2.0], [1.0, 1.0]], (None, 2 / 1 - 1)),
        ([[-1.0, 2.0], [1.0, 2.0]], (None, 0)),
    ],
    ids=["wide", "point", "from-zero", "from-below"],
)
def test_spans_by_hand(points, expected):
    assert losses(points).spans == expected


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]], 0),
        # scaled to (0, 1), (1/4, 1/2), (1, 0): nearest at 3/4, 3/4 and 3/4 + 1/2; their mean 11/12
        ([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]], sqrt((2 * (1 / 6) ** 2 + (1 / 3) ** 2) / 3)),
        # the same on axes of other units
        ([[5.0, 1.4], [5.1, 1.2], [5.4, 1.0]], sqrt((2 * (1 / 6) ** 2 + (1 / 3) ** 2) / 3)),
        # (3, 3) is dominated and does not count
        ([[0.0, 2.0], [1.0, 1.0], [3.0, 3.0], [2.0, 0.0]], 0),
        ([[0.0, 2.0], [2.0, 0.0]], 0),
        ([[1.0, 1.0], [1.0, 1.0]], 0),
        ([[1.0, 1.0], [2.0, 2.0]], None),
    ],
    ids=["even", "uneven", "other-units", "dominated", "two", "same", "one"],
)
def test_spacing_by_hand(points, expected):
    assert losses(points).spacing == pytest.approx(expected)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[1.0, 3.0], [2.0, 1.0]], 2 / 2),
        ([[1.0, 3.0], [2.0, 1.0], [2.0, 3.0], [3.0, 3.0]], 2 / 4),
        ([[1.0, 3.0], [1.0, 3.0], [2.0, 3.0]], 2 / 3),
        ([[1.0, 1.0]], 1 / 1),
    ],
    ids=["all", "half", "twice-the-same", "one"],
)
def test_non_dominated_share_by_hand(points, expected):
    assert losses(points).non_dominated_share == pytest.approx(expected)


def test_metrics_dominate_the_other_way():
    points = np.array([[0.1, 0.3], [0.3, 0.1], [0.3, 0.3]])

    assert losses(points).non_dominated_share == pytest.approx(2 / 3)
    assert metric_front(points, EVEN).non_dominated_share == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("points", "preferences", "expected"),
    [
        ([[1.0, 3.0]], [[1 / 4, 3 / 4]], 0),
        ([[2.0, 2.0]], [[1.0, 0.0]], 45),
        ([[0.0, 2.0]], [[1.0, 0.0]], 90),
        ([[1.0, 3.0], [2.0, 2.0], [0.0, 2.0]], [[1 / 4, 3 / 4], [1.0, 0.0], [1.0, 0.0]], 45),
        ([[1.0, sqrt(3)]], [[1.0, 0.0]], 60),
    ],
    ids=["parallel", "diagonal", "across", "mean", "sixty"],
)
def test_cross_angle_by_hand(points, preferences, expected):
    assert losses(points, preferences).cross_angle == pytest.approx(expected, abs=1e-5)


def test_the_cross_angle_is_of_losses_over_their_references():
    # 1/2 and 8/16 are the same share of their references
    front = losses([[1.0, 8.0]], [[1 / 2, 1 / 2]], reference=(2.0, 16.0))

    assert front.cross_angle == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4.0, 3.0, 2.0, 1.0], -1),
        ([1.0, 2.0, 3.0, 40.0], 1),
        # ranks 4, 3, 1, 2 of weights' 1, 2, 3, 4: ρ = 1 - 6 Σd² / n(n² - 1)
        ([4.0, 3.0, 1.0, 2.0], 1 - 6 * (9 + 1 + 4 + 4) / (4 * 15)),
        ([2.0, 2.0, 2.0, 2.0], None),
    ],
    ids=["falls", "rises", "nearly", "constant"],
)
def test_monotonicity_by_hand(values, expected):
    points = np.array([values, [1.0, 2.0, 3.0, 4.0]]).T

    first, second = losses(points).monotonicity

    assert first == pytest.approx(expected)
    assert second == pytest.approx(-1)  # the second weight falls from row to row


def test_each_axis_follows_its_own_weight():
    weights = np.array([[0.0, 0.3, 0.7], [0.2, 0.5, 0.3], [0.4, 0.1, 0.5]])
    raised = weights**2 + 0.01

    assert metric_front(raised, weights).monotonicity == pytest.approx((1, 1, 1))
    assert losses(1 - raised, weights, (1.0, 1.0, 1.0)).monotonicity == pytest.approx((-1, -1, -1))
    turned = losses(1 - raised[:, [1, 0, 2]], weights, (1.0, 1.0, 1.0)).monotonicity
    # ranks of the weights: 1, 2, 3 and 2, 3, 1, so ρ = 1 - 6 · (1 + 1 + 4) / (3 · 8)
    assert turned == pytest.approx((1 / 2, 1 / 2, -1))


def test_without_different_preferences_there_is_no_monotonicity():
    front = losses([[1.0, 2.0], [2.0, 1.0]], [[1 / 2, 1 / 2], [1 / 2, 1 / 2]])

    assert front.monotonicity == (None, None)
