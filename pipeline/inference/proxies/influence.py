"""The line without each test: which test an answer rests on."""

import numpy as np

from pipeline.inference.past_tests.proxy_slope import ProxyModel, SlopeFit
from pipeline.inference.past_tests.residuals import score_terms
from pipeline.results.family import Floats
from pipeline.results.past_tests import LeftOutTest

_REFITS = 3
"""Tests that are left out in turn: those that move the slope most to first order."""

_LEAST_TESTS = 3


def most_influential(model: ProxyModel, fit: SlopeFit) -> LeftOutTest | None:
    """The test without which the slope changes most; None with fewer than three tests."""
    if model.tests < _LEAST_TESTS:
        return None
    order = np.argsort(-np.abs(_steps(model, fit)), kind="stable")[:_REFITS]
    found = [_without(model, index, fit.slope) for index in order.tolist()]
    # a test without which there is no slope moves it most of all
    return max(found, key=lambda one: np.inf if one.slope is None else abs(one.slope - fit.slope))


def _steps(model: ProxyModel, fit: SlopeFit) -> Floats:
    """What leaving out each test does to the slope, to first order."""
    terms = np.concatenate(
        [score_terms(one, fit.slope, fit.tau**2, model.correlation) for one in model.blocks]
    )
    toward_E, information_E = terms[:, 1], terms[:, 2]
    rest_E = information_E.sum() - information_E
    known = rest_E > 0
    return np.where(known, toward_E / np.where(known, rest_E, 1.0), np.inf)


def _without(model: ProxyModel, index: int, near: float) -> LeftOutTest:
    name, blocks = "", list(model.blocks)
    for number, one in enumerate(model.blocks):
        if 0 <= index < len(one.delta_EC):
            name, blocks[number] = one.tests[index], one.without(index)
        index -= len(one.delta_EC)
    rest = [one for one in blocks if len(one.delta_EC)]
    others = ProxyModel(rest, model.correlation, model.level)
    slope = others.slope_at(None, near=near)
    p_value = None if slope is None else others.p_value(0.0)
    return LeftOutTest(test=name, slope=slope, p_value=p_value)
