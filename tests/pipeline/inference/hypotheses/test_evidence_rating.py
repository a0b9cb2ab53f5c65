"""The strength of evidence follows the rules of docs/inference.md: every concern lowers it."""

from dataclasses import replace

import pytest

from pipeline.inference.hypotheses.evidence_rating import rate_evidence
from pipeline.results.diagnostics import (
    CarryOver,
    Diagnostics,
    SampleRatio,
    WholeWeeks,
)
from pipeline.results.reasons import Concern, Support, Verdict
from tests.pipeline.results.samples import (
    hypothesis_result,
    lack_of_fit,
    measurement_error,
    slope_test,
    small_sample,
)


def carry_over(passed, **p_values):
    tests = {name: slope_test((0.5, 1.5), p_value=p) for name, p in p_values.items()}
    return CarryOver(passed=passed, hypotheses=tests)


HEALTHY = Diagnostics(
    sample_ratio=SampleRatio(passed=True, users=(), expected=(), p_value=1.0),
    carry_over=carry_over(passed=True, H1=0.4, H2=0.2),
)


def hypothesis(**changes):
    """A result without any concern."""
    return hypothesis_result(
        **{
            "slope": 1.0,
            "level": 0.95,
            "holm_p_value": 0.001,
            "small_sample": small_sample((0.5, 1.5)),
            "leave_one_out_range": (0.8, 1.2),
            "lack_of_fit": lack_of_fit(0.4),
            "curvature": slope_test((-1.0, 1.0), p_value=0.4),
            "measurement_error": measurement_error(0.99, (0.6, 1.4)),
            "cluster_robust": slope_test((0.7, 1.3)),
        }
        | changes
    )


def test_without_concerns_the_evidence_is_high():
    found = rate_evidence(hypothesis(), HEALTHY)

    assert (found.strength, found.serious, found.minor) == ("high", (), ())
    assert found.support == (
        Support.BOTH_INTERVALS,
        Support.NO_INFLUENTIAL_GROUP,
        Support.NO_LACK_OF_FIT,
        Support.DIAGNOSTICS_PASSED,
    )


@pytest.mark.parametrize(
    ("changes", "concern"),
    [
        ({"is_interim": True}, Concern.INTERIM),
        ({"small_sample": None}, Concern.SMALL_SAMPLE),
        ({"small_sample": small_sample((-0.1, 1.5))}, Concern.SMALL_SAMPLE),
        ({"small_sample": small_sample((-1.5, -0.5))}, Concern.SMALL_SAMPLE),  # the other side
        ({"leave_one_out_range": (-0.1, 1.2)}, Concern.INFLUENTIAL_GROUP),
        ({"holm_p_value": 0.051}, Concern.MULTIPLICITY),
        ({"measurement_error": measurement_error(0.99, (-0.1, 1.4))}, Concern.MEASUREMENT_ERROR),
        ({"cluster_robust": None}, Concern.USERS_UNKNOWN),
    ],
)
def test_a_concern_that_could_reverse_the_verdict_is_serious(changes, concern):
    found = rate_evidence(hypothesis(**changes), HEALTHY)

    assert (found.strength, found.serious) == ("low", (concern,))


@pytest.mark.parametrize(
    ("changes", "concern"),
    [
        ({"lack_of_fit": lack_of_fit(0.049)}, Concern.LACK_OF_FIT),
        ({"curvature": slope_test((0.1, 1.0), p_value=0.049)}, Concern.NON_LINEAR),
        ({"measurement_error": measurement_error(0.89, (0.6, 1.4))}, Concern.LOW_RELIABILITY),
    ],
)
def test_a_concern_about_the_linear_form_is_minor(changes, concern):
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
