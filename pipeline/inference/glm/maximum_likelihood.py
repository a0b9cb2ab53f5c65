"""Maximum likelihood of a logistic or log-linear regression on cells of trials.

Iteratively reweighted least squares in the steps and sums of statsmodels' ``GLM.fit``, which the tests
hold it to digit by digit; statsmodels itself takes longer to import than ``paretoscope fit`` may run.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.results.family import Family, Floats

_STEPS = 100
_CONVERGED = 1e-10
_EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST_SINGULAR_VALUE = 1e-15
"""Relative to the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlmFit:
    """A fitted model.

    Attributes:
        params: Coefficients, one per column of the design.
        errors: Their standard errors with independent trials.
        pearson_chi2: Σ (y - μ)² / V(μ) over the cells.
    """

    params: Floats
    errors: Floats
    pearson_chi2: float


def fit_glm(family: Family, design: Floats, trials: Floats, successes: Floats) -> GlmFit:
    """Fit until the coefficients converge, in at most 100 steps; one row per cell of trials.

    Separation must be excluded before. As many cells as coefficients are fitted exactly.

    Raises:
        ValueError: if the weights leave the numbers on the way to a maximum.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if family is Family.BINOMIAL:
            y, weight, offset = successes / trials, trials, np.zeros_like(trials)
            mean = (y + 0.5) / 2
            line = np.log(mean / (1 - mean))  # family.link rounds in another way
        else:
            y, weight, offset = successes, np.ones_like(trials), np.log(trials)
            mean = (y + y.mean()) / 2
            line = np.log(mean)
        params = np.zeros(design.shape[1])
        scaled, scaled_target = design, y
        for _ in range(_STEPS):
            before, slope = params, 1 / family.variance(_inside(family, mean))
            roots = np.sqrt(weight * (1 / (slope**2 * _variance(family, mean))))
            target = line + slope * (y - mean) - offset
            if not (np.isfinite(roots).all() and np.isfinite(target).all()):
                msg = "the weights are not finite"
                raise ValueError(msg)
            scaled, scaled_target = roots[:, None] * design, roots * target
            params = np.linalg.lstsq(scaled, scaled_target, rcond=-1)[0]
            line = design @ params + offset
            mean = family.mean(line)
            if np.allclose(before, params, atol=_CONVERGED, rtol=0):
                break
        inverse = _pseudo_inverse(scaled)
        params = inverse @ scaled_target
        mean = family.mean(design @ params + offset)
        chi2 = (y - mean) ** 2 / _variance(family, mean) * weight
        return GlmFit(
            params=params,
            errors=np.sqrt(np.diag(inverse @ inverse.T)),
            pearson_chi2=float(chi2.sum()),
        )


def _inside(family: Family, mean: Floats) -> Floats:
    return np.clip(mean, _EPSILON, 1 - _EPSILON if family is Family.BINOMIAL else np.inf)


def _variance(family: Family, mean: Floats) -> Floats:
    """Of one trial; that of amounts is not kept off 0, as in statsmodels."""
    return family.variance(_inside(family, mean) if family is Family.BINOMIAL else mean)


def _pseudo_inverse(matrix: Floats) -> Floats:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    kept = s > _SMALLEST_SINGULAR_VALUE * s.max()
    return vt.T @ (np.where(kept, 1 / s, 0)[:, None] * u.T)
