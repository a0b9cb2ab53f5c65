"""A/A tests: re-randomised users, and groups with the same preference."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipeline.inference.diagnostics.aa_tests import aa_test, is_nominal, replicate_test
from pipeline.inference.glm.group_regression import GroupSums, fit_line
from tests.pipeline.inference.shops import X, weeks


def test_aa_rerandomisation_shows_nothing_even_where_groups_differ():
    found = aa_test(X, weeks(1, slope=5.0, days=5, users=3000), seed=4)

    assert found.divisions == 1000
    assert found.passed
    assert found.false_positives == pytest.approx(0.05, abs=0.025)
    assert found.p_value > 1e-3


def test_one_division_is_the_clustered_test_of_the_regression():
    outcome = weeks(8, days=2, users=400)
    rng = np.random.default_rng([4, 5])
    order = rng.permuted(np.tile(np.arange(500), (1000, 1)), axis=1)
    p_values = []
    for places in order[:40]:
        m, y = (
            cube.sum(axis=1).reshape(-1)[places].reshape(5, 1, 100)
            for cube in (outcome.trials_GDB, outcome.successes_GDB)
        )
        divided = replace(outcome, days=outcome.days[:1], trials_GDB=m, successes_GDB=y)
        test = fit_line(X, divided.until(0), level=0.95).cluster_robust
        n = m.sum()
        z = test.slope / (test.standard_error / np.sqrt((n - 1) / (n - 2)))
        p_values.append(2 * stats.norm.sf(abs(z)))

    found = aa_test(X, outcome, seed=4, divisions=40)

    assert found.false_positives == np.mean(np.array(p_values) < 0.05)
    assert found.p_value == pytest.approx(stats.kstest(p_values, "uniform").pvalue)


def test_dependent_batches_raise_the_alarm():
    """What the errors take for independent is not: the same users stand in two batches."""
    assert not is_nominal(0.16, 1000)
    assert is_nominal(0.07, 1000)
    assert not is_nominal(0.08, 1000)


def sums(trials, successes):
    m, y = np.array(trials, dtype=float), np.array(successes, dtype=float)
    return GroupSums(trials=m, successes=y, users=m, sum_mm=m, sum_my=y, sum_yy=y)


def test_replicates_by_hand():
    found = replicate_test(pl.Series(["a", "b", "a"]), sums([100, 50, 100], [20, 10, 30]))

    # log odds -1.386 and -0.847; variances 1/(100 p (1-p)) · 100/99
    variances = [100 / 99 / (100 * p * (1 - p)) for p in (0.2, 0.3)]
    expected = (np.log(0.25) - np.log(3 / 7)) ** 2 / sum(variances)
    assert found.chi2 == pytest.approx(expected)
    assert found.df == 1
    assert found.p_value == pytest.approx(stats.chi2.sf(expected, 1))


def test_p_values_of_replicates_are_uniform_if_they_differ_by_chance():
    p_values = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        y = rng.binomial(2000, [0.1, 0.1, 0.12, 0.12, 0.15, 0.15])
        names = pl.Series(["a", "a", "b", "b", "c", "c"])
        p_values.append(replicate_test(names, sums([2000] * 6, y)).p_value)

    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_groups_that_differ_beyond_their_preference_are_found():
    names = pl.Series(["a", "a", "b", "b"])

    assert replicate_test(names, sums([10_000] * 4, [1000, 1200, 1100, 1100])).p_value < 1e-3


def test_without_replicates_there_is_nothing_to_compare():
    assert replicate_test(pl.Series(["a", "b"]), sums([9, 9], [4, 5])) is None
    assert replicate_test(pl.Series(["a", "a"]), sums([9, 9], [0, 5])) is None
