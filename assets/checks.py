"""The rules of artifacts and the health of the experiment as Dagster's asset checks."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from pipeline.quality.runner import CheckResult
from pipeline.quality.suites import RULES
from pipeline.reporting.text.diagnostics import CHECK_LABELS, check_numbers
from pipeline.results.diagnostics import (
    SAMPLE_RATIO,
    AaRerandomisation,
    CarryOver,
    Check,
    CompleteDays,
    Diagnostics,
    Replicates,
    SampleRatio,
)
from pipeline.results.serialization import to_dict

Row = Mapping[str, Any]


def check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The checks of an asset, one a rule."""
    return [
        dg.AssetCheckSpec(
            name=rule.name, asset=asset, description=rule.description, blocking=rule.blocking
        )
        for rule in RULES[asset]
    ]


def check_results(
    outcomes: Iterable[CheckResult], *, waived: Container[str] = ()
) -> list[dg.AssetCheckResult]:
    """What the rules found, as Dagster shows it; one that only reports, or is waived, warns."""
    return [
        dg.AssetCheckResult(
            check_name=outcome.rule.name,
            passed=outcome.passed,
            severity=_severity(blocks=outcome.rule.blocking and outcome.rule.name not in waived),
            description=str(outcome.rule.description if outcome.passed else outcome),
            metadata=_found(outcome),
        )
        for outcome in outcomes
    ]


def log_failed_checks(context: dg.AssetExecutionContext, outcomes: Iterable[CheckResult]) -> None:
    """Show what was checked of an artifact that was refused, rows that broke a rule included."""
    for outcome in outcomes:
        context.log_event(  # takes it, though its annotation leaves it out
            dg.AssetCheckEvaluation(  # pyright: ignore[reportArgumentType]
                asset_key=context.asset_key,
                check_name=outcome.rule.name,
                passed=outcome.passed,
                severity=_severity(blocks=outcome.rule.blocking),
                description=str(outcome.rule.description if outcome.passed else outcome),
                metadata=_found(outcome),
            )
        )


def health_specs() -> list[dg.AssetCheckSpec]:
    """The checks of the experiment's health."""
    return [
        dg.AssetCheckSpec(name, asset="regression_estimates", description=description)
        for name, description in CHECK_LABELS.items()
    ]


def health_results(diagnostics: Diagnostics) -> list[dg.AssetCheckResult]:
    """The diagnostics as asset checks; only the sample ratio blocks verdicts, the others warn."""
    return [
        dg.AssetCheckResult(
            check_name=name,
            passed=check.passed,
            severity=_severity(blocks=name == SAMPLE_RATIO),
            description=None if check_numbers(check) else "not run: the log has no data for it",
            metadata={
                **_table("numbers", health_rows(check)),
                "all numbers": dg.MetadataValue.json(to_dict(check)),
            },
        )
        for name, check in diagnostics.items()
    ]


def health_rows(check: Check) -> list[Row]:
    """The numbers of a check, one row per hypothesis, KPI, group or day."""
    match check:
        case AaRerandomisation() | CarryOver():
            tests: Mapping[str, Any] = check.hypotheses
            return [
                {"hypotheses": name, **(to_dict(one) if one else {})} for name, one in tests.items()
            ]
        case Replicates():
            return [{"kpis": name, **to_dict(one)} for name, one in check.kpis.items()]
        case SampleRatio():
            pairs = zip(check.users, check.expected, strict=True)
            return [{"users": count, "expected": planned} for count, planned in pairs]
        case CompleteDays():
            return [{"missing": day.isoformat()} for day in check.missing]
        case _:
            return []


def _severity(*, blocks: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if blocks else dg.AssetCheckSeverity.WARN


def _found(outcome: CheckResult) -> dict[str, Any]:
    return {**_table("rows that break it", outcome.rows), "unexpected rows": outcome.unexpected}


def _table(name: str, rows: Sequence[Row]) -> dict[str, dg.MetadataValue]:
    """Rows as a table, of the columns that hold plain values; no rows, no table."""
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
