"""The own regression is statsmodels'."""

import warnings

import numpy as np
import pytest
from statsmodels.genmod.families import Binomial, Poisson
from statsmodels.genmod.generalized_linear_model import GLM

from pipeline.inference.glm.maximum_likelihood import fit_glm
from pipeline.results.family import Family


@pytest.mark.parametrize("family", Family)
def test_a_fit_is_that_of_statsmodels(family):
    """Of few and of many successes, of lines, parabolas and strata, and where a fit diverges.

    On some processors the last digit of an exponential depends on the library.
    """
    rng = np.random.default_rng(0)
    raised = 0
    for _ in range(150):
        design, trials, successes = _drawn(rng)
        try:
            ours = fit_glm(family, design, trials, successes)
        except ValueError:
            raised += 1
            with pytest.raises(ValueError, match=r"nan|NaN"):
                _statsmodels(family, design, trials, successes)
            continue
        theirs = _statsmodels(family, design, trials, successes)
        assert np.all(np.abs(ours.params - theirs.params) <= 1e-9 * theirs.bse)
        np.testing.assert_allclose(ours.errors, theirs.bse, rtol=1e-7)
        np.testing.assert_allclose(ours.pearson_chi2, theirs.pearson_chi2, rtol=1e-6)
    assert raised < 15


def _drawn(rng):
    groups, strata = rng.integers(3, 12), rng.integers(1, 4)
    x = np.repeat(rng.normal(size=groups) * 10.0 ** rng.integers(-2, 2), strata)
    columns = [x, x**2][: rng.integers(1, 3)]
    design = np.column_stack([np.tile(np.eye(strata), (groups, 1)), *columns])
    trials = rng.integers(1, 10 ** rng.integers(1, 7), len(x)).astype(float)
    rate = rng.beta(1, rng.choice([1, 20, 500]), len(x))
    return design, trials, rng.binomial(trials.astype(int), rate).astype(float)


def _statsmodels(family, design, trials, successes):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        model = (
            GLM(np.column_stack([successes, trials - successes]), design, Binomial())
            if family is Family.BINOMIAL
            else GLM(successes, design, Poisson(), offset=np.log(trials))
        )
        fit = model.fit(tol=1e-10, tol_criterion="params", maxiter=100)
        _ = fit.pearson_chi2  # computed when first read
        return fit
