"""Slopes pooled around a common one: by pooling without errors, and against planted truths."""

from math import sqrt

import numpy as np
import pytest

from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.inference.meta.common_slope import (
    KnownSlope,
    NoisyGroups,
    pool_around_common_slope,
)
from pipeline.inference.meta.meta_analysis import pool_slopes
from pipeline.results.pooled import PooledSlope

G = 4


def noisy(rng, *, reliability, slope=1.0, spread=0.2, users=0.1):
    """Groups whose measured metric has this reliability, and whose KPI follows the true one."""
    variance = spread**2 * (1 - reliability) / reliability
    true = spread * rng.standard_normal(G)
    return NoisyGroups(
        x=true + sqrt(variance) * rng.standard_normal(G),
        response=WorkingResponse(
            values_G=slope * true + users * rng.standard_normal(G),
            variance_G=np.full(G, users**2),
            users_df=np.array(np.inf),
        ),
        covariance_GG=variance * np.eye(G),
    )


def pool(studies) -> PooledSlope:
    found = pool_around_common_slope(studies, level=0.95)
    assert isinstance(found, PooledSlope), found
    return found


def test_without_errors_of_the_metric_the_slopes_are_pooled_as_they_are():
    slopes, errors = np.array([0.8, 1.5, 0.2, 1.1]), np.array([0.1, 0.3, 0.2, 0.1])

    found = pool(
        [KnownSlope(slope=b, standard_error=e) for b, e in zip(slopes, errors, strict=True)]
    )

    expected = pool_slopes(slopes, errors, level=0.95)
    assert found.mean.slope == pytest.approx(expected.mean.slope)
    assert found.mean.interval == pytest.approx(expected.mean.interval, rel=1e-4)
    assert found.prediction_interval == pytest.approx(expected.prediction_interval, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("reliability", [0.7, 0.95])
@pytest.mark.parametrize("slope", [1.0, -0.5])
def test_many_small_tests_have_the_slope_of_the_true_metric(reliability, slope):
    rng = np.random.default_rng(1)
    studies = [noisy(rng, reliability=reliability, slope=slope) for _ in range(200)]

    found = pool(studies)

    # deviations of the groups are estimated from four of them, so that a little is left uncorrected
    assert 0.75 < found.mean.slope / slope < 1.1
    # without correction it is the truth times the reliability
    naive = [np.polyfit(one.x, one.response.values_G, 1)[0] for one in studies]
    if reliability < 0.9:
        assert abs(np.mean(naive)) < 0.8 * abs(slope)


def test_studies_with_and_without_errors_are_pooled_together():
    rng = np.random.default_rng(2)
    exact = [
        KnownSlope(slope=1 + 0.05 * rng.standard_normal(), standard_error=0.05) for _ in range(3)
    ]

    found = pool([*exact, *(noisy(rng, reliability=0.8) for _ in range(20))])

    assert found.mean.interval[0] < 1 < found.mean.interval[1]


def test_a_metric_of_nothing_but_error_has_no_slope_or_says_nothing():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        studies = [noisy(rng, reliability=0.01, spread=0.02) for _ in range(5)]

        found = pool_around_common_slope(studies, level=0.95)

        assert found == "metric_within_noise" or not found.mean.excludes_0


def test_one_study_is_not_pooled():
    one = KnownSlope(slope=1.0, standard_error=0.1)

    assert pool_around_common_slope([one], level=0.95) == "one_study"
    assert pool_around_common_slope([], level=0.95) == "one_study"
