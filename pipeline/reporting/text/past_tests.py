"""Past tests as sentences and lines of text: which metric to trust, and what it predicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.core.labels import KPI_LABELS, counted
from pipeline.reporting.text.formatting import (
    ABSENT,
    p_statement,
    p_value,
    percent,
    percent_trimmed,
)
from pipeline.reporting.text.launches import (
    duplicate_sentences,
    few_tests_sentence,
    launch_sentences,
    share,
)
from pipeline.reporting.text.reasons import undefined_words
from pipeline.results.past_tests import (
    EffectScale,
    LeftOut,
    LeftOutReason,
    PastTests,
    PredictedLift,
    Proxy,
    ProxyLine,
    SignAgreement,
)
from pipeline.results.slopes import OpenInterval

_LEFT_OUT = {
    LeftOutReason.NO_ERROR: "no standard error above 1e-15",
    LeftOutReason.NO_ESTIMATE: "no value",
    LeftOutReason.OUT_OF_RANGE: "a value beyond ±1e15, or such a standard error",
    LeftOutReason.NO_CONTROL: "no control (--control names it)",
    LeftOutReason.ONE_VARIANT: "only one variant, so nothing to compare",
    LeftOutReason.NOT_POSITIVE: (
        "a mean of 0 or less, which has no logarithm (--difference compares means by their difference)"
    ),
    LeftOutReason.ONE_USER: "fewer than two users",
}
_HEADER = ("metric", "KPI", "tests", "slope", "CI", "p", "same sign", "best", "worth", "tau")
_DIGITS = 3
_NOISY = 0.9
_NEARLY_1 = 0.99
_ROUND_OFF = 1e-14
_MOST_NAMES = 4


def effect(value: float | None, scale: EffectScale) -> str:
    """A change with three significant digits and its sign; a logarithm of a ratio as a percentage."""
    if value is None:
        return ABSENT
    if scale is EffectScale.LOG_RATIO:
        return f"{_significant(100 * math.expm1(min(value, 700.0)), sign=True)}%"
    return _significant(value, sign=True)


def effect_interval(ends: OpenInterval | None, scale: EffectScale) -> str:
    """An interval of changes; an end may be open."""
    if ends is None:
        return ABSENT
    low, high = ends
    if low is None or high is None:
        end = effect(low if high is None else high, scale)
        return "no limit" if low is high else f"{end} or {'more' if high is None else 'less'}"
    return f"{effect(low, scale)} to {effect(high, scale)}"


def slope(value: float | None) -> str:
    """A slope with three significant digits."""
    return ABSENT if value is None else _significant(value)


def slope_interval(ends: OpenInterval | None) -> str:
    """An interval of slopes; an end may be open."""
    if ends is None:
        return ABSENT
    low, high = ends
    if low is None or high is None:
        end = slope(low if high is None else high)
        return "no limit" if low is high else f"{end} or {'more' if high is None else 'less'}"
    return f"{slope(low)} to {slope(high)}"


def probability(value: float | None) -> str:
    """A probability in percent, never 0% or 100%."""
    if value is None:
        return ABSENT
    return "> 99%" if value > _NEARLY_1 else "< 1%" if value < 1 - _NEARLY_1 else percent(value, 0)


def _significant(value: float, *, sign: bool = False) -> str:
    value = value if abs(value) > _ROUND_OFF else 0.0
    text = f"{value:{'+' if sign and value else ''}.{_DIGITS}g}"
    if "e" in text:
        text = f"{value:{'+' if sign and value else ''}.{_DIGITS - 1}e}"
    return text.replace("-", "−")


def name_of(name: str) -> str:
    """The label of one of our KPIs; another name is its own label, a number with a word before it."""
    return f"metric {name}" if name.isdecimal() else KPI_LABELS.get(name, name)


def with_summary(found: PastTests) -> PastTests:
    """The analysis with its sentences."""
    return replace(found, summary=past_tests_summary(found))


def past_tests_summary(found: PastTests) -> tuple[str, ...]:
    """One sentence per KPI on the metric to trust, and those that qualify it."""
    sentences: list[str] = []
    for head, launches in zip(found.kpis, found.launches, strict=True):
        proxies = [one for one in found.proxies if one.kpi == head.kpi]
        known = [one for one in proxies if one.line]
        if not known:
            reasons = {undefined_words(one.undefined_reason) for one in proxies}
            sentences.append(
                f"{name_of(head.kpi)}: no metric has a slope ({'; '.join(sorted(reasons))})."
            )
            continue
        ranked = known[0].probability_of_best is not None
        best = known[0] if ranked else min(known, key=_p_value)
        first = [_ranking(best, known, head.tests, found), _finding(best, found)]
        # that nothing is significant comes before which metric would be the best
        sentences += first if _p_value(best) < 1 - found.level else reversed(first)
        forecast = best.forecast or _at_the_end(best)
        sentences += [_forecast(best, forecast, found)] if forecast else []
        sentences += launch_sentences(found, launches, best.metric, name_of)
        tests = best.tests if launches.undefined_reason else launches.tests
        sentences += [few_tests_sentence(tests), _one_test(best, known, found)]
        sentences += _doubts(best, found)
    sentences += duplicate_sentences(found)
    return tuple(dict.fromkeys(one for one in sentences if one))


def _ranking(best: Proxy, proxies: Sequence[Proxy], tests: int, found: PastTests) -> str:
    """Which metric the KPI follows best, if there are several."""
    kpi = name_of(best.kpi)
    if len(proxies) == 1:
        return ""
    head = f"Of {counted(len(proxies), 'metric')} on {counted(tests, 'test')}"
    if best.probability_of_best is None:
        reason = next(one.unranked_reason for one in found.kpis if one.kpi == best.kpi)
        return f"{kpi}: no metric is ranked, because {undefined_words(reason)}."
    tied = [name_of(one.metric) for one in proxies[1:] if one.tied]
    share = probability(best.probability_of_best)
    names = ", ".join(tied[:_MOST_NAMES]) + (" and others" if tied[_MOST_NAMES:] else "")
    apart = f"; it cannot be told apart from {names}" if tied else ""
    if _p_value(best) >= 1 - found.level:
        return (
            f"If {kpi} follows one of the {counted(len(proxies), 'metric')} at all, it is "
            f"{name_of(best.metric)} with a probability of {share}{apart}."
        )
    if tied:
        return f"{head}, {kpi} follows {name_of(best.metric)} best with a probability of {share}{apart}."
    return f"{head}, {kpi} follows {name_of(best.metric)} best: the probability is {share}."


def _p_value(one: Proxy) -> float:
    """Of the slope 0; 1 without a line."""
    return one.line.p_value if one.line else 1.0


def _finding(one: Proxy, found: PastTests) -> str:
    line = one.line
    assert line, "the proxies of a finding have a line"
    significant = line.p_value < 1 - found.level
    verb = "predicts" if significant else "does not significantly predict"
    text = (
        f"{name_of(one.metric)} {verb} {name_of(one.kpi)}: slope {slope(line.slope)} "
        f"({percent_trimmed(found.level)} CI {slope_interval(line.interval)}, "
        f"{p_statement(line.p_value)}) over {counted(one.tests, 'test')}"
    )
    return f"{text}{_signs(one.signs, opposite=line.slope < 0)}."


def _signs(signs: SignAgreement | None, *, opposite: bool) -> str:
    """In how many tests the signs were as the slope has it: the same, or opposite."""
    if signs is None:
        return ""
    as_slope, by_chance = signs.agreed, signs.by_chance
    if opposite:
        as_slope, by_chance = signs.tests - as_slope, 1 - by_chance
    return (
        f"; signs {'were opposite' if opposite else 'agreed'} in {as_slope} of {signs.tests} "
        f"({percent(as_slope / signs.tests, 0)}; {percent(by_chance, 0)} by chance, "
        f"{p_statement(signs.p_value)})"
    )


def _at_the_end(one: Proxy) -> PredictedLift | None:
    """The prediction for the largest past change."""
    return max(one.predictions, key=lambda at: abs(at.delta), default=None)


def _forecast(one: Proxy, at: PredictedLift, found: PastTests) -> str:
    metric, kpi = name_of(one.metric), name_of(one.kpi)
    text = (
        f"A change of {effect(at.delta, found.scale)} in {metric} predicts {effect(at.lift, found.scale)} "
        f"in {kpi}"
    )
    if at.interval is None:
        return f"{text}; a prediction interval needs three tests."
    text += (
        f" in the next test ({percent_trimmed(found.level)} prediction interval "
        f"{effect_interval(at.interval, found.scale)})"
    )
    past = [abs(point.delta) for point in one.points]
    beyond = abs(at.delta) > max(past) * (1 + 1e-9)
    return f"{text}, an extrapolation beyond the past changes." if beyond else f"{text}."


def _doubts(one: Proxy, found: PastTests) -> list[str]:
    line = one.line
    assert line, "the proxies of a finding have a line"
    doubts: list[str] = []
    metric = name_of(one.metric)
    if line.reliability is None:
        doubts.append(
            f"The errors of {metric} are not known, so its slope is pulled towards 0 by an unknown factor; "
            "add its standard errors."
        )
    elif line.reliability < _NOISY:
        doubts.append(
            f"{percent(1 - line.reliability, 0)} of the spread of {metric} is error; without correction the "
            f"slope is {slope(line.naive_slope)}."
        )
    if one.correlation_range and line.reliability is not None:
        low, high = one.correlation_range
        doubts.append(
            f"If {metric} and {name_of(one.kpi)} are measured on the same users, their errors are "
            f"correlated: the slope is significant for correlations from {slope(low)} to {slope(high)} "
            f"({slope(found.error_correlation)} is assumed)."
        )
    return doubts


def _one_test(best: Proxy, known: Sequence[Proxy], found: PastTests) -> str:
    """On which single test the answer rests; where the best metric's is not significant, of all metrics."""
    alpha = 1 - found.level
    asked = [best] if _p_value(best) < alpha else known
    resting = [(one, one.without) for one in asked if one.without and one.without.decides]
    if not resting:
        return ""
    one, without = min(resting, key=lambda pair: pair[1].p_value or 0.0)
    text = f"Without {without.test} the slope of {name_of(one.metric)} is"
    if without.p_value is None or without.p_value >= alpha:
        return f"{text} not significant."
    return (
        f"{text} significant ({slope(without.slope)}, {p_statement(without.p_value)}): the answer rests on "
        "this one test, so check its data."
    )


def left_out_sentence(one: LeftOut) -> str:
    """Why rows are not used."""
    tests = counted(one.tests, "test")
    return f"{name_of(one.name)} is left out in {tests} (such as {one.example}): {_LEFT_OUT[one.reason]}."


def past_tests_lines(found: PastTests) -> list[str]:
    """A table of metrics and KPIs, the summary, and what is left out."""
    worth = {
        (one.kpi, rule.metric): share(rule.share)
        for one in found.launches
        for rule in one.rules
        if rule.metric
    }
    rows = [_HEADER, *(_row(one, worth) for one in found.proxies)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*table, "", *found.summary, *map(left_out_sentence, found.left_out)]


def _row(one: Proxy, worth: Mapping[tuple[str, str], str]) -> tuple[str, ...]:
    line: ProxyLine | None = one.line
    signs = f"{one.signs.agreed} of {one.signs.tests}" if one.signs else ABSENT
    return (
        name_of(one.metric),
        name_of(one.kpi),
        str(one.tests),
        slope(line and line.slope),
        slope_interval(line and line.interval),
        p_value(line and line.p_value),
        signs,
        probability(one.probability_of_best),
        worth.get((one.kpi, one.metric), ABSENT),
        slope(line and line.tau),
    )
