"""How far a slope hangs on one group, on the shape of the line, and on which group has which x."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from pipeline.inference.glm.batched_newton import fit_batch, log_likelihood
from pipeline.inference.glm.group_regression import (
    GroupSums,
    LineFit,
    build_glm,
    clustered_covariance,
    fit_glm,
    fit_line,
)
from pipeline.inference.glm.wald import SlopeTest, wald_test
from pipeline.results.family import Floats

_ALL_PERMUTATIONS_UP_TO = 7
_RANDOM_PERMUTATIONS = 9_999
_SAME = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Permutation:
    """Whether the KPI follows x more closely than it would any other order of the same x.

    Attributes:
        p_value: Share of the permutations of x over the groups whose line fits as well or better.
        permutations: How many there are, the true one included.
        exact: Whether those are all of them.
    """

    p_value: float
    permutations: int
    exact: bool


def permutation_test(x: Floats, sums: GroupSums, *, seed: int) -> Permutation:
    """Test by likelihood over all permutations of x, or over random ones of more than seven groups.

    With g groups no p-value can be below 1/g!, whatever the number of users.
    """
    exact = len(x) <= _ALL_PERMUTATIONS_UP_TO
    if exact:
        orders = np.array(list(permutations(range(len(x)))))
    else:
        rng = np.random.default_rng([seed, len(x)])
        drawn = rng.permuted(np.tile(np.arange(len(x)), (_RANDOM_PERMUTATIONS, 1)), axis=1)
        orders = np.concatenate([np.arange(len(x))[None], drawn])
    x_KG = x[orders]
    likelihood = log_likelihood(x_KG, sums, *fit_batch(x_KG, sums))
    # What cannot be fitted separates successes from failures: it fits as well as can be.
    as_good = ~(likelihood < likelihood[0] - _SAME * abs(likelihood[0]))
    return Permutation(p_value=float(as_good.mean()), permutations=len(orders), exact=exact)


def curvature(x: Floats, sums: GroupSums, *, level: float) -> SlopeTest | None:
    """The coefficient of x² beside that of x, users clustered; None with fewer than three x's.

    Away from 0, the KPI does not follow x along a line.
    """
    if len(np.unique(x)) < 3:
        return None
    scaled = x / np.ptp(x)
    design = np.column_stack([np.ones_like(x), scaled, scaled**2])
    fit = fit_glm(build_glm(sums.family, design, sums.trials, sums.successes))
    rate = sums.family.mean(design @ fit.params)
    error = float(np.sqrt(clustered_covariance(design, rate, sums)[2, 2]))
    unit = np.ptp(x) ** 2
    return wald_test(
        float(fit.params[2]) / unit, error / unit, covariance="user-clustered", level=level
    )


def leave_one_out(x: Floats, sums: GroupSums, *, level: float) -> list[LineFit | None]:
    """The fit without each group; None where the others do not define one."""
    fits: list[LineFit | None] = []
    for left_out in range(len(x)):
        kept = np.arange(len(x)) != left_out
        found = fit_line(x[kept], sums.of(kept), level=level)
        fits.append(found if isinstance(found, LineFit) else None)
    return fits
