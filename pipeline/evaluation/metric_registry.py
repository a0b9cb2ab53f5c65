"""The metrics of targets that a study or a caller names: built-in, at other cutoffs, and custom ones.

A custom metric is a function like those of :mod:`pipeline.evaluation.ranking_metrics`:
:class:`Targets` in, the numerator and the denominator of every target out.
"""

from dataclasses import replace
from functools import wraps
from numbers import Integral

import numpy as np

from models.extensions import ExtensionPoint
from pipeline.core.errors import DataError, StudyError
from pipeline.evaluation.ranking_metrics import TARGET_METRICS, RatioTerms, TargetMetric, Targets
from pipeline.study import EvaluationConfig

_EXPECTED = (
    "expected two arrays, numerators and denominators, with one finite number per target; the "
    "denominators not negative"
)


def build_metrics(config: EvaluationConfig) -> dict[str, TargetMetric]:
    """The metrics of targets a study declares, by name.

    Raises:
        StudyError, ModelError: if a custom metric cannot be imported, or does not return, for three
            targets, what a metric must.
    """
    metrics = {metric.value: terms for metric, terms in TARGET_METRICS.items()}
    for k in config.extra_cutoffs:
        metrics |= {
            f"{metric}@{k}": at_cutoff(k, terms)
            for metric, terms in TARGET_METRICS.items()
            if metric.has_cutoff
        }
    for custom in config.custom_metrics:
        key = f"evaluation.custom_metrics, {custom.name}"
        metrics[custom.name] = load_metric(custom.function, key)
        metrics[custom.name](_three_targets(config.cutoff))
    return metrics


def load_metric(name: str, key: str) -> TargetMetric:
    """The custom metric that an import path or an entry point names, its terms checked.

    Raises:
        ModelError: if there is none.
    """
    built_in = [metric.value for metric in TARGET_METRICS]
    return checked(ExtensionPoint.METRICS.load(name, key=key, built_in=built_in), name, key)


def at_cutoff(k: int, terms: TargetMetric) -> TargetMetric:
    """The same metric at another cutoff."""
    return lambda targets: terms(replace(targets, k=k))


def checked(function: TargetMetric, name: str, key: str) -> TargetMetric:
    """A custom metric that raises :class:`StudyError` if its terms are not those of a ratio."""

    @wraps(function)
    def terms(targets: Targets) -> RatioTerms:
        try:
            numerator, denominator = (np.asarray(one, np.float64) for one in function(targets))
        except Exception as error:  # a custom function may raise anything
            msg = f"{key}: {name} fails ({type(error).__name__}: {error}); {_EXPECTED}"
            raise StudyError(msg) from error
        shape = targets.rank.shape
        if numerator.shape != shape or denominator.shape != shape:
            got = f"{numerator.shape} and {denominator.shape} for {shape[0]} targets"
        elif not (np.isfinite(numerator).all() and np.isfinite(denominator).all()):
            got = "a number that is not finite"
        elif (denominator < 0).any():
            got = "a negative denominator"
        else:
            return numerator, denominator
        msg = f"{key}: {name} returns {got}; {_EXPECTED}"
        raise StudyError(msg)

    return terms


def _three_targets(k: int) -> Targets:
    """A hit, a miss, and an ordered hit, of two items, to try a function on."""
    columns = {
        "session": np.array([0, 0, 1]),
        "history": np.array([1, 2, 1]),
        "item": np.array([0, 1, 1]),
        "cold": np.array([False, True, True]),
        "ordered": np.array([False, False, True]),
        "rank": np.array([1, k + 1, 1]),
        "click_loss": np.array([0.5, 3.0, 0.5]),
        "order_loss": np.array([0.5, 0.5, 0.5]),
        "uniformity": np.array([0.9, 0.6, 0.9]),
    }
    return Targets(k=k, columns=columns, item_ids=np.array(["0", "1"]))


def check_cutoff(k: object) -> None:
    """Raise :class:`DataError` if ``k`` is not an integer from 1."""
    if isinstance(k, bool) or not isinstance(k, Integral) or int(k) < 1:
        msg = f"cutoff k = {k!r}: expected an integer of 1 or more"
        raise DataError(msg)
