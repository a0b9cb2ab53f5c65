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
from pipeline.reporting.text.launches import duplicate_sentences, launch_sentences, share
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
    LeftOutReason.NO_ERROR: "no standard error above 0",
    LeftOutReason.NO_ESTIMATE: "no value",
    LeftOutReason.NO_CONTROL: "no control (--control names it)",
    LeftOutReason.NOT_POSITIVE: (
        "a mean of 0 or less, which has no logarithm (--difference compares means by their difference)"
    ),
    LeftOutReason.ONE_USER: "fewer than two users",
}
_HEADER = ("metric", "KPI", "tests", "slope", "CI", "p", "sign right", "best", "worth", "tau")
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
        best = known[0]
        sentences += [_ranking(known, head.tests, found), _finding(best, found)]
        forecast = best.forecast or _at_the_end(best)
        sentences += [_forecast(best, forecast, found)] if forecast else []
        sentences += launch_sentences(found, launches, best.metric, name_of)
        sentences += _doubts(best, found)
    sentences += duplicate_sentences(found)
    return tuple(dict.fromkeys(one for one in sentences if one))


def _ranking(proxies: Sequence[Proxy], tests: int, found: PastTests) -> str:
    """Which metric the KPI follows best, if there are several."""
    best, kpi = proxies[0], name_of(proxies[0].kpi)
    if len(proxies) == 1:
        return ""
    head = f"Of {counted(len(proxies), 'metric')} on {counted(tests, 'test')}"
    if best.probability_of_best is None:
        reason = next(one.unranked_reason for one in found.kpis if one.kpi == best.kpi)
        return f"{kpi}: no metric is ranked, because {undefined_words(reason)}."
    tied = [name_of(one.metric) for one in proxies[1:] if one.tied]
    share = probability(best.probability_of_best)
    if tied:
        names = ", ".join(tied[:_MOST_NAMES]) + (" and others" if tied[_MOST_NAMES:] else "")
        return (
            f"{head}, {kpi} follows {name_of(best.metric)} best with a probability of {share}; it cannot "
            f"be told apart from {names}."
        )
    return f"{head}, {kpi} follows {name_of(best.metric)} best: the probability is {share}."


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
    return f"{text}{_signs(one.signs)}."


def _signs(signs: SignAgreement | None) -> str:
    if signs is None:
        return ""
    return (
        f"; its sign was right in {signs.agreed} of {signs.tests} ({percent(signs.share, 0)}; "
        f"{percent(signs.by_chance, 0)} by chance, {p_statement(signs.p_value)})"
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
    if one.without and line.p_value < 1 - found.level <= (one.without.p_value or 1.0):
        doubts.append(f"Without {one.without.test} the slope of {metric} is not significant.")
    if one.correlation_range and line.reliability is not None:
        low, high = one.correlation_range
        doubts.append(
            f"If {metric} and {name_of(one.kpi)} are measured on the same users, their errors are "
            f"correlated: the slope is significant for correlations from {slope(low)} to {slope(high)} "
            f"({slope(found.error_correlation)} is assumed)."
        )
    return doubts


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
