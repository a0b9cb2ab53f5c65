"""The metrics of targets a study declares: at its cutoff, at further ones, and functions of one's own.

A function of one's own is like those of :mod:`pipeline.evaluation.ranking_metrics`: :class:`Targets` in, the
numerator and the denominator of every target out.
"""

from dataclasses import replace

import numpy as np

from models.extensions import load_extension
from models.scoring import TargetScores
from pipeline.core.errors import StudyError
from pipeline.evaluation.ranking_metrics import TARGET_METRICS, RatioTerms, TargetMetric, Targets
from pipeline.study import CustomMetric, EvaluationConfig

_EXPECTED = (
    "expected two arrays, numerators and denominators, of one finite number a target; the "
    "denominators not negative"
)


def build_metrics(section: EvaluationConfig) -> dict[str, TargetMetric]:
    """The metrics of targets a study asks for: at its cutoff, at the further ones, and its own.

    Raises:
        StudyError, ModelError: if one of its own cannot be imported, or does not give, for three
            targets, what a metric has to.
    """
    metrics = {metric.value: terms for metric, terms in TARGET_METRICS.items()}
    for k in section.extra_cutoffs:
        metrics |= {
            f"{metric}@{k}": _at(k, terms)
            for metric, terms in TARGET_METRICS.items()
            if metric.has_cutoff
        }
    metrics |= {own.name: _checked(own) for own in section.custom_metrics}
    for own in section.custom_metrics:
        metrics[own.name](_three_targets(section.cutoff))
    return metrics


def _at(k: int, terms: TargetMetric) -> TargetMetric:
    return lambda targets: terms(replace(targets, k=k))


def _checked(own: CustomMetric) -> TargetMetric:
    """One's own metric, whose terms are looked at whenever it is called."""
    key = f"evaluation.custom_metrics, {own.name}"
    function = load_extension(own.function, key)

    def terms(targets: Targets) -> RatioTerms:
        try:
            numerator, denominator = (np.asarray(one, np.float64) for one in function(targets))
        except Exception as error:  # a function of one's own may raise anything
            msg = f"{key}: {own.function} fails ({type(error).__name__}: {error}); {_EXPECTED}"
            raise StudyError(msg) from error
        shape = targets.scores.rank.shape
        if numerator.shape != shape or denominator.shape != shape:
            got = f"{numerator.shape} and {denominator.shape} for {shape[0]} targets"
        elif not (np.isfinite(numerator).all() and np.isfinite(denominator).all()):
            got = "a number that is not finite"
        elif (denominator < 0).any():
            got = "a negative denominator"
        else:
            return numerator, denominator
        msg = f"{key}: {own.function} gives {got}; {_EXPECTED}"
        raise StudyError(msg)

    return terms


def _three_targets(k: int) -> Targets:
    """A hit, a miss, and an ordered hit, of two items, to try a function on."""
    scores = TargetScores(
        session=np.array([0, 0, 1]),
        history=np.array([1, 2, 1]),
        item=np.array([0, 1, 1]),
        ordered=np.array([False, False, True]),
        rank=np.array([1, k + 1, 1]),
        click_loss=np.array([0.5, 3.0, 0.5]),
        order_loss=np.array([0.5, 0.5, 0.5]),
    )
    return Targets(scores, k, np.array([False, True]), np.array(["0", "1"]))
