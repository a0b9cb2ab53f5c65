"""The slope by limited-information maximum likelihood, as over many weak experiments."""

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from pipeline.inference.meta.surrogate_slope import MeasuredGroups, group_moments
from pipeline.results.family import Floats


def liml_slope(experiments: Sequence[MeasuredGroups]) -> float | None:
    """Total least squares of contrasts in units of their errors; None where undefined.

    With the mean squares and products M of the measured contrasts and Ξ of their errors, the direction v
    in which ``vᵀ M v / vᵀ Ξ v`` is smallest is that of errors alone, and across it is the line (Bibaut,
    Chou, Ejdemyr & Kallus 2024, arXiv 2402.17637). Its deviations from the line have to have the shape of
    the errors; the slope that is reported otherwise has a τ² for them, and weighs tests by their errors.
    """
    moments = [group_moments(one) for one in experiments]
    measured_AA: Floats = np.sum([measured for measured, _ in moments], axis=0)
    noise_AA: Floats = np.sum([noise for _, noise in moments], axis=0)
    scale_A = np.sqrt(measured_AA.diagonal())
    if not scale_A.min() > 0:
        return None
    back_AA = np.outer(scale_A, scale_A)
    try:
        # the pair the other way round: a metric without errors makes Ξ singular
        shares, directions = linalg.eigh(noise_AA / back_AA, measured_AA / back_AA)
    except np.linalg.LinAlgError:
        return None
    across_A = directions[:, int(np.argmax(shares))] / scale_A
    return None if across_A[1] == 0 else float(-across_A[0] / across_A[1])
