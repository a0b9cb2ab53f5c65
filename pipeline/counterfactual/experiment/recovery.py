"""Recovery: estimated against realised lifts, and the choice of the estimator by it.

Lift, Recovery and its coefficients of variation are Eq. 5, A, 1 and 6 to 8 of *Counterfactual Evaluation of
Ads Ranking Models through Domain Adaptation* (Radwan et al. 2024, arXiv 2409.19824). A constant bias does
not change a coefficient of variation, so it never stands alone: mean Recovery, its distance from 1 and the
agreement of ranks are next to it.

Shape suffixes: E estimators, P policies.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from pipeline.core.errors import DataError
from pipeline.results.counterfactual import NestedChoice, PolicyLift, RecoverySummary
from pipeline.results.family import Floats


def summarise_recovery(lifts: Sequence[PolicyLift]) -> RecoverySummary:
    """Recovery over the policies whose realised lift's interval excludes 0.

    The rank agreement is over all policies, because order needs no ratio.

    Raises:
        DataError: if no realised lift differs from 0: the Recovery of noise is noise.
    """
    kept = [one for one in lifts if one.is_realised]
    if not kept:
        names = ", ".join(one.policy for one in lifts)
        msg = (
            f"no realised lift of {names} has an interval that excludes 0; Recovery is the ratio to it, and "
            "needs at least one"
        )
        raise DataError(msg)
    found_P = np.array([one.recovery for one in kept])
    mean = float(found_P.mean())
    estimated_P = [one.estimated for one in lifts]
    realised_P = [one.realised for one in lifts]
    return RecoverySummary(
        policies=len(kept),
        excluded=tuple(one.policy for one in lifts if not one.is_realised),
        mean=mean,
        mean_distance=float(np.abs(found_P - 1).mean()),
        cv_absolute=float(np.abs(found_P - mean).mean() / mean),
        cv_standard=float(found_P.std() / mean),
        rank_correlation=_rank_correlation(estimated_P, realised_P),
    )


def _rank_correlation(estimated: Sequence[float], realised: Sequence[float]) -> float | None:
    """Spearman's; None for fewer than two different lifts."""
    if len(set(estimated)) < 2 or len(set(realised)) < 2:
        return None
    return float(np.corrcoef(rankdata(estimated), rankdata(realised))[0, 1])


def choose_estimator(recovery_EP: Floats, names: Sequence[str]) -> NestedChoice:
    """The estimator with the least mean |log Recovery|; ties go to the least variation.

    The reported Recovery is nested: that of each policy is of the estimator chosen on the other policies,
    so it is not flattered by the choice. A lift with the wrong sign has the worst Recovery.

    Args:
        recovery_EP: Recovery of every estimator and policy.
        names: The estimators.

    Raises:
        DataError: if there are fewer than two policies.
    """
    policies = recovery_EP.shape[1]
    if policies < 2:
        msg = (
            f"{policies} policy with a realised lift; choosing an estimator needs at least 2, one to choose on "
            "and one to check"
        )
        raise DataError(msg)
    nested: list[float] = []
    for left_out in range(policies):
        others_EP = np.delete(recovery_EP, left_out, axis=1)
        nested.append(float(recovery_EP[_best(others_EP), left_out]))
    return NestedChoice(
        estimator=names[_best(recovery_EP)],
        nested_recovery=tuple(nested),
        mean_distance=float(np.abs(np.array(nested) - 1).mean()),
    )


def _best(recovery_EP: Floats) -> int:
    positive_EP = recovery_EP > 0
    log_EP = np.log(recovery_EP, where=positive_EP, out=np.full_like(recovery_EP, np.inf))
    distance_E = np.abs(log_EP).mean(axis=1)
    variation_E = np.abs(recovery_EP - recovery_EP.mean(axis=1, keepdims=True)).mean(axis=1)
    return int(np.lexsort((variation_E, distance_E))[0])
