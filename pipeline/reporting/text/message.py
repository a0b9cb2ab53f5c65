"""The report in few lines: for a terminal, a chat or an e-mail."""

from collections.abc import Sequence

from pipeline.core.labels import KPI_LABELS, counted, metric_label
from pipeline.reporting.text.diagnostics import FAILED, NOT_RUN, diagnostic_rows
from pipeline.reporting.text.formatting import change, change_interval
from pipeline.reporting.text.lifts import lift_sentence
from pipeline.reporting.text.reasons import VERDICTS
from pipeline.results.decisions import Advice
from pipeline.results.document import Report
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.reasons import Action, LimitationKind, Verdict

_NOT_REAL = {
    LimitationKind.SIMULATED: "simulated users, not yours",
    LimitationKind.DRAWN: "simulated users, not yours",
    LimitationKind.REPLAYED: "replayed sessions, not an experiment",
}
_DECIDED = {Action.NO_DIFFERENCE: "any group", Action.WAIT: "wait for the planned end"}


def message_lines(report: Report, page: str) -> tuple[str, ...]:
    """What was tested, which metrics predict a KPI, what to ship, whether the data is sound, and where.

    Args:
        report: The report.
        page: Where to read it: a path or an address.
    """
    lines = (
        _tested(report),
        f"Metrics: {_metrics(report)}",
        f"Ship: {_decisions(report.advice)}",
        f"Checks: {_checks(report)}",
        f"Report: {page}",
    )
    return tuple(" ".join(line.split()) for line in lines)


def answer_lines(report: Report) -> tuple[str, ...]:
    """The result of every hypothesis; without hypotheses, every lift, and what to ship."""
    lifts = [lift_sentence(one, report.level) for one in report.lifts]
    return report.summary or (*lifts, f"Ship: {_decisions(report.advice)}")


def _tested(report: Report) -> str:
    name = report.study or (report.provenance.counts and report.provenance.counts.path) or "counts"
    totals = report.totals
    size = (
        f": {counted(totals.groups, 'group')}, {counted(totals.impressions, 'impression')}"
        if totals
        else ""
    )
    origins = [_NOT_REAL[one.kind] for one in report.limitations if one.kind in _NOT_REAL]
    return f"Paretoscope, {name}{size}{f' ({origins[0]})' if origins else ''}"


def _metrics(report: Report) -> str:
    if not report.hypotheses:
        return "no hypothesis was declared"
    return "; ".join(_verdict(one, report) for one in report.hypotheses)


def _verdict(one: HypothesisResult, report: Report) -> str:
    """What was declared and what is known, such as ``higher Recall@20, higher CTR: confirmed``."""
    declared = "higher" if one.direction == "positive" else "lower"
    name = f"higher {metric_label(one.metric, report.cutoff)}, {declared} {KPI_LABELS[one.kpi]}"
    words = VERDICTS[one.verdict].partition(":")[0]
    if one.verdict not in {Verdict.CONFIRMED, Verdict.CONTRADICTED}:
        return f"{name}: {words}"
    rating = report.evidence.get(one.id)
    caveats = [f"{rating.strength.value} evidence"] if rating else []
    if one.rivals:
        caveats.append("other metrics not told apart")
    return f"{name}: {words}{_in_parentheses(caveats)}"


def _in_parentheses(words: list[str]) -> str:
    return f" ({', '.join(words)})" if words else ""


def _decisions(advice: Sequence[Advice]) -> str:
    """Each group to ship, with the KPIs it is better on; then the KPIs without one, and why."""
    shipped: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    for one in advice:
        kpi = KPI_LABELS[one.kpi]
        if one.action is Action.SHIP:
            size = one.expected and f" {change(one.expected)} ({change_interval(one.expected)})"
            against = f"{one.group} against {one.baseline}"
            shipped.setdefault(against, []).append(f"{kpi}{size or ''}")
        else:
            others.setdefault(_DECIDED.get(one.action, "no recommendation"), []).append(kpi)
    parts = [f"{group}: {', '.join(kpis)}" for group, kpis in shipped.items()]
    parts += [f"{why}: {', '.join(kpis)}" for why, kpis in others.items()]
    return "; ".join(parts) or "no KPI was compared"


def _checks(report: Report) -> str:
    rows = diagnostic_rows(report.diagnostics)
    if failed := [row.label for row in rows if row.outcome == FAILED]:
        return f"FAILED: {'; '.join(failed)}"
    not_run = sum(row.outcome == NOT_RUN for row in rows)
    return f"{len(rows) - not_run} passed, {not_run} not run"
