"""Errors of metrics: by hand, against bootstraps, and against the spread of redrawn test sets."""

import os
import subprocess
import sys
from math import sqrt

import numpy as np
import pytest

from pipeline.evaluation.standard_errors import (
    SessionSums,
    bootstrap_ratios,
    covariance_of,
    jackknife_covariance,
)


def sums_of(numerator, denominator):
    return SessionSums(np.array(numerator, dtype=float), np.array(denominator, dtype=float))


def errors(covariance):
    return np.sqrt(np.diag(covariance))


def correlated_sessions(n, seed):
    """Sums of n sessions under three preferences; hits of a session go together."""
    rng = np.random.default_rng(seed)
    length = rng.integers(1, 12, n)
    skill = rng.beta(2, 2, n)[:, None] * np.array([0.9, 0.8, 0.5])
    hits = rng.binomial(length[:, None], skill)
    return sums_of(hits, np.repeat(length[:, None], 3, axis=1))


def test_terms_are_added_by_session_and_preference():
    session = np.array([9, 7, 9, 8])

    sums = SessionSums.of(
        [np.array([1.0, 2, 4, 8]), np.array([0.0, 1, 1, 0])], [np.ones(4), np.ones(4)], session
    )

    assert sums.numerator_SG.tolist() == [[2, 1], [8, 0], [1 + 4, 0 + 1]]  # sessions 7, 8, 9
    assert sums.denominator_SG.tolist() == [[1, 1], [1, 1], [2, 2]]
    assert sums.ratio_G().tolist() == [15 / 4, 2 / 4]


def test_shards_put_one_under_the_other_are_the_whole_bit_for_bit():
    whole = correlated_sessions(999, seed=2)
    shards = [
        SessionSums(whole.numerator_SG[rows], whole.denominator_SG[rows])
        for rows in np.array_split(np.arange(999), 7)
    ]
    together = SessionSums(
        np.concatenate([one.numerator_SG for one in shards]),
        np.concatenate([one.denominator_SG for one in shards]),
    )

    for mine, yours in (
        (whole.ratio_G(), together.ratio_G()),
        (whole.delta_covariance_GG(), together.delta_covariance_GG()),
        (bootstrap_ratios([whole], 60, seed=1), bootstrap_ratios([together], 60, seed=1)),
    ):
        np.testing.assert_array_equal(mine, yours)


def test_standard_error_of_a_ratio_by_hand():
    # y = 1, 0, 2 and m = 1, 2, 3, so R = 3/6 and y - R m = 1/2, -1, 1/2
    sums = sums_of([[1], [0], [2]], [[1], [2], [3]])

    squares = (1 / 2) ** 2 + (-1) ** 2 + (1 / 2) ** 2
    assert sums.ratio_G() == 3 / 6
    assert errors(sums.delta_covariance_GG()) == pytest.approx(sqrt(3 / 2 * squares) / 6, rel=1e-12)


def test_covariance_of_two_ratios_by_hand():
    # residuals 1/2, -1, 1/2 and, with R = 2/6, 2/3, -2/3, 0
    sums = sums_of([[1, 1], [0, 0], [2, 1]], [[1, 1], [2, 2], [3, 3]])

    expected = 3 / 2 * (1 / 2 * 2 / 3 + -1 * -2 / 3 + 1 / 2 * 0) / (6 * 6)
    covariance = sums.delta_covariance_GG()
    assert covariance[0, 1] == pytest.approx(expected, rel=1e-12)
    assert covariance[1, 0] == covariance[0, 1]


def test_one_session_has_a_value_and_no_error():
    sums = sums_of([[1]], [[2]])

    assert sums.ratio_G().tolist() == [1 / 2]
    assert np.isnan(sums.delta_covariance_GG()).all()


def test_a_ratio_without_denominator_is_undefined_and_its_neighbour_is_not():
    sums = sums_of([[0, 1], [0, 2]], [[0, 2], [0, 2]])

    assert np.isnan(sums.ratio_G()).tolist() == [True, False]
    assert np.isnan(sums.delta_covariance_GG()).tolist() == [[True, True], [True, False]]
    assert np.isnan(covariance_of(bootstrap_ratios([sums], 50, seed=0)[:, 0])[0]).all()


def test_targets_that_repeat_inside_a_session_add_no_precision():
    once = sums_of([[1], [0], [1], [0]], np.ones((4, 1)))
    ten_times = sums_of([[10], [0], [10], [0]], 10 * np.ones((4, 1)))

    assert once.delta_covariance_GG() == pytest.approx(ten_times.delta_covariance_GG(), rel=1e-12)


@pytest.mark.slow
def test_the_bootstrap_agrees_with_the_delta_method_at_5000_sessions():
    sums = correlated_sessions(5000, seed=5)

    bootstrap = covariance_of(bootstrap_ratios([sums], 4000, seed=1)[:, 0])

    # 4,000 replicates know a standard deviation to 1/sqrt(8000), about 1.1%
    delta = sums.delta_covariance_GG()
    assert errors(bootstrap) == pytest.approx(errors(delta), rel=0.05)
    assert bootstrap == pytest.approx(delta, rel=0.15)


def test_both_agree_with_the_spread_of_redrawn_test_sets():
    values = np.array([correlated_sessions(1000, seed).ratio_G() for seed in range(600)])
    spread = np.cov(values.T)
    sums = correlated_sessions(1000, seed=1000)

    # 600 test sets know a standard deviation to 1/sqrt(1200), about 3%
    assert errors(sums.delta_covariance_GG()) == pytest.approx(errors(spread), rel=0.15)
    bootstrap = covariance_of(bootstrap_ratios([sums], 1000, seed=2)[:, 0])
    assert errors(bootstrap) == pytest.approx(errors(spread), rel=0.15)
    assert bootstrap == pytest.approx(spread, rel=0.3)


def test_a_seed_gives_the_same_replicates_and_another_does_not():
    sums = correlated_sessions(300, seed=3)

    same, again, other = (bootstrap_ratios([sums], 50, seed=seed) for seed in (4, 4, 5))

    np.testing.assert_array_equal(same, again)
    assert (same != other).any()


def test_metrics_are_redrawn_together():
    sums = correlated_sessions(300, seed=3)

    one, twin = np.moveaxis(bootstrap_ratios([sums, sums], 50, seed=4), 1, 0)

    np.testing.assert_array_equal(one, twin)


def test_sessions_beyond_the_first_chunk_are_weighed_too():
    n = 3 * 8192 + 5
    sums = sums_of(np.arange(n)[:, None] % 2, np.ones((n, 1)))

    found = bootstrap_ratios([sums], 400, seed=0)[:, 0, 0]

    assert found.mean() == pytest.approx(0.5, abs=4 * 0.5 / sqrt(n * 400))
    assert found.std() == pytest.approx(0.5 / sqrt(n), rel=0.15)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    rng = np.random.default_rng(7)
    sample = rng.normal(size=(30, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    without = (sample.sum(axis=0) - sample) / 29

    assert jackknife_covariance(without) == pytest.approx(np.cov(sample.T) / 30, rel=1e-12)


ON_CORES = """
import numpy as np
from pipeline.evaluation.standard_errors import SessionSums, bootstrap_ratios, covariance_of
rng = np.random.default_rng(1)
sums = SessionSums(rng.random((60_001, 11)), rng.random((60_001, 11)))
replicates_RMG = bootstrap_ratios([sums], 50, seed=0)
digest = hashlib.md5(sums.delta_covariance_GG().tobytes())
digest.update(covariance_of(replicates_RMG[:, 0]).tobytes())
print(digest.hexdigest())
"""


def test_the_number_of_cores_does_not_change_a_bit():
    outputs = [
        subprocess.run(
            [sys.executable, "-c", "import hashlib" + ON_CORES],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]

    assert outputs[0] == outputs[1] != ""
