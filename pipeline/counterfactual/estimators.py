"""One interface to the estimators: weights of any kind, with or without a reward model.

With weights w, rewards r, a reward model q, its expectation m under the target policy and the control c,
all summed over positions (Bottou et al. 2013; Swaminathan & Joachims 2015; Dudík et al. 2014; Wang et al.
2017; Su et al. 2020):

- IPS: mean w r; clipped: mean min(w, τ) r; SNIPS: Σ w r / Σ c; β-IPS: mean (w r - β (c - E c));
- DM: mean m; DR: mean (m + w (r - q)); SNDR, β-DR: alike;
- SWITCH-DR: mean (m + 1{w ≤ τ} w (r - q)); DRos: mean (m + λ w / (w² + λ) (r - q)).

Intervals are those of the variation between users. DM and the estimators that cut weights have none: their
bias, of the reward model or of the cut, is not in that variation, and the parameter with the least estimated error
makes it the larger part.

Shape suffixes: N rows, K positions, J controls.
"""

from typing import assert_never

import numpy as np

from pipeline.core.errors import DataError
from pipeline.counterfactual.user_sums import Estimate, UserSums
from pipeline.counterfactual.weighted_log import Ints, WeightedLog
from pipeline.results.counterfactual import (
    Estimator,
    NoInterval,
    PolicyValue,
    Weighting,
    estimator_name,
)
from pipeline.results.family import Floats

_QUANTILES = (1.0, 0.999, 0.99, 0.95, 0.9, 0.75, 0.5)
"""Of the weights: candidates for τ, from no bias to the most."""
_SHRINKAGE = tuple(10.0**power for power in range(6, -3, -1))
"""Candidates for λ, as multiples of the mean squared weight, from no bias to the most."""


def estimate(
    log: WeightedLog,
    estimator: Estimator,
    *,
    parameter: float | None = None,
    level: float = 0.95,
) -> PolicyValue:
    """The value of the target policy, with a confidence interval clustered by user where its error is known.

    Args:
        log: The log with the target policy's weights.
        estimator: The estimator.
        parameter: τ of clipped IPS and SWITCH-DR, λ of DRos; None takes that of
            :func:`tuned_parameter`.
        level: Nominal coverage of the interval.

    Raises:
        DataError: if the estimator needs a reward model and the log has none, or is not defined for
            its weights.
    """
    if parameter is None and estimator.is_tuned:
        parameter = tuned_parameter(log, estimator)
    found = Estimate.of(sums_of(log, estimator, parameter=parameter))
    reason = estimator.unknown_error or without_variation(log.user_N, _chosen_rewards(log))
    return PolicyValue(
        name=estimator_name(log.weighting, estimator),
        estimator=estimator,
        weighting=log.weighting,
        parameter=parameter if estimator.is_tuned else None,
        value=found.value,
        standard_error=None if reason else found.standard_error,
        level=level,
        interval=None if reason else found.interval(level),
        no_interval=reason,
    )


def without_variation(user_N: Ints, rewards: Floats) -> NoInterval | None:
    """Why the variation between users says nothing of an error; None if it does."""
    if (user_N == user_N[0]).all():
        return NoInterval.ONE_USER
    return NoInterval.EQUAL_REWARDS if (rewards == rewards[:1]).all() else None


def _chosen_rewards(log: WeightedLog) -> Floats:
    """The rewards of what the target policy may choose: all that weighting uses."""
    return log.reward_NK[log.weight_NK != 0]


def sums_of(log: WeightedLog, estimator: Estimator, *, parameter: float | None = None) -> UserSums:
    """The sums per user of an estimator, for ratios, lifts and the bootstrap.

    Raises:
        DataError: as :func:`estimate`.
    """
    direct_N, residual_NK = _model_terms(log, estimator)
    if estimator is Estimator.DM:
        return UserSums.of(log.user_N, additive_N=direct_N)
    if parameter is None:
        parameter = tuned_parameter(log, estimator) if estimator.is_tuned else np.inf
    weighted_NK = _effective_weights(log.weight_NK, estimator, parameter) * residual_NK
    if estimator.is_self_normalised:
        alike = log.control_NJ.shape == weighted_NK.shape
        numerator_NJ = weighted_NK if alike else weighted_NK.sum(axis=1, keepdims=True)
        return UserSums.of(
            log.user_N,
            additive_N=direct_N,
            numerator_NJ=numerator_NJ,
            control_NJ=log.control_NJ,
        )
    weighted_N = weighted_NK.sum(axis=1)
    if estimator in {Estimator.BETA_IPS, Estimator.BETA_DR}:
        expected = 1.0 if log.support is None else log.support
        weighted_N = weighted_N - (log.control_NJ - expected) @ _beta(weighted_N, log.control_NJ)
    return UserSums.of(log.user_N, additive_N=direct_N + weighted_N)


def tuned_parameter(log: WeightedLog, estimator: Estimator) -> float:
    """τ or λ with the least estimated mean squared error, bias² + variance (Wang et al. 2017).

    The estimated bias is what cutting the weights takes away. Its square has its own error on top of the
    true bias, so that weights are cut where that is small, and not because it is unknown.
    """
    weights = log.weight_NK.ravel()
    if estimator is Estimator.DROS:
        candidates = [one * float((weights**2).mean()) for one in _SHRINKAGE]
    else:
        candidates = [float(one) for one in np.quantile(weights, _QUANTILES)]
    residual_NK = _model_terms(log, estimator)[1]
    errors: list[float] = []
    for candidate in candidates:
        cut_NK = _effective_weights(log.weight_NK, estimator, candidate) - log.weight_NK
        bias_N = (cut_NK * residual_NK).sum(axis=1)
        found = Estimate.of(sums_of(log, estimator, parameter=candidate))
        errors.append(found.standard_error**2 + float(bias_N.mean()) ** 2)
    return candidates[int(np.argmin(errors))]


def _model_terms(log: WeightedLog, estimator: Estimator) -> tuple[Floats, Floats]:
    """The reward that the model expects of each row, and what it leaves of each reward."""
    if not estimator.needs_model:
        return np.zeros(log.rows), log.reward_NK
    if log.model is None:
        msg = f"{estimator.value} needs a reward model, and the log has none; use {Estimator.IPS.value}"
        raise DataError(msg)
    if estimator is Estimator.DM and log.weighting is Weighting.CASCADE:
        msg = "DM is not defined for cascades, whose model is weighted itself; use weights of positions"
        raise DataError(msg)
    return log.model.direct_N, log.reward_NK - log.model.fitted_NK


def _effective_weights(weight_NK: Floats, estimator: Estimator, parameter: float) -> Floats:
    match estimator:
        case Estimator.CLIPPED_IPS:
            return np.minimum(weight_NK, parameter)
        case Estimator.SWITCH_DR:
            return np.where(weight_NK <= parameter, weight_NK, 0.0)
        case Estimator.DROS:
            return parameter * weight_NK / (weight_NK**2 + parameter)
        case (
            Estimator.IPS
            | Estimator.SNIPS
            | Estimator.BETA_IPS
            | Estimator.DM
            | Estimator.DR
            | Estimator.SNDR
            | Estimator.BETA_DR
        ):
            return weight_NK
        case _:
            assert_never(estimator)


def _beta(weighted_N: Floats, control_NJ: Floats) -> Floats:
    """The coefficients of the controls that minimise the variance."""
    centred_NJ = control_NJ - control_NJ.mean(axis=0)
    return np.linalg.lstsq(centred_NJ, weighted_N - weighted_N.mean(), rcond=None)[0]
