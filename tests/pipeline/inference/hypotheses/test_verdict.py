"""The rules of the verdict, case by case."""

from dataclasses import replace

import pytest

from pipeline.inference.glm.group_regression import LineFit
from pipeline.inference.hypotheses.verdict import (
    fitted_mde,
    required_trials,
    verdict,
)
from pipeline.results.reasons import Covariance, Verdict
from pipeline.results.slopes import LackOfFit
from pipeline.study import PAPER_HYPOTHESES
from tests.pipeline.results.samples import slope_test, small_sample

H1, _, _, H4 = PAPER_HYPOTHESES  # H1 expects a positive slope, H4 a negative one
ABOVE, BELOW, AROUND = (0.1, 0.5), (-0.5, -0.1), (-0.1, 0.5)


def of_interval(interval, covariance=Covariance.CLUSTER_ROBUST, error=1.0):
    return slope_test(interval, p_value=0.5, covariance=covariance, error=error)


def fit_of(interval):
    """A fit whose wider test has this interval; the narrower one says the opposite."""
    low, high = interval
    return LineFit(
        intercept=0.0,
        slope=(low + high) / 2,
        covariance=((1.0, 0.0), (0.0, 1.0)),
        model=of_interval((-high, -low), Covariance.MODEL, error=0.5),
        cluster_robust=of_interval(interval),
        lack_of_fit=LackOfFit(pearson_chi2=1.0, clustered_chi2=1.0, df=1, p_value=0.3),
    )


@pytest.mark.parametrize(
    ("clustered", "few", "positive", "negative"),
    [
        (ABOVE, ABOVE, Verdict.CONFIRMED, Verdict.CONTRADICTED),
        (ABOVE, AROUND, Verdict.SUGGESTIVE, Verdict.CONTRADICTED),
        (ABOVE, None, Verdict.SUGGESTIVE, Verdict.CONTRADICTED),
        (ABOVE, BELOW, Verdict.SUGGESTIVE, Verdict.CONTRADICTED),
        (BELOW, BELOW, Verdict.CONTRADICTED, Verdict.CONFIRMED),
        (AROUND, ABOVE, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        ((0.0, 0.5), ABOVE, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
        ((-0.5, 0.0), BELOW, Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_is_what_the_rules_say(clustered, few, positive, negative):
    groups = None if few is None else small_sample(few)

    found = [verdict(hypothesis, of_interval(clustered), groups) for hypothesis in (H1, H4)]

    assert found == [positive, negative]


def test_an_unhealthy_experiment_blocks_whatever_was_found():
    assert verdict(H1, of_interval(ABOVE), small_sample(ABOVE), healthy=False) is Verdict.BLOCKED


def test_the_slope_that_would_have_been_found_by_hand():
    # (1.959964 + 0.841621) times the wider error, whatever was found
    assert fitted_mde(replace(fit_of(AROUND), slope=0.5)) == pytest.approx(2.801585, abs=1e-6)


def test_required_trials_by_hand():
    fit = replace(fit_of(AROUND), slope=0.5)

    # (1.959964 + 0.841621)² · (1 / 0.5)² = 31.4 times as many
    assert required_trials(fit, 1000) == pytest.approx(31_396, abs=2)
    assert required_trials(replace(fit, slope=0.0), 1000) is None
