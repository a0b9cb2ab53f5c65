"""The regressor: each group's metric relative to a reference, with the covariance of its errors.

Within one experiment the reference shifts x, and scales it by a common factor (control) or nearly so
(logarithm); tests and coverage do not depend on it.
"""

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from pipeline.core.errors import StudyError
from pipeline.inference.hypotheses.inputs import relative_change
from pipeline.inference.sensitivity.errors_in_variables import relative_change_jacobian
from pipeline.results.family import Floats
from pipeline.study import RegressionConfig, XReference


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """x of every group.

    Attributes:
        x_G: ``M / min M - 1``, ``M / M_control - 1``, or ``log M`` less that of the control, or of
            the worst group without one; nan where a metric is not positive.
        covariance_GG: Of the errors of x; None where unknown or undefined.
        jacobian_GG: Derivative of x by the metric, which errors of the metric are multiplied by; None
            where x is undefined.
    """

    x_G: Floats
    covariance_GG: Floats | None
    jacobian_GG: Floats | None


def metric_change(
    values: Floats, covariance_GG: Floats | None, section: RegressionConfig, groups: list[str]
) -> MetricChange:
    """The regressor of a study.

    Args:
        values: The metric of each group.
        covariance_GG: Of its errors; None if unknown.
        section: Its ``x_reference`` and ``advice.control``.
        groups: Their names.

    Raises:
        StudyError: if x is relative to the control, and none is declared, or it is not a group.
    """
    at = _reference(values, section, groups)
    worst_G = relative_change(values)
    if np.isnan(worst_G).any():
        return MetricChange(x_G=worst_G, covariance_GG=None, jacobian_GG=None)
    known = covariance_GG is not None
    if section.x_reference == XReference.LOG:
        x_G = np.log(values / values[at])
        scaled_GG = covariance_GG / np.outer(values, values) if known else None
        return MetricChange(x_G=x_G, covariance_GG=scaled_GG, jacobian_GG=np.diag(1 / values))
    x_G = worst_G if section.x_reference == XReference.WORST else values / values[at] - 1
    jacobian_GG = relative_change_jacobian(values, at)
    errors_GG = jacobian_GG @ covariance_GG @ jacobian_GG.T if known else None
    return MetricChange(x_G=x_G, covariance_GG=errors_GG, jacobian_GG=jacobian_GG)


def _reference(values: Floats, section: RegressionConfig, groups: list[str]) -> int:
    control = section.advice.control
    if control is not None and control not in groups:
        msg = f"the control {control!r} is not a test group; expected one of {', '.join(groups)}"
        raise StudyError(msg)
    match section.x_reference:
        case XReference.WORST:
            return int(values.argmin())
        case XReference.CONTROL:
            if control is None:
                msg = (
                    "x_reference is control, but no control is declared; set regression.advice.control "
                    "(--control GROUP)"
                )
                raise StudyError(msg)
            return groups.index(control)
        case XReference.LOG:
            return int(values.argmin()) if control is None else groups.index(control)
        case _:
            assert_never(section.x_reference)
