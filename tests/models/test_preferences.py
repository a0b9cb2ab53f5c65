"""Preferences: draws from the Dirichlet, an even grid, and invalid preferences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ModelError
from models.preferences import (
    PreferenceSampling,
    check_preference,
    draw_preferences,
    preference_grid,
    sample_preferences,
)

DRAWS = 100_000
quick = settings(max_examples=50)
concentrations = st.lists(st.floats(0.01, 50), min_size=2, max_size=4).map(tuple)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@quick
@given(concentration=concentrations, seed=st.integers(0, 1000))
def test_draws_lie_on_the_simplex(concentration, seed):
    preference_BO = sample_preferences(20, concentration, generator=generator(seed))

    assert preference_BO.shape == (20, len(concentration))
    assert (preference_BO >= 0).all()
    torch.testing.assert_close(preference_BO.sum(dim=1), torch.ones(20))
    check_preference(preference_BO, len(concentration))


@pytest.mark.parametrize("concentration", [(0.5, 0.5), (1.0, 2.0, 3.0), (8.0, 2.0)], ids=str)
def test_mean_and_variance_are_those_of_the_dirichlet(concentration):
    beta_O = torch.tensor(concentration, dtype=torch.float64)
    mean_O = beta_O / beta_O.sum()
    variance_O = mean_O * (1 - mean_O) / (beta_O.sum() + 1)

    draws_BO = sample_preferences(DRAWS, concentration, generator=generator()).double()
    deviation_BO = draws_BO - mean_O
    squares_BO = deviation_BO.square()

    # five standard errors, of the mean and of the mean square
    mean_error_O = 5 * (variance_O / DRAWS).sqrt()
    square_error_O = 5 * squares_BO.std(dim=0) / math.sqrt(DRAWS)
    assert (deviation_BO.mean(dim=0).abs() < mean_error_O).all()
    assert ((squares_BO.mean(dim=0) - variance_O).abs() < square_error_O).all()


@pytest.mark.parametrize(
    ("below", "share"),
    [(1 / 4, 1 / 3), (1 / 2, 1 / 2), (3 / 4, 2 / 3)],
    ids=["quarter", "half", "three-quarters"],
)
def test_the_papers_concentration_draws_the_arcsine_law(below, share):
    # Dir(1/2, 1/2) is Beta(1/2, 1/2): P(x < b) = 2/π · asin √b, e.g. 2/π · π/6 = 1/3 for b = 1/4
    draws_B = sample_preferences(DRAWS, (0.5, 0.5), generator=generator())[:, 0]

    assert (draws_B < below).double().mean().item() == pytest.approx(
        share, abs=5 * math.sqrt(share * (1 - share) / DRAWS)
    )


def test_every_session_gets_its_own_draw():
    draws_BO = sample_preferences(1000, (0.5, 0.5), generator=generator())

    assert len(draws_BO.unique(dim=0)) > 990  # float32 cannot distinguish the most extreme ones


def test_draws_come_from_the_generator_alone():
    state = torch.get_rng_state()

    first = sample_preferences(5, (0.5, 0.5), generator=generator(1))

    assert torch.equal(first, sample_preferences(5, (0.5, 0.5), generator=generator(1)))
    assert not torch.equal(first, sample_preferences(5, (0.5, 0.5), generator=generator(2)))
    assert torch.equal(torch.get_rng_state(), state)


def drawn(sampling, n_sessions):
    return draw_preferences(n_sessions, (8.0, 1.0, 1.0), sampling, generator=generator())


def test_sessions_are_trained_under_draws_of_their_own_with_each_objectives_concentration():
    preference_BO = drawn(PreferenceSampling.SESSION, 1000)

    expected = sample_preferences(1000, (8.0, 1.0, 1.0), generator=generator())
    assert torch.equal(preference_BO, expected)
    assert preference_BO.mean(dim=0).tolist() == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert len(preference_BO.unique(dim=0)) == 1000


def test_a_batch_is_trained_under_one_draw():
    preference_BO = drawn(PreferenceSampling.BATCH, 7)

    expected = sample_preferences(1, (8.0, 1.0, 1.0), generator=generator())
    assert torch.equal(preference_BO, expected.expand(7, -1))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        (2, [[0, 1], [1, 0]]),
        (3, [[0, 1], [1 / 2, 1 / 2], [1, 0]]),
        (5, [[0, 1], [1 / 4, 3 / 4], [2 / 4, 2 / 4], [3 / 4, 1 / 4], [1, 0]]),
    ],
    ids=["two", "three", "five"],
)
def test_grid_runs_from_all_second_to_all_first(points, expected):
    assert preference_grid(points).tolist() == expected


def test_grid_of_three_objectives_of_small_numbers():
    assert preference_grid(3, 3).tolist() == [
        [0, 0, 1],
        [0, 1 / 2, 1 / 2],
        [0, 1, 0],
        [1 / 2, 0, 1 / 2],
        [1 / 2, 1 / 2, 0],
        [1, 0, 0],
    ]


@quick
@given(points=st.integers(2, 12), n_objectives=st.integers(2, 4))
def test_grid_holds_every_even_share_of_the_simplex_once(points, n_objectives):
    grid_GO = preference_grid(points, n_objectives)
    steps_GO = (grid_GO.double() * (points - 1)).round()

    check_preference(grid_GO, n_objectives)
    torch.testing.assert_close(steps_GO / (points - 1), grid_GO.double(), atol=1e-7, rtol=0)
    assert (steps_GO.sum(dim=1) == points - 1).all()
    assert len(steps_GO.unique(dim=0)) == len(grid_GO)
    assert len(grid_GO) == math.comb(points - 1 + n_objectives - 1, n_objectives - 1)


@quick
@given(points=st.integers(2, 12), n_objectives=st.integers(2, 4))
def test_grid_rows_rise_in_the_first_weight_and_end_at_all_of_it(points, n_objectives):
    grid_GO = preference_grid(points, n_objectives)

    assert (grid_GO[:, 0].diff() >= 0).all()
    assert grid_GO.tolist() == sorted(grid_GO.tolist())
    assert grid_GO[0].tolist() == [*[0.0] * (n_objectives - 1), 1.0]
    assert grid_GO[-1].tolist() == [1.0, *[0.0] * (n_objectives - 1)]


@quick
@given(st.integers(2, 200))
def test_two_objectives_rise_and_fall_in_even_steps(points):
    expected = [[i / (points - 1), 1 - i / (points - 1)] for i in range(points)]

    torch.testing.assert_close(preference_grid(points), torch.tensor(expected))


@pytest.mark.parametrize(
    "preference",
    [[0.3, 0.6], [0.7, 0.4], [-0.1, 1.1], [math.nan, math.nan], [math.nan, 1.0], [math.inf, 0.0]],
    ids=str,
)
def test_points_off_the_simplex_are_refused(preference):
    with pytest.raises(ModelError, match="not a point of the simplex"):
        check_preference(torch.tensor(preference), 2)


def test_one_bad_row_is_enough_to_refuse():
    with pytest.raises(ModelError, match="not a point of the simplex"):
        check_preference(torch.tensor([[0.5, 0.5], [0.5, 0.6]]), 2)


def test_a_weight_too_few_is_refused_with_both_counts():
    with pytest.raises(ModelError, match="has 1 weights, the model 2 objectives"):
        check_preference(torch.tensor([1.0]), 2)
