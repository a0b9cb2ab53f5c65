"""The residuals of past tests under one slope, and the sums of their test."""

from collections.abc import Callable

import numpy as np
from scipy import optimize

from pipeline.inference.past_tests.effects import StackedTests
from pipeline.results.family import Floats


def find_root(
    function: Callable[[float], float], low: float, high: float, *, tolerance: float
) -> float:
    """Where a function that has opposite signs at the ends is 0."""
    found = optimize.root_scalar(function, bracket=(low, high), xtol=tolerance)
    return float(found.root)


def residual_covariance(one: StackedTests, slope: float, tau2: float, correlation: float) -> Floats:
    """Of the residuals."""
    cross = correlation * one.cross_noise_ECC
    v = one.lift_noise_ECC + tau2 * one.between_CC + slope**2 * one.delta_noise_ECC
    return v - slope * (cross + cross.swapaxes(1, 2))


def score_terms(one: StackedTests, slope: float, tau2: float, correlation: float) -> Floats:
    """Of every test: rᵀV⁻¹r, xᵀV⁻¹r, xᵀV⁻¹x; xᵀV⁻¹TV⁻¹x, and the traces of V⁻¹CV⁻¹T and V⁻¹T.

    T is the correlation of the true deviations, C the covariance of the changes' errors with r.
    """
    v = residual_covariance(one, slope, tau2, correlation)
    r = one.lift_EC - slope * one.delta_EC
    common = correlation * one.cross_noise_ECC - slope * one.delta_noise_ECC
    weighted = solve(v, r)
    x = one.delta_EC - _times(common, weighted)
    at_x = solve(v, x)
    terms = [(r * weighted).sum(axis=1), (x * weighted).sum(axis=1), (x * at_x).sum(axis=1)]
    if not tau2:
        return np.stack([*terms, *np.zeros((3, len(r)))], axis=1)
    between, inverse = one.between_CC, _inverse(v)
    terms += [
        (at_x * (at_x @ between)).sum(axis=1),
        np.einsum("eij,ejk,ekl,li->e", inverse, common, inverse, between, optimize=True),
        np.einsum("eij,ij->e", inverse, between),
    ]
    return np.stack(terms, axis=1)


def solve(v_ECC: Floats, r_EC: Floats) -> Floats:
    """V⁻¹ r of every test."""
    if v_ECC.shape[-1] == 1:
        return r_EC / v_ECC[:, :, 0]
    return np.asarray(np.linalg.solve(v_ECC, r_EC[:, :, None])[:, :, 0], dtype=np.float64)


def _inverse(v_ECC: Floats) -> Floats:
    return 1 / v_ECC if v_ECC.shape[-1] == 1 else np.asarray(np.linalg.inv(v_ECC), np.float64)


def _times(matrix_ECC: Floats, vector_EC: Floats) -> Floats:
    return np.einsum("eij,ej->ei", matrix_ECC, vector_EC)


def diagonal(matrix_ECC: Floats) -> Floats:
    """The variances of every test."""
    return np.diagonal(matrix_ECC, axis1=1, axis2=2)
