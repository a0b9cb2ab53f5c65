"""Designs against theory, and the exchange against an exhaustive search."""

from itertools import combinations

import numpy as np
import pytest

from pipeline.experiment.design.optimal_design.criterion import (
    DesignCriterion,
    curvature,
    slope_information,
)
from pipeline.experiment.design.optimal_design.exchange import coordinate_exchange
from pipeline.experiment.design.optimal_design.metric_axis import MetricAxis


def axis(x, noise=None, information=None):
    x = np.array(x, dtype=np.float64)
    noise = np.zeros((len(x), len(x))) if noise is None else np.array(noise)
    return MetricAxis(x, noise, np.ones_like(x) if information is None else np.array(information))


def even(n):
    return np.full(n, 1 / n)


def parabola_information(x, weights):
    """Information of weighted least squares on the coefficient of x², by matrix inversion."""
    design = np.column_stack([np.ones_like(x), x, x**2])
    return 1 / np.linalg.inv((design.T * weights) @ design)[2, 2]


def slope_by_least_squares(x, weights):
    design = np.column_stack([np.ones_like(x), x])
    return 1 / np.linalg.inv((design.T * weights) @ design)[1, 1]


def all_designs(n, chosen):
    return np.array(list(combinations(range(n), chosen)))


def best_of_all(criterion, floor):
    """Exhaustive search: the criterion of every design, from its definition."""
    designs = all_designs(len(criterion.axes[0].x_C), len(criterion.weights_G))

    best = {
        f: [f(one, designs, criterion.weights_G).max() for one in criterion.axes]
        for f in (slope_information, curvature)
    }

    def efficiencies(information, design):
        own = [information(one, design[None], criterion.weights_G)[0] for one in criterion.axes]
        return np.array(own) / best[information]

    curved = np.array([efficiencies(curvature, design).min() for design in designs])
    slopes = np.array([efficiencies(slope_information, design).prod() for design in designs])
    allowed = curved >= floor * curved.max() - 1e-9
    return slopes[allowed].max(), curved.max(), efficiencies


def test_information_equals_that_of_least_squares():
    x, weights = np.array([0.0, 0.1, 0.35, 0.8, 1.0]), np.array([0.3, 0.1, 0.2, 0.15, 0.25])
    design = np.arange(5)[None]

    for information in (np.ones(5), np.array([0.5, 0.8, 1.0, 1.2, 1.5])):
        known = axis(x, information=information)
        slope, curved = (f(known, design, weights)[0] for f in (slope_information, curvature))

        assert slope == pytest.approx(slope_by_least_squares(x, weights * information))
        assert curved == pytest.approx(parabola_information(x, weights * information))


def test_the_three_point_design_has_the_known_curvature_information():
    three = curvature(axis([-1, 0, 1]), np.array([[0, 1, 2]]), np.array([0.25, 0.5, 0.25]))

    # m4 - m2² = 1/2 - 1/4, the known optimum on [-1, 1]
    assert three[0] == pytest.approx(1 / 4)


def test_the_error_of_the_metric_reduces_the_information():
    x, weights = [0.0, 0.5, 1.0], even(3)
    design = np.array([[0, 1, 2]])
    common, own = np.full((3, 3), 0.04), np.diag([0.04, 0.04, 0.04])

    clean = slope_information(axis(x), design, weights)[0]

    # common errors cancel in contrasts; independent ones subtract 0.04 · (3 - 1) / 3
    assert clean == pytest.approx((0.25 + 0.25) / 3)
    assert slope_information(axis(x, common), design, weights)[0] == pytest.approx(clean)
    assert slope_information(axis(x, own), design, weights)[0] == pytest.approx(clean - 0.08 / 3)


def test_the_design_balances_the_information_per_user():
    x = np.linspace(0, 1, 11)
    low, high = (
        DesignCriterion.of([axis(x, information=information)], even(3), seed=0)
        .choose(floor=0, seed=0)
        .tolist()
        for information in (2 - x, 1 + x)
    )

    # two groups where a user has less information, one where a user has more
    assert (low, high) == ([0, 9, 10], [0, 1, 10])


def test_without_a_floor_the_groups_are_at_the_two_extremes():
    criterion = DesignCriterion.of([axis(np.linspace(0, 1, 11))], even(4), seed=0)

    assert criterion.choose(floor=0, seed=0).tolist() == [0, 1, 9, 10]


def test_a_floor_moves_groups_to_the_middle_and_is_met():
    criterion = DesignCriterion.of([axis(np.linspace(0, 1, 11))], even(5), seed=0)

    without, with_floor = (criterion.choose(floor=floor, seed=0) for floor in (0.0, 0.7))

    assert without.tolist() in ([0, 1, 2, 9, 10], [0, 1, 8, 9, 10])
    assert any(3 <= position <= 7 for position in with_floor)
    (ends,), (bent,) = (criterion.efficiencies(d, criterion.axes) for d in (without, with_floor))
    assert ends.curvature < 0.7 <= bent.curvature
    assert bent.slope < ends.slope == pytest.approx(1)


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, *range(3, 12)))]
)
def test_the_exchange_finds_the_global_optimum(seed):
    rng = np.random.default_rng(seed)
    n, chosen, floor = 10, int(rng.integers(3, 6)), [0.0, 0.5, 0.9][seed % 3]
    first = np.sort(rng.random(n))
    metrics = [first, 1 - first**2, first * (1 - first) + 0.1]
    error = rng.normal(size=(n, n)) * 0.02
    information = rng.uniform(0.5, 1.5, n)
    axes = [axis(m, error @ error.T, information) for m in metrics[: 1 + seed % 3]]
    weights = rng.dirichlet(np.full(chosen, 20.0))
    criterion = DesignCriterion.of(axes, weights, seed=seed)

    found = criterion.choose(floor=floor, seed=seed)

    best, attainable, efficiencies = best_of_all(criterion, floor)
    assert criterion.attainable == pytest.approx(attainable)
    assert efficiencies(slope_information, found).prod() == pytest.approx(best)
    assert efficiencies(curvature, found).min() >= floor * attainable - 1e-6


def test_a_metric_within_its_error_does_not_affect_the_design():
    x = np.linspace(0, 1, 6)
    blurred = axis(x[::-1] ** 3, np.diag(np.full(6, 10.0)))

    criterion = DesignCriterion.of([axis(x), blurred], even(3), seed=0)

    alone = DesignCriterion.of([axis(x)], even(3), seed=0)
    assert criterion.best_slope[1] <= 0
    assert criterion.choose(floor=0, seed=0).tolist() == alone.choose(floor=0, seed=0).tolist()
    assert criterion.efficiencies(np.array([0, 3, 5]), criterion.axes)[1].slope is None


def test_a_constant_metric_gives_evenly_spaced_candidates():
    criterion = DesignCriterion.of([axis(np.zeros(9))], even(3), seed=0)

    assert criterion.choose(floor=0.5, seed=0).tolist() == [0, 4, 8]


@pytest.mark.parametrize(("n", "chosen"), [(5, 5), (2, 2), (40, 3)])
def test_the_exchange_returns_distinct_candidates_in_order(n, chosen):
    found = coordinate_exchange(
        lambda designs: designs.sum(axis=1)[:, None].astype(float), n, chosen, seed=1
    )

    assert found.tolist() == list(range(n - chosen, n))
