"""One sentence per hypothesis, which claims no more than its intervals."""

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.reporting.text.confounding import rivals_sentence
from pipeline.reporting.text.formatting import (
    approximate,
    digits_for,
    effect_digits,
    interval,
    number,
    p_statement,
    percent_trimmed,
    signed,
)
from pipeline.reporting.text.reasons import VERDICTS, undefined_words
from pipeline.results.decisions import RankedMetric
from pipeline.results.headline import FEWEST_SUCCESSES, Headline
from pipeline.results.hypothesis import Elasticity, HypothesisResult
from pipeline.results.reasons import Reading, Target, UndefinedReason, Verdict

_TWO_GROUPS = (
    "The slope is undefined with 2 groups: they do not show how far groups deviate from a line."
)
_WIDEST = 100.0
"""Percent of a KPI per 1% of a metric; beyond, an interval says nothing in percent."""
_MORE_GROUPS = "More groups would resolve it, more users would not."


def answer_sentence(result: HypothesisResult, cutoff: int | None) -> str:
    """The result of one hypothesis, and the metrics that it cannot be told apart from.

    Args:
        result: The result.
        cutoff: The k of metrics whose name has none.
    """
    confounded = rivals_sentence(result.metric, result.rivals, result.groups, cutoff)
    return " ".join(filter(None, [_result(result, cutoff), confounded]))


def exploratory_sentence(found: RankedMetric, cutoff: int | None) -> str:
    """The slope of a metric and KPI that no hypothesis declares."""
    names = f"{metric_label(found.metric, cutoff)} and {KPI_LABELS[found.kpi]}"
    if found.slope is None:
        return f"Exploratory, not declared: {names}, {undefined_words(found.undefined_reason)}."
    ends = f", CI {interval(found.interval)}" if found.interval else ""
    tested = "" if found.p_value is None else f", {p_statement(found.p_value)}"
    return f"Exploratory, not declared: {names}, slope {number(found.slope)}{ends}{tested}."


def _result(result: HypothesisResult, cutoff: int | None) -> str:
    """The result of one hypothesis in one or two sentences."""
    metric, kpi = metric_label(result.metric, cutoff), KPI_LABELS[result.kpi]
    named = f"({result.id}, {VERDICTS[result.verdict].partition(':')[0]})"
    found = result.headline
    if result.verdict is Verdict.BLOCKED:
        return (
            f"{metric} and {kpi} {named}: the sample ratio does not match the plan, or outcomes "
            "are lost (see the diagnostics), so nothing is concluded."
        )
    if found is None or result.elasticity is None or result.verdict is Verdict.UNDEFINED:
        return f"{metric} and {kpi} {named}: {_undefined(result, found)}."
    if found.conflicting:
        return (
            f"{metric} and {kpi} {named}: the slope is significant in opposite directions on "
            "different days, so nothing is concluded."
        )
    inconclusive = result.verdict is Verdict.INCONCLUSIVE
    claim = (
        f"It is inconclusive whether {metric} predicts {kpi}"
        if inconclusive
        else _claim(result, metric, kpi)
    )
    if found.target is Target.THESE_GROUPS:
        return f"{claim} {named}: {_lift(result, found, metric)}"
    if inconclusive:
        return f"{claim} {named}: {_inconclusive(result, found, result.elasticity, metric)}"
    return f"{claim} {named}: {_effect(result, found, result.elasticity, metric)}{_doubt(result, found)}"


def _undefined(result: HypothesisResult, found: Headline | None) -> str:
    """Why nothing is said of a slope, with the counts that are too few."""
    reason = result.undefined_reason or (found and found.undefined_reason)
    successes = sum(point.successes for point in result.points)
    term = TERMS[result.response][1]
    if reason is UndefinedReason.FEW_SUCCESSES and result.response.is_binary:
        counted = term.removesuffix("s") if successes == 1 else term
        return f"only {successes} {counted} in all groups; a CI requires {FEWEST_SUCCESSES}"
    if reason is UndefinedReason.FEW_FAILURES:
        trials = TERMS[result.response][0]
        return (
            f"only {result.n - successes} {trials} without {term} in all groups; a CI requires "
            f"{FEWEST_SUCCESSES}"
        )
    words = undefined_words(reason)
    if found is None or found.p_value is None:
        return words
    return f"{words} ({p_statement(found.p_value)} against 0)"


def _claim(result: HypothesisResult, metric: str, kpi: str) -> str:
    """The claim of a verdict."""
    negative = result.direction == "negative"
    declared, other = ("lower", "higher") if negative else ("higher", "lower")
    lower = "lower " if negative else ""
    match result.verdict:
        case Verdict.SUGGESTIVE:
            return f"{metric} may predict {lower}{kpi}"
        case Verdict.SUGGESTIVE_OPPOSITE:
            return f"{metric} may predict {other} {kpi}, not {declared}, as declared"
        case Verdict.CONTRADICTED:
            return f"{metric} does not predict {declared} {kpi}, as declared"
        case _:
            return f"{metric} predicts {lower}{kpi}"


def _lift(result: HypothesisResult, found: Headline, metric: str) -> str:
    """The change of the KPI between two groups, which has no interval of a slope."""
    low, high = sorted(result.points, key=lambda one: one.x or 0.0)
    if not low.rate or high.rate is None:
        return _TWO_GROUPS
    change = high.rate / low.rate - 1
    more = number(100 * (high.metric_value or 0.0) / (low.metric_value or 1.0) - 100, 1)
    tested = (
        "" if found.p_value is None else f" ({p_statement(found.p_value)}, for the users alone)"
    )
    return (
        f"{high.group} has {more}% higher {metric} than {low.group}, and {abs(100 * change):.1f}% "
        f"{'lower' if change < 0 else 'higher'} {KPI_LABELS[result.response]}{tested}. {_TWO_GROUPS}"
    )


def _effect(result: HypothesisResult, found: Headline, size: Elasticity, metric: str) -> str:
    """The change associated with a 1% higher metric, with the interval of the verdict."""
    up = size.estimate > 0
    digits, (low, high) = effect_digits(size), size.interval
    if not up:
        low, high = None if high is None else -high, None if low is None else -low
    return (
        f"1% higher {metric} is associated with {abs(size.estimate):.{digits}f}% "
        f"{'higher' if up else 'lower'} {KPI_LABELS[result.response]} ({_interval(found)} "
        f"{_ends(low, high, digits)}{_target(found)})"
    )


def _ends(low: float | None, high: float | None, digits: int, *, sign: bool = False) -> str:
    """An interval in percent; an end may be open."""

    def end(value: float) -> str:
        return f"{signed(value, digits) if sign else number(value, digits)}%"

    if low is None and high is None:
        return "without a limit"
    if high is None:
        return f"from {end(low or 0.0)}, without an upper limit"
    return (
        f"up to {end(high)}, without a lower limit" if low is None else f"{end(low)} to {end(high)}"
    )


def _interval(found: Headline) -> str:
    anytime = found.reading in {Reading.EARLY_LOOK, Reading.LATE_LOOK}
    return f"{'anytime-valid ' if anytime else ''}{percent_trimmed(found.level)} CI"


def _target(found: Headline) -> str:
    return f", for {found.target.value}"


def _doubt(result: HypothesisResult, found: Headline) -> str:
    """Why a suggestive slope is only that; a full stop for a significant one."""
    if result.verdict not in {Verdict.SUGGESTIVE, Verdict.SUGGESTIVE_OPPOSITE}:
        return "."
    chance = f", but this could be chance ({p_statement(found.p_value or 0.0)})."
    return f"{chance} {_MORE_GROUPS}" if _groups_scatter(found) else chance


def _groups_scatter(found: Headline) -> bool:
    """Whether the users alone would make the slope significant, but for the groups' deviations."""
    if not found.tau:
        return False
    low, high = found.users_interval or (None, None)
    return (low is not None and low > 0) or (high is not None and high < 0)


def _inconclusive(result: HypothesisResult, found: Headline, size: Elasticity, metric: str) -> str:
    digits, (low, high) = effect_digits(size), size.interval
    if low is None and high is None:
        return f"the {_interval(found)} of the slope has no limit, so it rules out nothing."
    if max(abs(low or 0.0), abs(high or 0.0)) > _WIDEST:
        return (
            f"the {_interval(found)} of the slope, {interval(found.interval)}, rules out no change of "
            f"{KPI_LABELS[result.response]}."
        )
    words = (
        f"1% higher {metric} is associated with a change of {_ends(low, high, digits, sign=True)} in "
        f"{KPI_LABELS[result.response]} ({_interval(found)}{_target(found)}; estimate "
        f"{signed(size.estimate, digits)}%)."
    )
    if _groups_scatter(found):
        words = (
            f"{words} The users of these groups differ, but the groups deviate from the line as much: "
            "other preferences may show nothing."
        )
    if result.required_trials is None:
        return f"{words} {_MORE_GROUPS}" if _groups_scatter(found) else words
    detectable = abs(size.minimum_detectable)
    return (
        f"{words} An effect of the estimated size requires about "
        f"{approximate(result.required_trials)} {TERMS[result.response][0]} for 80% power; there "
        f"were {approximate(result.n)}, enough to detect "
        f"{detectable:.{digits_for(0.0, 2 * detectable)}f}% with 80% power."
    )
