"""The strength of evidence follows the rules of docs/inference.md: every concern lowers it."""

from dataclasses import replace

import pytest

from pipeline.inference.hypotheses.evidence_rating import rate_evidence
from pipeline.results.decisions import Rival
from pipeline.results.diagnostics import (
    CarryOver,
    Diagnostics,
    SampleRatio,
    WholeWeeks,
)
from pipeline.results.hypothesis import GroupPoint
from pipeline.results.reasons import Concern, Support, Verdict
from tests.pipeline.results.samples import headline, hypothesis_result, lack_of_fit, slope_test

RIVAL = Rival(metric="order_density", correlation=-0.99, probability_better=0.5)


def carry_over(passed, **p_values):
    tests = {name: slope_test((0.5, 1.5), p_value=p) for name, p in p_values.items()}
    return CarryOver(passed=passed, hypotheses=tests)


HEALTHY = Diagnostics(
    sample_ratio=SampleRatio(
        passed=True, users=(), expected=(), p_value=1.0, e_value=1.0, largest_e_value=1.0
    ),
    carry_over=carry_over(passed=True, H1=0.4, H2=0.2),
)


def hypothesis(**changes):
    """A result without any concern."""
    return hypothesis_result(
        **{
            "slope": 1.0,
            "level": 0.95,
            "headline": headline((0.6, 1.4), p_value=0.001, reliability=0.99),
            "holm_p_value": 0.001,
            "effective_users": 500.0,
            "n": 1000,
            "points": (point(successes=100),),
            "leave_one_out_range": (0.8, 1.2),
            "lack_of_fit": lack_of_fit(0.4),
            "curvature": slope_test((-1.0, 1.0), p_value=0.4),
            "metric_covariance": ((1e-6,),),
            "cluster_robust": slope_test((0.7, 1.3)),
        }
        | changes
    )


def point(successes):
    return GroupPoint(
        group="g1",
        metric_value=0.1,
        x=0.0,
        trials=1000,
        successes=successes,
        rate=successes / 1000,
        standard_error=None,
    )


def of_reliability(share):
    return {"headline": headline((0.6, 1.4), p_value=0.001, reliability=share)}


@pytest.mark.parametrize("verdict", [Verdict.CONFIRMED, Verdict.CONTRADICTED])
def test_without_concerns_the_evidence_is_high_in_both_directions(verdict):
    found = rate_evidence(hypothesis(verdict=verdict), HEALTHY)

    assert (found.strength, found.serious, found.minor) == ("high", (), ())
    assert found.support == (
        Support.SIGNIFICANT,
        Support.NO_INFLUENTIAL_GROUP,
        Support.NO_LACK_OF_FIT,
        Support.DIAGNOSTICS_PASSED,
    )


@pytest.mark.parametrize(
    ("changes", "concern"),
    [
        ({"verdict": Verdict.SUGGESTIVE}, Concern.NOT_SIGNIFICANT),
        ({"verdict": Verdict.SUGGESTIVE_OPPOSITE}, Concern.NOT_SIGNIFICANT),
        ({"effective_users": 29.9}, Concern.FEW_USERS),
        ({"points": (point(29),)}, Concern.FEW_EVENTS),
        ({"points": (point(971),)}, Concern.FEW_EVENTS),
        (of_reliability(0.69), Concern.UNRELIABLE_METRIC),
        ({"leave_one_out_range": (-0.1, 1.2)}, Concern.INFLUENTIAL_GROUP),
        ({"holm_p_value": 0.051}, Concern.MULTIPLICITY),
    ],
)
def test_a_concern_that_could_reverse_the_verdict_is_serious(changes, concern):
    found = rate_evidence(hypothesis(**changes), HEALTHY)

    assert (found.strength, found.serious) == ("low", (concern,))


@pytest.mark.parametrize(
    ("changes", "concern"),
    [
        ({"is_interim": True}, Concern.INTERIM),
        ({"rivals": (RIVAL,)}, Concern.CONFOUNDED),
        ({"cluster_robust": None}, Concern.USERS_UNKNOWN),
        ({"metric_covariance": None}, Concern.METRIC_ERRORS_UNKNOWN),
        (of_reliability(0.89), Concern.LOW_RELIABILITY),
        (of_reliability(0.7), Concern.LOW_RELIABILITY),
        ({"lack_of_fit": lack_of_fit(0.049)}, Concern.LACK_OF_FIT),
        ({"curvature": slope_test((0.1, 1.0), p_value=0.049)}, Concern.NON_LINEAR),
    ],
)
def test_a_concern_that_could_not_is_minor(changes, concern):
    found = rate_evidence(hypothesis(**changes), HEALTHY)

    assert (found.strength, found.serious, found.minor) == ("moderate", (), (concern,))


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.BLOCKED, Verdict.UNDEFINED])
def test_without_an_answer_there_is_no_evidence(verdict):
    found = rate_evidence(hypothesis_result(verdict=verdict), Diagnostics())

    assert (found.strength, found.support, found.serious) == ("none", (), ())


def test_a_failed_check_counts_for_the_hypotheses_it_failed_for():
    failed = replace(HEALTHY, carry_over=carry_over(passed=False, H1=0.4, H2=0.0001))

    assert rate_evidence(hypothesis(), failed).strength == "high"
    assert rate_evidence(hypothesis(id="H2"), failed).serious == (Concern.CARRY_OVER,)


def test_partial_weeks_are_a_minor_concern():
    weeks = replace(HEALTHY, whole_weeks=WholeWeeks(passed=False, days=9))

    assert rate_evidence(hypothesis(), weeks).minor == (Concern.WHOLE_WEEKS,)
    assert Support.DIAGNOSTICS_PASSED not in rate_evidence(hypothesis(), weeks).support
