"""All diagnostics of an experiment."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import polars as pl

from pipeline.core.contracts import Kpi
from pipeline.experiment.log.row_fates import RowFates
from pipeline.inference.diagnostics.aa_tests import aa_test, replicate_test
from pipeline.inference.diagnostics.lost_outcomes import lost_outcomes
from pipeline.inference.diagnostics.sample_ratio import check_days, sample_ratio_of
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
from pipeline.results.diagnostics import (
    UNLIKELY,
    AaRerandomisation,
    AaTest,
    CarryOver,
    Diagnostics,
    Replicates,
    ReplicateTest,
)
from pipeline.results.slopes import SlopeTest
from pipeline.study import Hypothesis

_LEVEL = 0.95

_Test = TypeVar("_Test", SlopeTest, ReplicateTest)


def run_diagnostics(
    evidence: RegressionInputs,
    hypotheses: Sequence[Hypothesis],
    *,
    shares: Mapping[str, float],
    rows: RowFates,
    seed: int,
) -> Diagnostics:
    """Run every check that the tables allow.

    Args:
        evidence: The experiment's tables.
        hypotheses: The A/A tests use their metrics and KPIs, where the log has the KPI.
        shares: Planned shares of the users, by group.
        rows: What became of the rows of the log.
        seed: Of the re-randomisation.
    """
    daily = evidence.daily_totals
    days, weeks = (None, None) if daily is None else check_days(daily, shares)
    known = set(evidence.group_kpis["kpi"])
    counted = [one for one in hypotheses if RESPONSE[one.kpi].value in known]
    divided = {one.id: _rerandomised(evidence, one, seed) for one in counted}
    carried = {one.id: _carry_over(evidence, one) for one in counted}
    kpis = sorted({RESPONSE[one.kpi] for one in counted})
    return Diagnostics(
        sample_ratio=sample_ratio_of(evidence.group_kpis, shares, daily),
        lost_outcomes=lost_outcomes(rows),
        complete_days=days,
        whole_weeks=weeks,
        aa_rerandomisation=AaRerandomisation(
            passed=_passed(one.passed for one in divided.values() if one), hypotheses=divided
        ),
        carry_over=CarryOver(passed=_passed(_expected(carried)), hypotheses=carried),
        pre_experiment_balance=_by_kpi({kpi: _balance(evidence, kpi) for kpi in kpis}),
        aa_replicates=_by_kpi({kpi: _replicates(evidence, kpi) for kpi in kpis}),
    )


def _passed(tests: Iterable[bool]) -> bool | None:
    """Whether all tests passed; None without any."""
    found = list(tests)
    return all(found) if found else None


def _expected(tests: Mapping[str, _Test | None]) -> list[bool]:
    """Of every test that was run, whether its p-value is not too small."""
    return [one.p_value >= UNLIKELY for one in tests.values() if one]


def _by_kpi(tests: Mapping[Kpi, ReplicateTest | None]) -> Replicates:
    known = {kpi.value: one for kpi, one in tests.items() if one}
    return Replicates(passed=_passed(_expected(known)), kpis=known)


def _rerandomised(evidence: RegressionInputs, hypothesis: Hypothesis, seed: int) -> AaTest | None:
    kpi = RESPONSE[hypothesis.kpi]
    cells = group_cells(evidence, hypothesis.metric, kpi)
    outcome = daily_kpi(evidence, cells, kpi)
    x = relative_change(metric_values(cells))
    return aa_test(x, outcome, seed=seed) if outcome is not None else None


def _carry_over(evidence: RegressionInputs, hypothesis: Hypothesis) -> SlopeTest | None:
    kpi = RESPONSE[hypothesis.kpi]
    cells = group_cells(evidence, hypothesis.metric, kpi)
    outcome, x = returning_of(evidence, cells, kpi), relative_change(metric_values(cells))
    if outcome is None or np.isnan(x).any():
        return None
    return carry_over(x, outcome, level=_LEVEL)


def _balance(evidence: RegressionInputs, kpi: Kpi) -> ReplicateTest | None:
    """The groups compared before the experiment, as if all had the same preference."""
    cells = evidence.group_kpis.filter(kpi=kpi.value).sort("group")
    before = before_of(evidence, cells, kpi)
    if before is None:
        return None
    same = pl.Series(["before"]).new_from_index(0, before.height)
    return replicate_test(same, past_sums(before, family_of(kpi)))


def _replicates(evidence: RegressionInputs, kpi: Kpi) -> ReplicateTest | None:
    cells = evidence.group_kpis.filter(kpi=kpi.value).sort("group")
    return replicate_test(cells["preference_id"], group_sums(cells, kpi))
