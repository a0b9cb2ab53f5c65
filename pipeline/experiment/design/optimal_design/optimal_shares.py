"""The traffic shares with the most information for groups that are chosen already."""

from dataclasses import replace

import numpy as np
from scipy import optimize

from pipeline.experiment.design.optimal_design.criterion import DesignCriterion
from pipeline.experiment.design.optimal_design.exchange import Floats, Ints

LEAST_SHARE = 0.5
"""Of an equal share: a group with less says little of its own KPIs."""

_PRECISION = 0.01
"""Shares are whole percents."""


def optimal_shares(criterion: DesignCriterion, design_G: Ints, *, floor: float) -> Floats:
    """The shares with the largest product of efficiencies, in whole percents; they sum to 1.

    The curvature efficiency stays at least that of the floor, or of equal shares where those miss it.

    Args:
        criterion: With the shares that are to be improved.
        design_G: The chosen candidates.
        floor: See :meth:`DesignCriterion.score`.
    """
    groups, designs = len(design_G), design_G[None]

    def loss(weights_G: Floats) -> float:
        return -float(replace(criterion, weights_G=weights_G).log_slope_efficiency(designs)[0])

    def excess(weights_G: Floats) -> float:
        found = replace(criterion, weights_G=weights_G).curvature_efficiency(designs)[0]
        return float(found) - least

    constraints = [{"type": "eq", "fun": lambda weights_G: weights_G.sum() - 1}]
    if criterion.has_curvature and floor:
        least = min(floor * criterion.attainable, float(criterion.curvature_efficiency(designs)[0]))
        constraints.append({"type": "ineq", "fun": excess})
    found = optimize.minimize(
        loss,
        np.full(groups, 1 / groups),
        bounds=[(LEAST_SHARE / groups, 1.0)] * groups,
        constraints=constraints,
        method="SLSQP",
    )
    shares_G = _rounded(found.x)
    better = found.success and loss(shares_G) < loss(criterion.weights_G)
    return shares_G if better else criterion.weights_G


def _rounded(shares_G: Floats) -> Floats:
    """Whole percents that sum to 1: the largest remainders are rounded up."""
    steps_G = shares_G / shares_G.sum() / _PRECISION
    whole_G = np.floor(steps_G)
    missing = round(1 / _PRECISION) - int(whole_G.sum())
    whole_G[np.argsort(whole_G - steps_G, kind="stable")[:missing]] += 1
    return whole_G * _PRECISION
