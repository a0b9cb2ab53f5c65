"""A comparison in sentences that claim no more than its numbers do."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.labels import KPI_LABELS
from pipeline.results.reasons import Contrast

_SAID = {
    Contrast.DIFFERENT: "the slopes differ beyond chance",
    Contrast.SUGGESTIVE: (
        "the slopes differ by more than the chance of having so many users, but so few groups could "
        "lie so by chance"
    ),
    Contrast.INCONCLUSIVE: "a difference is not shown; that they are the same is not shown either",
}


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What the first screen of a comparison says."""
    words = [_front(found["fronts"])] if found["fronts"] else []
    for one in found["hypotheses"]:
        words += [_difference(one, difference) for difference in one["differences"]]
        words += [_alone(one)] if not one["differences"] else []
    return words


def _front(fronts: Mapping[str, Any]) -> str:
    volumes = {one["study"]: one["hypervolume"] for one in fronts["studies"]}
    told = ", ".join(f"{volume:.5f} in {study}" for study, volume in volumes.items())
    if fronts["not_comparable_because"]:
        return (
            f"The fronts' hypervolumes ({told}) cannot be compared: "
            f"{fronts['not_comparable_because']}."
        )
    largest = fronts["largest"]
    if len(set(volumes.values())) == 1:
        return f"The fronts have the same hypervolume ({told})."
    behind = [
        f"{entry['points']} of {one['undominated']} points of {one['study']} lie behind it"
        for one in fronts["studies"]
        for entry in one["behind"]
        if entry["study"] == largest
    ]
    return (
        f"The front of {largest} has the largest hypervolume ({told}); {' and '.join(behind)}. How "
        "much of that is chance the reports do not tell."
    )


def _difference(one: Mapping[str, Any], difference: Mapping[str, Any]) -> str:
    slopes = {row["study"]: row for row in one["studies"]}
    first, second = difference["studies"]
    test = difference["test"]
    low, high = test["interval"]
    said = _SAID[Contrast(difference["contrast"])]
    if not difference["independent"]:
        said = f"if the studies are independent, {said}"
    return (
        f"{_pair(one)}: slope {_slope(slopes[first])} in {first} and {_slope(slopes[second])} in "
        f"{second}; the second is {abs(test['slope']):.3f} "
        f"{'higher' if test['slope'] >= 0 else 'lower'} ({100 * test['level']:g} % interval of the "
        f"difference: {low:+.3f} to {high:+.3f}; p = {_p(difference['holm_p_value'])} with Holm's "
        f"correction). {said[0].upper()}{said[1:]}."
    )


def _alone(one: Mapping[str, Any]) -> str:
    told: Sequence[str] = [
        f"{row['study']}: {row['not_compared_because'] or _slope(row)}" for row in one["studies"]
    ]
    absent = [f"{study}: not asked" for study in one["not_asked"]]
    return f"{_pair(one)}: no two studies have slopes to compare ({'; '.join([*told, *absent])})."


def _pair(one: Mapping[str, Any]) -> str:
    return f"{one['metric']} and {KPI_LABELS.get(one['kpi'], one['kpi'])}"


def _slope(row: Mapping[str, Any]) -> str:
    if row["interval"] is None:
        return f"{row['slope']:.3f}"
    low, high = row["interval"]
    return f"{row['slope']:.3f} ({low:.3f} to {high:.3f})"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 1e-4 else "less than 0.0001"
