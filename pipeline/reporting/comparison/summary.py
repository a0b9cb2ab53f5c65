"""The findings of a comparison as sentences."""

from pipeline.reporting.comparison.front_comparison import FrontComparison
from pipeline.reporting.comparison.slope_comparison import (
    ComparedHypothesis,
    StudyDifference,
    StudySlope,
)
from pipeline.reporting.text.formatting import (
    interval,
    kpi,
    number,
    p_statement,
    percent_trimmed,
    signed,
)
from pipeline.reporting.text.reasons import exclusion_words
from pipeline.results.reasons import Contrast

_CONTRASTS = {
    Contrast.DIFFERENT: "the slopes differ significantly",
    Contrast.SUGGESTIVE: "the slopes differ significantly, but not with so few groups",
    Contrast.INCONCLUSIVE: "the difference is inconclusive, which does not show that they are equal",
}


def summary_sentences(
    fronts: FrontComparison | None, hypotheses: list[ComparedHypothesis]
) -> list[str]:
    """One sentence on the fronts, and one per difference of slopes."""
    sentences = [_fronts(fronts)] if fronts else []
    for one in hypotheses:
        sentences += [_difference(one, difference) for difference in one.differences]
        sentences += [] if one.differences else [_without_difference(one)]
    return sentences


def _fronts(fronts: FrontComparison) -> str:
    volumes = ", ".join(f"{number(one.hypervolume, 5)} in {one.study}" for one in fronts.studies)
    if fronts.not_comparable_because:
        return f"The hypervolumes ({volumes}) cannot be compared: {fronts.not_comparable_because}."
    if len({one.hypervolume for one in fronts.studies}) == 1:
        return f"The fronts have the same hypervolume ({volumes})."
    dominated = " and ".join(
        f"{entry.points} of {one.non_dominated} points of {one.study}"
        for one in fronts.studies
        for entry in one.dominated_by
        if entry.study == fronts.largest
    )
    return (
        f"The front of {fronts.largest} has the largest hypervolume ({volumes}) and dominates "
        f"{dominated}. The reports contain no standard error of the hypervolume."
    )


def _difference(one: ComparedHypothesis, difference: StudyDifference) -> str:
    slopes = {row.study: _slope(row) for row in one.studies}
    first, second = difference.studies
    test = difference.test
    low, high = test.interval
    finding = _CONTRASTS[difference.contrast]
    if not difference.independent:
        finding = f"if the studies are independent, {finding}"
    return (
        f"{_pair(one)}: slope {slopes[first]} in {first} and {slopes[second]} in {second}; the "
        f"second is {abs(test.slope):.3f} {'higher' if test.slope >= 0 else 'lower'} "
        f"({percent_trimmed(test.level)} CI of the difference {signed(low, 3)} to {signed(high, 3)}; "
        f"{p_statement(difference.holm_p_value)} with Holm correction). "
        f"{finding[0].upper()}{finding[1:]}."
    )


def _without_difference(one: ComparedHypothesis) -> str:
    found = [f"{row.study}: {_slope(row)}" for row in one.studies]
    absent = [f"{study}: not tested" for study in one.not_tested]
    return f"{_pair(one)}: no two studies have comparable slopes ({'; '.join([*found, *absent])})."


def _pair(one: ComparedHypothesis) -> str:
    return f"{one.metric} and {kpi(one.kpi)}"


def _slope(row: StudySlope) -> str:
    if row.exclusion_reason:
        return exclusion_words(row.exclusion_reason, row.undefined_reason)
    slope = number(row.slope, 3)
    return f"{slope} ({interval(row.test.interval)})" if row.test else slope
