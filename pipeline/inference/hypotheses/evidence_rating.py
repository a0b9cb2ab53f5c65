"""The strength of evidence behind a verdict, by rules fixed before the data is analysed.

The verdict uses the headline (see :mod:`pipeline.inference.hypotheses.verdict`). Diagnostics and
sensitivity analyses may weaken it: serious concerns could reverse it (low), minor ones say that it
is an approximation, or may be of another metric (moderate).
"""

from pipeline.results.decisions import EvidenceRating
from pipeline.results.diagnostics import (
    UNLIKELY,
    AaRerandomisation,
    AaTest,
    CarryOver,
    Diagnostics,
)
from pipeline.results.headline import Headline
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Concern, EvidenceStrength, Support, Verdict

SIGNIFICANT = 0.05
"""p-value below which lack of fit and curvature are concerns."""

_RELIABLE, _LEAST_RELIABLE = 0.9, 0.7
"""Reliability of the metric below which measurement error is a minor, and a serious, concern."""

_FEWEST_USERS = _FEWEST_EVENTS = 30
"""Effective users, and successes (or failures), in all groups together."""

_SIGNIFICANT_VERDICTS = {Verdict.CONFIRMED, Verdict.CONTRADICTED}
_WITHOUT_ANSWER = {Verdict.INCONCLUSIVE, Verdict.BLOCKED, Verdict.UNDEFINED}

_SERIOUS_CHECKS = (
    Concern.AA_RERANDOMISATION,
    Concern.CARRY_OVER,
    Concern.PRE_EXPERIMENT_BALANCE,
    Concern.AA_REPLICATES,
    Concern.COMPLETE_DAYS,
)
"""Checks whose failure could reverse a verdict; the values are the names of the checks."""


def rate_evidence(result: HypothesisResult, diagnostics: Diagnostics) -> EvidenceRating:
    """The strength of evidence behind the verdict on a hypothesis."""
    if result.verdict in _WITHOUT_ANSWER:
        return EvidenceRating(strength=EvidenceStrength.NONE)
    conditions = {
        Concern.NOT_SIGNIFICANT: result.verdict not in _SIGNIFICANT_VERDICTS,
        Concern.FEW_USERS: (result.effective_users or 0.0) < _FEWEST_USERS,
        Concern.FEW_EVENTS: _events(result) < _FEWEST_EVENTS,
        Concern.UNRELIABLE_METRIC: _reliability(result.headline) < _LEAST_RELIABLE,
        Concern.INFLUENTIAL_GROUP: _has_influential_group(result),
        Concern.MULTIPLICITY: _insignificant_after_holm(result),
        **{check: _fails(check, result, diagnostics) for check in _SERIOUS_CHECKS},
    }
    mild = {
        Concern.INTERIM: result.is_interim,
        Concern.CONFOUNDED: bool(result.rivals),
        Concern.USERS_UNKNOWN: result.cluster_robust is None,
        Concern.METRIC_ERRORS_UNKNOWN: result.metric_covariance is None,
        Concern.LOW_RELIABILITY: _LEAST_RELIABLE <= _reliability(result.headline) < _RELIABLE,
        Concern.LACK_OF_FIT: _lacks_fit(result),
        Concern.NON_LINEAR: _is_curved(result),
        Concern.WHOLE_WEEKS: _fails(Concern.WHOLE_WEEKS, result, diagnostics),
    }
    serious = tuple(concern for concern, holds in conditions.items() if holds)
    minor = tuple(concern for concern, holds in mild.items() if holds)
    strength = EvidenceStrength.MODERATE if minor else EvidenceStrength.HIGH
    return EvidenceRating(
        strength=EvidenceStrength.LOW if serious else strength,
        support=_support(result, diagnostics),
        serious=serious,
        minor=minor,
    )


def _support(result: HypothesisResult, diagnostics: Diagnostics) -> tuple[Support, ...]:
    """The analyses and diagnostics that support the verdict."""
    fit = result.lack_of_fit
    conditions = {
        Support.SIGNIFICANT: result.verdict in _SIGNIFICANT_VERDICTS,
        Support.NO_INFLUENTIAL_GROUP: result.leave_one_out_range is not None
        and not _has_influential_group(result),
        Support.NO_LACK_OF_FIT: fit is not None
        and fit.p_value is not None
        and not _lacks_fit(result)
        and not _is_curved(result),
        Support.DIAGNOSTICS_PASSED: any(True for _ in diagnostics.items())
        and not diagnostics.failed,
    }
    return tuple(support for support, holds in conditions.items() if holds)


def _fails(name: str, result: HypothesisResult, diagnostics: Diagnostics) -> bool:
    """Whether a check failed; a check per hypothesis, for this one."""
    check = dict(diagnostics.items()).get(name)
    if name not in diagnostics.failed:
        return False
    if not isinstance(check, AaRerandomisation | CarryOver):
        return True
    own = check.hypotheses.get(result.id)
    if own is None:
        return False
    return not own.passed if isinstance(own, AaTest) else own.p_value < UNLIKELY


def _reliability(headline: Headline | None) -> float:
    """Of the metric; 1 where unknown, which is a concern of its own."""
    return 1.0 if headline is None or headline.reliability is None else headline.reliability


def _events(result: HypothesisResult) -> float:
    """Successes of all groups, or failures where these are fewer."""
    successes = sum(point.successes for point in result.points)
    return min(successes, result.n - successes) if result.response.is_binary else successes


def _has_influential_group(result: HypothesisResult) -> bool:
    ends = result.leave_one_out_range
    return ends is not None and ends[0] * ends[1] <= 0


def _insignificant_after_holm(result: HypothesisResult) -> bool:
    p_value, found = result.holm_p_value, result.headline
    return p_value is not None and found is not None and p_value >= 1 - found.level


def _lacks_fit(result: HypothesisResult) -> bool:
    p_value = result.lack_of_fit.p_value if result.lack_of_fit else None
    return p_value is not None and p_value < SIGNIFICANT


def _is_curved(result: HypothesisResult) -> bool:
    return result.curvature is not None and result.curvature.p_value < SIGNIFICANT
