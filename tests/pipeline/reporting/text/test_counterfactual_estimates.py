"""Counterfactual estimates of an experiment in words: counts, lifts, and why Recovery chose no estimator."""

from dataclasses import replace

import pytest

from pipeline.core.contracts import Kpi
from pipeline.counterfactual.experiment.leave_one_out import choose_by_recovery
from pipeline.reporting.text.counterfactual_estimates import (
    kpi_sentence,
    pairing_sentence,
    unserved_lines,
)
from pipeline.reporting.text.lifts import lift_words
from pipeline.results.counterfactual import (
    RecoverySummary,
    SupportLimit,
    SupportReason,
    SupportStatus,
    WeightDiagnostics,
)
from pipeline.results.counterfactual_estimates import (
    EstimatorCheck,
    GroupEstimate,
    KpiCheck,
    NoChoice,
    PairingSummary,
    PolicyKpi,
    UnservedPolicies,
    UnservedPolicy,
)

LIMIT = SupportLimit(
    reason=SupportReason.SUPPORT, value=0.77, limit=0.8, status=SupportStatus.NO_SUPPORT
)


def group(name, recovery, *, refused=False, has_error=True):
    interval = (0.01, 0.03) if has_error else None
    return GroupEstimate(
        group=name,
        status=SupportStatus.NO_SUPPORT if refused else SupportStatus.USABLE,
        limits=(LIMIT,) if refused else (),
        value=0.02,
        interval=interval,
        realised=0.02,
        lift=0.1,
        lift_interval=interval,
        realised_lift=0.1,
        realised_interval=(0.05, 0.15),
        recovery=recovery,
        recovery_interval=None,
    )


def estimator(name, *groups):
    realised = [one.recovery for one in groups if one.recovery is not None]
    return EstimatorCheck(
        name=name,
        groups=groups,
        recovery=RecoverySummary(
            policies=len(realised),
            excluded=(),
            mean=1.09,
            mean_distance=0.09,
            cv_absolute=0.1,
            cv_standard=0.1,
            rank_correlation=None,
        ),
        supported=all(one.status is not SupportStatus.NO_SUPPORT for one in groups),
    )


def check(*estimators):
    return KpiCheck(kpi=Kpi.CTR, estimators=estimators, choice=choose_by_recovery(estimators))


FEW = check(estimator("PBM-DR", group("g1", 1.1), group("g2", None)))
UNSUPPORTED = check(estimator("PBM-DR", group("g1", 1.1, refused=True), group("g2", 1.08)))


def test_recovery_never_chooses_an_estimator_without_an_error():
    exact = estimator("DM", group("g1", 1.0, has_error=False), group("g2", 1.0, has_error=False))
    other = estimator("PBM-DR", group("g1", 1.5), group("g2", 1.4))

    assert check(exact, other).choice.estimator == "PBM-DR"
    assert check(exact, other).no_choice is None
    assert choose_by_recovery([exact]) is None


def test_the_reason_for_no_choice_is_the_true_one():
    few, unsupported = kpi_sentence(FEW), kpi_sentence(UNSUPPORTED)

    assert few.endswith("cannot choose an estimator: fewer than two groups have a realised lift.")
    assert "supported" not in few
    assert unsupported.endswith(
        "cannot choose an estimator: no estimator with a known error is supported on every group; PBM-DR is not "
        "on g1 (support 77.0% is below 80%)."
    )
    assert "fewer than two" not in unsupported


@pytest.mark.parametrize(
    ("no_choice", "reason"),
    [
        (NoChoice.TOO_FEW_GROUPS, "fewer than two groups have a realised lift."),
        (NoChoice.NO_SUPPORT, "no estimator with a known error is supported on every group"),
    ],
)
def test_a_policy_that_was_not_checked_says_why(no_choice, reason):
    kpi = PolicyKpi(
        kpi=Kpi.CTR,
        estimator="PBM-DR",
        chosen=False,
        status=SupportStatus.USABLE,
        limits=(),
        value=0.02,
        interval=(0.01, 0.03),
        realised=0.02,
        lift=0.0,
        lift_interval=(-0.1, 0.1),
        nested_distance=None,
        no_choice=no_choice,
    )
    weights = WeightDiagnostics(
        rows=100, users=50, support=0.97, mean_weight=1.0, z=0.0, max_weight=2.0, share_above_10=0.0,
        effective_sample_size=80.0, k_hat=None, status=SupportStatus.USABLE, limits=(),
    )  # fmt: skip
    policy = UnservedPolicy(
        policy="0.7, 0.3", preference=(0.7, 0.3), requests=100, left_out=0, new_lists=0.1,
        diagnostics=weights, kpis=(kpi,),
    )  # fmt: skip

    lines = unserved_lines(UnservedPolicies(level=0.95, users=50, policies=(policy,)))

    assert f"; not checked: {reason}" in lines[1]
    assert not policy.is_refused
    refused = replace(kpi, value=None, lift=None, status=SupportStatus.NO_SUPPORT, limits=(LIMIT,))
    assert replace(policy, kpis=(refused,)).is_refused


def test_one_of_anything_has_no_plural():
    one = PairingSummary(
        groups=("g1", "g2"), list_length=3, requests=1, users=1, equal_share=1.0, fallbacks=1, unplaced_clicks=1,
        log_version="v",
    )  # fmt: skip

    assert pairing_sentence(one) == (
        "1 request of 1 user under 2 groups; the model shows 100.00% of the logged lists again; left out: "
        "1 impression with a list that was not the model's; counted as none: 1 click on no item of the list."
    )


@pytest.mark.parametrize(
    ("value", "ends", "digits", "words"),
    [
        (0.052, (0.011, 0.094), {}, "+5% (+1% to +9%)"),
        (0.052, (0.011, 0.094), {"least_digits": 1}, "+5.2% (+1.1% to +9.4%)"),
        (-0.2012, (-0.2019, -0.2001), {"least_digits": 1}, "−20.12% (−20.19% to −20.01%)"),
        (0.052, None, {}, "+5.20%"),
        (0.052, None, {"alone": 1}, "+5.2%"),
        (None, None, {}, "–"),
    ],
)
def test_a_lift_has_the_decimals_of_its_interval(value, ends, digits, words):
    assert lift_words(value, ends, **digits) == words
