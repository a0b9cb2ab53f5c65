"""The health of an experiment: every check by its name, with the numbers it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.experiment.log.log_files import CLICK_WITHOUT_IMPRESSION, ORDER_WITHOUT_CLICK
from pipeline.inference.diagnostics.aa_tests import UNLIKELY, aa_test, replicate_test
from pipeline.inference.diagnostics.sample_ratio import calendar_of, sample_ratio_of
from pipeline.inference.hypotheses.inputs import (
    RESPONSE,
    RegressionInputs,
    before_of,
    daily_kpi,
    family_of,
    group_cells,
    group_sums,
    metric_values,
    relative_change,
    returning_of,
)
from pipeline.inference.sensitivity.carry_over import carry_over
from pipeline.inference.sensitivity.cuped import past_sums
from pipeline.study import Hypothesis

SAMPLE_RATIO = "sample_ratio"
HEALTH_CHECKS = {
    SAMPLE_RATIO: "as many users came to each group as the plan says (else no verdict)",
    "no_day_missing": "every group was shown lists on every day",
    "whole_weeks": "every weekday is there as often as any other",
    "events_kept": "at most 1 % of clicks and orders lack the impression or click they belong to",
    "users_divided_anew": "users divided into groups anew show nothing but 5 % of false alarms",
    "no_carry_over": "users who come back answer the lists as they did on their first day",
    "alike_before": "what users did before the experiment does not tell the groups apart",
    "replicates_agree": "groups under the same preference differ by chance alone",
}
"""What is checked, by name; only the first forbids a verdict."""

_LEVEL = 0.95
_MOST_LOST = 0.01
_LOST = (CLICK_WITHOUT_IMPRESSION, ORDER_WITHOUT_CLICK)


def health_of(
    evidence: RegressionInputs,
    hypotheses: Sequence[Hypothesis],
    *,
    shares: Mapping[str, float],
    rejected: Mapping[str, int],
    seed: int,
) -> dict[str, dict[str, Any]]:
    """The numbers of every check, and whether it ``passed``.

    Args:
        evidence: The experiment's tables.
        hypotheses: Whose metrics and KPIs the A/A tests are made for.
        shares: Of the users, by group, as planned.
        rejected: Rows of the log that were set aside, by reason.
        seed: Of the divisions at random.
    """
    ratio = sample_ratio_of(evidence.group_kpis, shares)
    found = {SAMPLE_RATIO: {"passed": ratio.healthy, **asdict(ratio)}}
    if evidence.daily_totals is not None:
        calendar = calendar_of(evidence.daily_totals, list(shares))
        missing = [day.isoformat() for day in calendar.missing]
        found["no_day_missing"] = {"passed": not missing, "days": calendar.days, "missing": missing}
        found["whole_weeks"] = {"passed": calendar.whole_weeks, "days": calendar.days}
    events = evidence.group_kpis.filter(pl.col("kpi").is_in([Kpi.CTR.value, Kpi.CVR.value]))
    kept = sum(events["successes"].to_list())
    lost = sum(rejected.get(reason, 0) for reason in _LOST)
    share = lost / (lost + kept) if lost + kept else 0.0
    found["events_kept"] = {"passed": share <= _MOST_LOST, "lost": lost, "lost_share": share}
    divided = {one.id: _divided_anew(evidence, one, seed) for one in hypotheses}
    found["users_divided_anew"] = {
        "passed": all(one["passed"] for one in divided.values() if one),
        "hypotheses": divided,
    }
    carried = {one.id: _carried_over(evidence, one) for one in hypotheses}
    found["no_carry_over"] = {
        "passed": all(one["p_value"] >= UNLIKELY for one in carried.values() if one),
        "hypotheses": carried,
    }
    past = {kpi.value: _past(evidence, kpi) for kpi in {RESPONSE[h.kpi] for h in hypotheses}}
    known = {kpi: one for kpi, one in sorted(past.items()) if one}
    found["alike_before"] = {
        "passed": all(one["p_value"] >= UNLIKELY for one in known.values()),
        "kpis": known,
    }
    alike = {kpi.value: _replicates(evidence, kpi) for kpi in {RESPONSE[h.kpi] for h in hypotheses}}
    known = {kpi: one for kpi, one in sorted(alike.items()) if one}
    found["replicates_agree"] = {
        "passed": all(one["p_value"] >= UNLIKELY for one in known.values()),
        "kpis": known,
    }
    return found


def _divided_anew(
    evidence: RegressionInputs, hypothesis: Hypothesis, seed: int
) -> dict[str, Any] | None:
    kpi = RESPONSE[hypothesis.kpi]
    cells = group_cells(evidence, hypothesis.metric, kpi)
    outcome = daily_kpi(evidence, cells, kpi)
    x = relative_change(metric_values(cells))
    found = aa_test(x, outcome, seed=seed) if outcome is not None else None
    return {"passed": found.passed, **asdict(found)} if found else None


def _carried_over(evidence: RegressionInputs, hypothesis: Hypothesis) -> dict[str, Any] | None:
    kpi = RESPONSE[hypothesis.kpi]
    cells = group_cells(evidence, hypothesis.metric, kpi)
    outcome, x = returning_of(evidence, cells, kpi), relative_change(metric_values(cells))
    if outcome is None or np.isnan(x).any():
        return None
    found = carry_over(x, outcome, level=_LEVEL)
    return asdict(found) if found else None


def _past(evidence: RegressionInputs, kpi: Kpi) -> dict[str, Any] | None:
    """The groups' past compared as if all were served under one preference."""
    cells = evidence.group_kpis.filter(kpi=kpi.value).sort("group")
    before = before_of(evidence, cells, kpi)
    if before is None:
        return None
    alike = pl.Series(["the past"]).new_from_index(0, before.height)
    found = replicate_test(alike, past_sums(before, family_of(kpi)))
    return asdict(found) if found else None


def _replicates(evidence: RegressionInputs, kpi: Kpi) -> dict[str, Any] | None:
    cells = evidence.group_kpis.filter(kpi=kpi.value).sort("group")
    found = replicate_test(cells["preference_id"], group_sums(cells, kpi))
    return asdict(found) if found else None
