"""The few words of the first screen: chips, short reasons and the headline."""

from collections.abc import Sequence

from pipeline.core.labels import metric_label
from pipeline.reporting.first_screen.axis import Tone
from pipeline.reporting.text.confounding import joined
from pipeline.results.decisions import Advice
from pipeline.results.diagnostics import BLOCKING, Diagnostics
from pipeline.results.document import Report
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Action, AdviceReason, UndefinedReason, Verdict

SHORT_KPIS = {
    "ctr": "CTR",
    "cvr": "CVR",
    "orders_per_impression": "orders/impression",
    "units_per_impression": "units/impression",
    "revenue_per_impression": "revenue/impression",
    "clicks_per_user": "clicks/user",
    "orders_per_user": "orders/user",
    "units_per_user": "units/user",
    "revenue_per_user": "revenue/user",
}

CHIPS = {
    Verdict.CONFIRMED: (Tone.YES, "confirmed"),
    Verdict.SUGGESTIVE: (Tone.MAYBE, "suggestive"),
    Verdict.SUGGESTIVE_OPPOSITE: (Tone.MAYBE, "opposite?"),
    Verdict.CONTRADICTED: (Tone.NO, "opposite"),
    Verdict.INCONCLUSIVE: (Tone.OPEN, "inconclusive"),
    Verdict.BLOCKED: (Tone.NO, "blocked"),
    Verdict.UNDEFINED: (Tone.OPEN, "undefined"),
}
"""The tone and the word of a verdict; :data:`pipeline.reporting.text.reasons.VERDICTS` explains it."""

SHORT_UNDEFINED = {
    UndefinedReason.TWO_GROUPS: "slope undefined with 2 groups",
    UndefinedReason.FEW_SUCCESSES: "too few events",
    UndefinedReason.FEW_FAILURES: "too few failures",
    UndefinedReason.USER_SUMS_UNKNOWN: "no user sums",
    UndefinedReason.NEGATIVE_AMOUNT: "negative amount",
    UndefinedReason.EXACT_LINE: "groups exactly linear",
    UndefinedReason.METRIC_NOT_POSITIVE: "metric not positive",
    UndefinedReason.METRIC_CONSTANT: "metric constant",
    UndefinedReason.METRIC_WITHIN_NOISE: "metric within noise",
    UndefinedReason.NO_TRIALS: "no trials",
    UndefinedReason.NO_SUCCESSES: "no events",
    UndefinedReason.NO_FAILURES: "every trial succeeded",
    UndefinedReason.SEPARATION: "no finite slope",
    UndefinedReason.SUCCESSES_AT_ONE_END: "no finite slope",
    UndefinedReason.IDENTICAL_USERS: "identical users",
    UndefinedReason.RATES_0_OR_1: "rates 0 or 1",
}
"""Why a slope is undefined, in a few words."""

SHORT_REASONS = {
    AdviceReason.BETTER: "",
    AdviceReason.WITHIN_MARGIN: "any, no difference",
    AdviceReason.NOT_SIGNIFICANT: "inconclusive",
    AdviceReason.CONTROL_LEADS: "control leads",
    AdviceReason.FEW_USERS: "few users",
    AdviceReason.FEW_EVENTS: "few events",
    AdviceReason.BEFORE_PLANNED_END: "keep, wait",
    AdviceReason.SAMPLE_RATIO: "blocked",
    AdviceReason.USERS_UNKNOWN: "users unknown",
    AdviceReason.NO_COUNTS: "not counted",
    AdviceReason.NO_TRIALS: "no trials",
    AdviceReason.NOT_POSITIVE: "no revenue",
}
"""Why no group is to ship, in a few words."""

_MOST_METRICS = 2
_MOST_KPIS = 3
"""Metrics, and KPIs, that a headline names."""

_ALERTS = {
    "sample_ratio": "sample ratio mismatch (SRM)",
    "lost_outcomes": "lost outcomes",
}


def short_kpi(kpi: str) -> str:
    """The short name of a KPI; an unknown name is its own short name."""
    return SHORT_KPIS.get(kpi, kpi)


def alert(diagnostics: Diagnostics) -> str:
    """The failed checks that block verdicts; empty without one."""
    failed = [name for name in diagnostics.failed if name in BLOCKING]
    return joined([_ALERTS[name] for name in failed]) if failed else ""


def headline(report: Report) -> str:
    """The answer of the report in one line, which claims no more than its verdicts."""
    found = report.hypotheses
    if not report.diagnostics.allow_verdicts or any(
        one.verdict is Verdict.BLOCKED for one in found
    ):
        return "No verdict: the experiment is invalid"
    if report.advice and (not found or (report.totals and report.totals.groups == 2)):
        return _better_groups(report.advice)
    if not found:
        return "No hypothesis declared: exploratory only"
    for verdicts in (
        (Verdict.CONFIRMED, Verdict.CONTRADICTED),
        (Verdict.SUGGESTIVE, Verdict.SUGGESTIVE_OPPOSITE),
    ):
        if some := [one for one in found if one.verdict in verdicts]:
            return _claims(some, len(found), report.cutoff)
    if all(one.verdict is Verdict.UNDEFINED for one in found):
        return "No verdict: the slopes are undefined"
    return "No metric is confirmed: inconclusive"


def _claims(found: Sequence[HypothesisResult], declared: int, cutoff: int | None) -> str:
    """The claims of the hypotheses with an answer; of many or of rival metrics, their number."""
    metrics = list(dict.fromkeys(one.metric for one in found))
    if len(found) == 1 or (len(metrics) <= _MOST_METRICS and not any(one.rivals for one in found)):
        return "; ".join(
            _claim([one for one in found if one.metric == metric], cutoff) for metric in metrics
        )
    counts = {
        word: sum(one.verdict is verdict for one in found) for verdict, (_, word) in CHIPS.items()
    }
    (first, *others) = [(word, number) for word, number in counts.items() if number]
    if not others:
        return f"{first[1]} of {declared} hypotheses {first[0]}"
    parts = [f"{number} {word}" for word, number in (first, *others)]
    return f"{joined(parts)}, of {declared} hypotheses"


def _claim(found: Sequence[HypothesisResult], cutoff: int | None) -> str:
    """What the hypotheses on one metric say of it, with how many it cannot be told apart from."""
    metric, rivals = metric_label(found[0].metric, cutoff), len(found[0].rivals)
    if rivals:
        metric = f"{metric} (or {'its rival' if rivals == 1 else f'one of {rivals} rivals'})"
    sure = found[0].verdict in {Verdict.CONFIRMED, Verdict.CONTRADICTED}
    return (
        f"{metric} {'predicts' if sure else 'may predict'} {joined([_moved(one) for one in found])}"
    )


def _moved(one: HypothesisResult) -> str:
    """The KPI of a hypothesis, with its direction where that is not plainly more."""
    kpi = short_kpi(one.kpi)
    negative = one.direction == "negative"
    if one.verdict in {Verdict.CONTRADICTED, Verdict.SUGGESTIVE_OPPOSITE}:
        return f"{'higher' if negative else 'lower'} {kpi}, against the declaration"
    return f"lower {kpi}" if negative else kpi


def _better_groups(advice: Sequence[Advice]) -> str:
    """Which groups are better, and on which KPIs."""
    won: dict[tuple[str | None, str | None], list[str]] = {}
    for one in advice:
        if one.action is Action.SHIP:
            won.setdefault((one.group, one.baseline), []).append(short_kpi(one.kpi))
    if not won and any(one.action is Action.UNDEFINED for one in advice):
        return "No recommendation: the groups cannot be compared"
    if not won:
        return "No group is significantly better"
    return "; ".join(f"{a} beats {b} on {_named(kpis)}" for (a, b), kpis in won.items())


def _named(kpis: Sequence[str]) -> str:
    """The KPIs, of many the first and the number of the others."""
    if len(kpis) <= _MOST_KPIS:
        return joined(kpis)
    return joined([*kpis[: _MOST_KPIS - 1], f"{len(kpis) - _MOST_KPIS + 1} more KPIs"])
