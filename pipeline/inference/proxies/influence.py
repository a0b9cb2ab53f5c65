"""The line without each test: which test an answer rests on."""

import numpy as np

from pipeline.inference.past_tests.proxy_slope import ProxyModel, SlopeFit
from pipeline.inference.past_tests.residuals import score_terms
from pipeline.results.family import Floats
from pipeline.results.past_tests import LeftOutTest

_REFITS = 3
"""Tests that are left out in turn: those that move the slope most to first order, and the outlier."""

_LEAST_TESTS = 3


def most_influential(model: ProxyModel, fit: SlopeFit) -> LeftOutTest | None:
    """The test that decides the answer, else the one that moves the slope most.

    None with fewer than three tests.
    """
    if model.tests < _LEAST_TESTS:
        return None
    steps_E, deviations_E = _steps(model, fit)
    order = np.argsort(-np.abs(steps_E), kind="stable")[:_REFITS].tolist()
    # one faulty lift can hide a slope that it does not move: by its share in τ
    candidates = dict.fromkeys([*order, int(np.argmax(deviations_E))])
    found = [_without(model, index, fit) for index in candidates]

    def moves(one: LeftOutTest) -> tuple[bool, float]:
        # a test without which there is no slope moves it most of all
        step = np.inf if one.slope is None else abs(one.slope - fit.slope)
        return one.decides, step

    return max(found, key=moves)


def _steps(model: ProxyModel, fit: SlopeFit) -> tuple[Floats, Floats]:
    """What leaving out each test does to the slope, to first order; its share in Σ rᵀV⁻¹r."""
    terms = np.concatenate(
        [score_terms(one, fit.slope, fit.tau**2, model.correlation) for one in model.blocks]
    )
    toward_E, information_E = terms[:, 1], terms[:, 2]
    rest_E = information_E.sum() - information_E
    known = rest_E > 0
    return np.where(known, toward_E / np.where(known, rest_E, 1.0), np.inf), terms[:, 0]


def _without(model: ProxyModel, index: int, fit: SlopeFit) -> LeftOutTest:
    name, blocks = "", list(model.blocks)
    for number, one in enumerate(model.blocks):
        if 0 <= index < len(one.delta_EC):
            name, blocks[number] = one.tests[index], one.without(index)
        index -= len(one.delta_EC)
    rest = [one for one in blocks if len(one.delta_EC)]
    others = ProxyModel(rest, model.correlation, model.level)
    slope = others.slope_at(None, near=fit.slope)
    p_value = None if slope is None else others.p_value(0.0)
    decides = _decides(fit, slope, p_value, tests=model.tests, alpha=1 - model.level)
    return LeftOutTest(test=name, slope=slope, p_value=p_value, decides=decides)


def _decides(
    fit: SlopeFit, slope: float | None, p_value: float | None, *, tests: int, alpha: float
) -> bool:
    """Whether the answer, significance and sign, is another one without a test."""
    if slope is None or p_value is None:
        return fit.p_value < alpha
    if fit.p_value >= alpha:
        # one of many tests can nearly always be left out such that p is small
        return p_value * tests < alpha
    return p_value >= alpha or slope * fit.slope < 0
