"""The report as flat tables, for spreadsheets and BI tools: one row per hypothesis, group or metric."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from pipeline.reporting.text.advice import advice_sentence
from pipeline.reporting.text.diagnostics import diagnostic_rows
from pipeline.reporting.text.partial import partial_sentences
from pipeline.reporting.text.reasons import limitation_sentences
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.decisions import Advice, KpiChange
from pipeline.results.document import Report
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.lifts import KpiLift
from pipeline.results.serialization import to_dict

Row = Mapping[str, Any]

_NOTHING = (None, None)
_INT64_LIMIT = 2**63


def report_tables(report: Report) -> dict[str, pl.DataFrame]:
    """The tables of a report by name; those without a row are left out.

    Rates and relative changes are fractions (0.012 is 1.2%); ``_low`` and ``_high`` are the ends of
    an interval, empty where it has none. ``answers`` holds the sentences of the report.
    """
    rows: dict[str, Iterable[Row]] = {
        "answers": _answers(report),
        "hypotheses": [_hypothesis(one, report) for one in report.hypotheses],
        "groups": [_point(one, row) for one in report.hypotheses for row in _flat(one.points)],
        "analyses": [
            {"hypothesis": one.id, **row}
            for one in report.hypotheses
            for row in _flat(one.analyses)
        ],
        "lifts": [_lift(one) for one in report.lifts],
        "recommendations": [_recommendation(one) for one in report.advice],
        "changes": [
            {"decision": one.kpi.value, **row}
            for one in report.advice
            for row in _flat(_changes(one))
        ],
        "group_kpis": _flat(report.group_kpis),
        "offline_metrics": _flat(report.offline_metrics),
        "metric_ranking": _flat(report.metric_ranking),
        "diagnostics": _flat(diagnostic_rows(report.diagnostics)),
        "log": _flat(report.ingestion.funnel if report.ingestion else ()),
        "rejected": [
            {"reason": reason, "rows": count}
            for reason, count in (report.ingestion.rejected if report.ingestion else {}).items()
        ],
        "front": _flat(report.front.points if report.front else ()),
    }
    frames = {
        name: pl.DataFrame(list(some), infer_schema_length=None) for name, some in rows.items()
    }
    return {name: frame for name, frame in frames.items() if not frame.is_empty()}


def _answers(report: Report) -> list[Row]:
    """Every sentence a reader needs, with what it is about."""
    sentences = {
        "hypothesis": [answer_sentence(one, report.cutoff) for one in report.hypotheses],
        "partial slope": partial_sentences(report.hypotheses, report.cutoff),
        "recommendation": [advice_sentence(one) for one in report.advice],
        "limitation": limitation_sentences(report.limitations),
    }
    return [{"about": about, "text": text} for about, texts in sentences.items() for text in texts]


def _hypothesis(one: HypothesisResult, report: Report) -> Row:
    found, size = one.headline, one.elasticity
    low, high = (found and found.quoted) or _NOTHING
    size_low, size_high = (size and size.interval) or _NOTHING
    rating, partial = report.evidence.get(one.id), one.partial
    plane = partial and partial.headline
    partial_low, partial_high = (plane and plane.quoted) or _NOTHING
    return {
        "hypothesis": one.id,
        "metric": one.metric,
        "kpi": one.kpi.value,
        "direction": one.direction,
        "verdict": one.verdict.value,
        "evidence": rating and rating.strength.value,
        "slope": found and found.slope,
        "slope_low": low,
        "slope_high": high,
        "level": found and found.level,
        "p_value": found and found.p_value,
        "holm_p_value": one.holm_p_value,
        "percent_per_percent": size and size.estimate,
        "percent_per_percent_low": size_low,
        "percent_per_percent_high": size_high,
        "held_fixed": ", ".join(partial.held_fixed) if partial else None,
        "variance_inflation": partial and partial.variance_inflation,
        "partial_slope": plane and plane.slope,
        "partial_slope_low": partial_low,
        "partial_slope_high": partial_high,
        "partial_p_value": plane and plane.p_value,
        "partial_verdict": partial and partial.verdict.value,
        "trials": one.n,
        "groups": one.groups,
        "undefined_reason": one.undefined_reason and one.undefined_reason.value,
    }


def _point(one: HypothesisResult, row: Row) -> Row:
    return {"hypothesis": one.id, "metric": one.metric, "kpi": one.response.value, **row}


def _lift(one: KpiLift) -> Row:
    low, high = one.interval or _NOTHING
    cuped_low, cuped_high = one.cuped.interval if one.cuped else _NOTHING
    anytime_low, anytime_high = one.anytime.interval if one.anytime else _NOTHING
    return {
        "kpi": one.kpi.value,
        "group": one.group,
        "control": one.control,
        "lift": one.lift,
        "low": low,
        "high": high,
        "p_value": one.p_value,
        "cuped_lift": one.cuped and one.cuped.lift,
        "cuped_low": cuped_low,
        "cuped_high": cuped_high,
        "anytime_low": anytime_low,
        "anytime_high": anytime_high,
        "undefined_reason": one.undefined_reason and one.undefined_reason.value,
    }


def _recommendation(one: Advice) -> Row:
    low, high = one.expected.interval if one.expected else _NOTHING
    measured_low, measured_high = (one.expected and one.expected.measured_interval) or _NOTHING
    return {
        "kpi": one.kpi.value,
        "action": one.action.value,
        "reason": one.reason.value,
        "group": one.group,
        "baseline": one.baseline,
        "baseline_is_control": one.control,
        "expected_change": one.expected and one.expected.change,
        "expected_low": low,
        "expected_high": high,
        "measured_change": one.expected and one.expected.measured,
        "measured_low": measured_low,
        "measured_high": measured_high,
        "not_worse": ", ".join(one.indistinguishable),
        "optimise": one.optimise and one.optimise.metric,
    }


def _changes(one: Advice) -> list[KpiChange]:
    """What is known of the change of every KPI between two groups, each once."""
    leading = [one.expected or one.leading]
    return list(
        dict.fromkeys(found for found in (*leading, *one.trade_offs, *one.changes) if found)
    )


def _flat(results: Iterable[Any]) -> list[Row]:
    """Results as rows: an interval and values by name become columns, several values become text."""
    return [dict(_cells(to_dict(one))) for one in results]


def _cells(row: Row) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if name.endswith("interval"):
            low, high = value or _NOTHING
            prefix = name.removesuffix("interval").removesuffix("_")
            joined = f"{prefix}_" if prefix else ""
            yield from ((f"{joined}low", low), (f"{joined}high", high))
        elif isinstance(value, dict):  # such as the metrics of a point
            yield from value.items()
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value))
        elif type(value) is int and abs(value) >= _INT64_LIMIT:
            yield name, float(value)
        else:
            yield name, value
