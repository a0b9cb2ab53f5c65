"""Hypotheses whose metrics are one direction of the front, so that they are one result."""

from collections.abc import Sequence

import numpy as np

from pipeline.inference.ranking.metric_comparison import ONE_DIRECTION, correlations, varies
from pipeline.results.decisions import SharedDirection
from pipeline.results.family import Floats
from pipeline.results.hypothesis import HypothesisResult


def shared_directions(results: Sequence[HypothesisResult]) -> tuple[SharedDirection, ...]:
    """The sets of hypotheses on different metrics that all correlate by 0.95 or more over the groups.

    A hypothesis joins the first set with all of whose metrics its own correlates that much.
    """
    sets: list[list[HypothesisResult]] = []
    for result in results:
        if not varies(_values(result)):
            continue
        fitting = (one for one in sets if _least_correlation([*one, result]) >= ONE_DIRECTION)
        found = next(fitting, None)
        if found is None:
            sets.append([result])
        else:
            found.append(result)
    return tuple(
        SharedDirection(
            hypotheses=tuple(one.id for one in members),
            metrics=tuple(dict.fromkeys(one.metric for one in members)),
            least_correlation=_least_correlation(members),
        )
        for members in sets
        if len({one.metric for one in members}) > 1
    )


def _values(result: HypothesisResult) -> Floats:
    values = [np.nan if one.metric_value is None else one.metric_value for one in result.points]
    return np.array(values, dtype=np.float64)


def _least_correlation(members: Sequence[HypothesisResult]) -> float:
    """The smallest correlation, without its sign, of any two of the members' metrics."""
    found = correlations(np.stack([_values(one) for one in members], axis=-1))
    return float(np.abs(found).min())
