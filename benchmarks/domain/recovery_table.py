"""Estimators by their Recovery, as a table."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.counterfactual.experiment.recovery import summarise_recovery
from pipeline.results.counterfactual import PolicyLift
from pipeline.results.family import Floats

HEADER = "mean Recovery | |Recovery − 1| | CV | rank agreement"


def header(*first: str) -> list[str]:
    """The head of a table whose first columns have these names."""
    columns = [*first, *(one.replace("|", "\\|") for one in HEADER.split(" | "))]
    return [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]


def numbers_of(lifts: Sequence[PolicyLift]) -> Floats:
    """Mean Recovery, distance from 1, CV by absolute deviation and rank correlation."""
    found = summarise_recovery(lifts)
    rank = np.nan if found.rank_correlation is None else found.rank_correlation
    return np.array([found.mean, found.mean_distance, abs(found.cv_absolute), rank])


def rows(first: str, found: Mapping[str, Floats]) -> list[str]:
    """A row per estimator."""
    return [
        f"| {first} | {name} | {mean:.3f} | {distance:.4f} | {cv:.4f} | {rank:.2f} |"
        for name, (mean, distance, cv, rank) in found.items()
    ]
