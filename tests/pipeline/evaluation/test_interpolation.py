"""Metrics between measured preferences, by hand."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.preferences import preference_grid
from pipeline.evaluation.interpolation import SimplexInterpolator

LINE = np.array([[0.0, 1.0], [0.25, 0.75], [1.0, 0.0]])
TRIANGLE = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])


@pytest.mark.parametrize(
    ("preference", "shares"),
    [
        ([0.0, 1.0], [1, 0, 0]),
        ([0.25, 0.75], [0, 1, 0]),
        ([1.0, 0.0], [0, 0, 1]),
        ([0.1, 0.9], [0.6, 0.4, 0]),  # 0.1 is 0.4 of the way from 0 to 0.25
        ([0.5, 0.5], [0, 2 / 3, 1 / 3]),  # and 0.5 a third of that from 0.25 to 1
    ],
)
def test_of_two_objectives_the_neighbours_share_by_distance(preference, shares):
    found = SimplexInterpolator.of(LINE).weights_G(np.array(preference))

    assert found == pytest.approx(shares, abs=1e-12)


def test_the_order_of_the_measured_preferences_plays_no_part():
    found = SimplexInterpolator.of(LINE[::-1].copy()).weights_G(np.array([0.1, 0.9]))

    assert found == pytest.approx([0, 0.4, 0.6])


def test_between_the_corners_alone_shares_are_the_weights():
    found = SimplexInterpolator.of(TRIANGLE).weights_G(np.array([0.2, 0.3, 0.5]))

    assert found == pytest.approx([0.2, 0.3, 0.5])


def test_a_preference_that_is_measured_but_for_rounding_is_measured():
    mesh = SimplexInterpolator.of(preference_grid(11).double().numpy())

    assert mesh.weights_G(np.array([0.3, 0.7])).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]


@given(
    objectives=st.integers(2, 4),
    points=st.integers(2, 6),
    weights=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
@example(objectives=4, points=4, weights=[2**-9, 1.0, 1.0, 1.0])  # next to a degenerate simplex
def test_weights_reproduce_the_preference_and_linear_functions(objectives, points, weights):
    """Vertices, edges and inner points, whatever the grid."""
    weights = np.array(weights[:objectives]) + 1e-300
    preference = weights / weights.sum()
    grid = preference_grid(points, objectives).double().numpy()

    shares = SimplexInterpolator.of(grid).weights_G(preference)

    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1)
    assert (shares > 0).sum() <= objectives
    assert shares @ grid == pytest.approx(preference, abs=1e-5)
