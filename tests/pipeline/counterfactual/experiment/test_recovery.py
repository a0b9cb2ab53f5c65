"""Recovery: the paper's equations by hand, and a choice of the estimator that is not flattered."""

import numpy as np
import pytest

from pipeline.core.errors import DataError
from pipeline.counterfactual.experiment.recovery import choose_estimator, summarise_recovery
from pipeline.results.counterfactual import PolicyLift

EXACT = {"rel": 1e-12, "abs": 1e-12}


def lift(policy, estimated, realised, half=0.01):
    return PolicyLift(
        policy=policy,
        estimated=estimated,
        realised=realised,
        interval=(realised - half, realised + half),
    )


def test_the_equations_give_the_golden_numbers():
    """Estimated lifts of .125 and .175 against .10 and .25: Recovery 1.25 and .70."""
    found = summarise_recovery([lift("one", 0.125, 0.10), lift("two", 0.175, 0.25)])

    assert found.mean == pytest.approx((1.25 + 0.7) / 2, **EXACT)
    assert found.mean_distance == pytest.approx((0.25 + 0.3) / 2, **EXACT)
    assert found.cv_absolute == pytest.approx(0.28205128205128194, **EXACT)
    assert found.cv_standard == pytest.approx(0.28205128205128194, **EXACT)  # the same for two
    assert found.rank_correlation == pytest.approx(1.0)


def test_a_constant_factor_changes_the_mean_and_not_the_variation():
    once = summarise_recovery([lift("a", 0.1, 0.1), lift("b", 0.3, 0.2), lift("c", -0.2, -0.3)])
    twice = summarise_recovery([lift("a", 0.2, 0.1), lift("b", 0.6, 0.2), lift("c", -0.4, -0.3)])

    assert twice.mean == pytest.approx(2 * once.mean)
    assert twice.mean_distance > once.mean_distance
    assert twice.cv_absolute == pytest.approx(once.cv_absolute)
    assert twice.cv_standard == pytest.approx(once.cv_standard)
    assert twice.rank_correlation == once.rank_correlation


def test_lifts_that_may_be_0_have_no_recovery_but_a_rank():
    found = summarise_recovery([lift("a", 0.1, 0.1), lift("b", 0.3, 0.005), lift("c", 0.5, 0.6)])

    assert (found.policies, found.excluded) == (2, ("b",))
    assert found.mean == pytest.approx((1 + 5 / 6) / 2)
    assert found.rank_correlation == pytest.approx(0.5)  # estimated a < b < c, realised b < a < c

    with pytest.raises(DataError, match="no realised lift of a, b has an interval that excludes 0"):
        summarise_recovery([lift("a", 0.1, 0.001), lift("b", 0.3, 0.002)])


def test_the_best_estimator_has_the_least_log_recovery():
    recovery = np.array([[2.0, 2.0, 2.0], [1.1, 1.0, 1.2], [1.0, -1.0, 1.0]])

    found = choose_estimator(recovery, ["steady", "close", "wrong sign"])

    assert found.estimator == "close"
    assert found.nested_recovery == (1.1, -1.0, 1.2)  # without policy 2, the third is perfect
    assert found.mean_distance == pytest.approx((0.1 + 2.0 + 0.2) / 3)


def test_ties_go_to_the_least_variation():
    recovery = np.array([[2.0, 0.5], [2.0, 2.0]])

    assert choose_estimator(recovery, ["varying", "steady"]).estimator == "steady"


def test_the_nested_recovery_of_noise_is_not_flattered():
    """Twenty estimators without any difference: the best seems closer to 1 than it is."""
    rng = np.random.default_rng(0)
    naive, nested = [], []
    for _ in range(400):
        recovery = np.exp(rng.normal(0, 0.3, (20, 5)))
        naive.append(np.abs(recovery - 1).mean(axis=1).min())
        nested.append(choose_estimator(recovery, [str(n) for n in range(20)]).mean_distance)

    expected = np.abs(np.exp(rng.normal(0, 0.3, 100_000)) - 1).mean()
    assert np.mean(nested) == pytest.approx(expected, rel=0.1)
    assert np.mean(naive) < 0.8 * expected


def test_one_policy_cannot_choose_and_check():
    with pytest.raises(DataError, match="at least 2, one to choose on"):
        choose_estimator(np.array([[1.0], [1.1]]), ["a", "b"])
