"""The rows of the diagnostics table: what each check requires, its outcome and its numbers."""

from dataclasses import dataclass

from pipeline.core.labels import KPI_LABELS, counted
from pipeline.reporting.text.formatting import interval, number, p_statement, percent, thousands
from pipeline.results.diagnostics import (
    AaRerandomisation,
    AaTest,
    CarryOver,
    Check,
    CompleteDays,
    Diagnostics,
    LostOutcomes,
    Replicates,
    SampleRatio,
    WholeWeeks,
)
from pipeline.results.slopes import SlopeTest

CHECK_LABELS = {
    "sample_ratio": "users per group match the planned shares (SRM check; else no verdict)",
    "lost_outcomes": "no clicks, orders or impressions are lost, in no group (else no verdict)",
    "complete_days": "every group has impressions on every day",
    "whole_weeks": "every weekday occurs equally often",
    "aa_rerandomisation": "A/A re-randomisation of the users has 5% of false positives",
    "carry_over": "the slope is the same on the users' first day and after it",
    "pre_experiment_balance": "the groups do not differ before the experiment",
    "aa_replicates": "groups with the same preference do not differ (A/A replicates)",
}
"""What every check requires; the first two block verdicts."""

PASSED, FAILED, NOT_RUN = "passed", "FAILED", "not run"
"""The outcomes of a check."""

_OUTCOMES = {True: PASSED, False: FAILED, None: NOT_RUN}

_WHY_NOT_RUN = {
    "pre_experiment_balance": "no pre-experiment data",
    "aa_replicates": "no preference has two groups",
}

_LARGEST_E_VALUE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticRow:
    """One check: what it requires, its outcome, and its numbers."""

    label: str
    outcome: str
    numbers: str


def diagnostic_rows(diagnostics: Diagnostics) -> list[DiagnosticRow]:
    """One row per check."""
    rows: list[DiagnosticRow] = []
    for name, check in diagnostics.items():
        why = _WHY_NOT_RUN.get(name, "not enough daily data")
        rows.append(
            DiagnosticRow(
                label=CHECK_LABELS[name],
                outcome=_OUTCOMES[check.passed],
                numbers=why if check.passed is None else check_numbers(check),
            )
        )
    return rows


def check_numbers(check: Check) -> str:
    """The numbers of a check that was run."""
    match check:
        case AaRerandomisation() | CarryOver():
            tests = check.hypotheses.items()
            return "; ".join(f"{name}: {_test_numbers(one)}" for name, one in tests if one)
        case Replicates():
            tests = check.kpis.items()
            return "; ".join(f"{KPI_LABELS[kpi]}: {p_statement(one.p_value)}" for kpi, one in tests)
        case _:
            return _data_numbers(check)


def _test_numbers(test: AaTest | SlopeTest) -> str:
    p = p_statement(test.p_value)
    if isinstance(test, AaTest):
        share, divisions = percent(test.false_positives), thousands(test.divisions)
        return f"{share} false positives in {divisions} re-randomisations, {p}"
    return f"slope changes by {number(test.slope, 3)} ({interval(test.interval)}), {p}"


def _data_numbers(check: SampleRatio | LostOutcomes | CompleteDays | WholeWeeks) -> str:
    match check:
        case SampleRatio():
            users = ", ".join(thousands(count) for count in check.users)
            return (
                f"users: {users}; {p_statement(check.p_value)} (fails below 0.0005), e-value "
                f"{_e_value(check.largest_e_value)} (fails above 1,000 on any day)"
            )
        case CompleteDays():
            missing = ", ".join(day.isoformat() for day in check.missing) or "none"
            return f"{counted(check.days, 'day')}; missing: {missing}"
        case WholeWeeks():
            return f"{counted(check.days, 'day')}, without an incomplete first or last day"
        case LostOutcomes():
            return _losses(check)


def _e_value(value: float) -> str:
    if value > _LARGEST_E_VALUE:
        return f"over {thousands(_LARGEST_E_VALUE)}"
    return thousands(round(value)) if value >= 10 else number(value, 2)


def _losses(check: LostOutcomes) -> str:
    total = f"{thousands(check.lost)} clicks and orders lost, {percent(check.lost_share, 2)}"
    unknown = (
        f", {thousands(check.unknown_group)} of an unknown group" if check.unknown_group else ""
    )
    tests = [
        f"{table}: "
        + ", ".join(f"{group} {percent(n, 1)}" for group, n in test.shares.items())
        + f" lost or late, {p_statement(test.p_value)}"
        for table, test in check.tables.items()
    ]
    silent = [
        f"{one.group} has no {one.outcome}, and about {thousands(round(one.expected))} at the rate of "
        "the other groups"
        for one in check.silent
    ]
    return "; ".join([*silent, f"{total}{unknown} (fails above 1%)", *tests])
