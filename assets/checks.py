"""Quality rules of artifacts and diagnostics of the experiment as Dagster's asset checks."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from pipeline.quality.expectation import CheckResult, Rule
from pipeline.quality.suites import RULES
from pipeline.reporting.text.diagnostics import CHECK_LABELS
from pipeline.results.diagnostics import (
    BLOCKING,
    AaRerandomisation,
    CarryOver,
    Check,
    CompleteDays,
    Diagnostics,
    LostOutcomes,
    Replicates,
    SampleRatio,
)
from pipeline.results.serialization import to_dict

Row = Mapping[str, Any]


def check_specs(asset: str, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of an asset, one per rule."""
    return [
        dg.AssetCheckSpec(
            name=rule.name, asset=key, description=rule.description, blocking=rule.blocking
        )
        for rule in RULES[asset]
    ]


def check_results(
    outcomes: Sequence[CheckResult], *, waived: Container[str] = (), declared: Iterable[Rule] = ()
) -> list[dg.AssetCheckResult]:
    """Results of the rules as Dagster shows them; a failed rule that does not block, or is waived, warns.

    Dagster expects a result of every rule that is ``declared``: one that was not run says so.
    """
    found = [dg.AssetCheckResult(**_arguments(outcome, waived)) for outcome in outcomes]
    run = {outcome.rule.name for outcome in outcomes}
    return found + [
        dg.AssetCheckResult(
            check_name=rule.name,
            passed=True,
            description=f"not run: the table {rule.table} is in a warehouse, where its rows were checked",
        )
        for rule in declared
        if rule.name not in run
    ]


def log_failed_checks(context: dg.AssetExecutionContext, outcomes: Iterable[CheckResult]) -> None:
    """Record the checks of an artifact that was rejected, with rows that break a rule."""
    for outcome in outcomes:
        evaluation = dg.AssetCheckEvaluation(asset_key=context.asset_key, **_arguments(outcome))
        context.log_event(evaluation)  # pyright: ignore[reportArgumentType] - it accepts a check


def _arguments(outcome: CheckResult, waived: Container[str] = ()) -> dict[str, Any]:
    """Arguments of the two Dagster types that hold the result of a check."""
    return {
        "check_name": outcome.rule.name,
        "passed": outcome.passed,
        "severity": _severity(blocks=outcome.rule.blocking and outcome.rule.name not in waived),
        "description": str(outcome.rule.description if outcome.passed else outcome),
        "metadata": {
            **_table("rows that break the rule", outcome.rows),
            "unexpected rows": outcome.unexpected,
        },
    }


def diagnostic_specs(key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of the experiment's diagnostics."""
    return [
        dg.AssetCheckSpec(name, asset=key, description=description)
        for name, description in CHECK_LABELS.items()
    ]


def diagnostic_results(diagnostics: Diagnostics) -> list[dg.AssetCheckResult]:
    """Diagnostics as Dagster shows them; those that block the verdicts are errors, the others warn."""
    checks = dict(diagnostics.items())
    return [
        _diagnostic_result(name, checks.get(name), passed=name not in diagnostics.failed)
        for name in CHECK_LABELS
    ]


def _diagnostic_result(name: str, check: Check | None, *, passed: bool) -> dg.AssetCheckResult:
    rows = [] if check is None else diagnostic_rows(check)
    was_run = check is not None and check.passed is not None
    return dg.AssetCheckResult(
        check_name=name,
        passed=passed,
        severity=_severity(blocks=name in BLOCKING),
        description=None if was_run else "not run: the log does not contain the data for it",
        metadata={
            **_table("numbers", rows),
            "all numbers": dg.MetadataValue.json(to_dict(check) if check else {}),
        },
    )


def diagnostic_rows(check: Check) -> list[Row]:
    """The numbers of a check: one row per hypothesis, KPI, group or missing day."""
    match check:
        case AaRerandomisation() | CarryOver():
            tests = check.hypotheses.items()
            return [{"hypothesis": name, **(to_dict(one) if one else {})} for name, one in tests]
        case Replicates():
            return [{"kpi": name, **to_dict(one)} for name, one in check.kpis.items()]
        case SampleRatio():
            pairs = zip(check.users, check.expected, strict=True)
            return [{"users": observed, "expected": expected} for observed, expected in pairs]
        case LostOutcomes():
            tests = check.tables.items()
            return [
                {"table": table, "group": group, "lost share": share, "p": test.p_value}
                for table, test in tests
                for group, share in test.shares.items()
            ]
        case CompleteDays():
            return [{"missing": day.isoformat()} for day in check.missing]
        case _:
            return []


def _severity(*, blocks: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN


def _table(name: str, rows: Sequence[Row]) -> dict[str, dg.MetadataValue]:
    """Rows as a table of the columns with scalar values; empty if there are none."""
    columns = [
        column
        for column in dict.fromkeys(column for row in rows for column in row)
        if all(not isinstance(row.get(column), (list, tuple, dict)) for row in rows)
    ]
    if not columns:
        return {}
    records = [
        dg.TableRecord({column: _plain(row.get(column)) for column in columns}) for row in rows
    ]
    schema = dg.TableSchema(columns=[dg.TableColumn(column) for column in columns])
    return {name: dg.MetadataValue.table(records=records, schema=schema)}


def _plain(value: Any) -> str | int | float | bool:
    return value if isinstance(value, (str, int, float)) else "" if value is None else str(value)
