"""The rules of artifacts and the health of the experiment as Dagster's asset checks."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from pipeline.inference.diagnostics.health_checks import HEALTH_CHECKS, SAMPLE_RATIO
from pipeline.quality.runner import CheckResult
from pipeline.quality.suites import RULES

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
        for name, description in HEALTH_CHECKS.items()
    ]


def health_results(health: Mapping[str, Row]) -> list[dg.AssetCheckResult]:
    """The health of the experiment; only the sample ratio forbids a verdict, the others warn."""
    return [
        dg.AssetCheckResult(
            check_name=name,
            passed=found["passed"],
            severity=_severity(blocks=name == SAMPLE_RATIO),
            description=None
            if _is_told(found)
            else "not looked at: the log has nothing to see it by",
            metadata={
                **_table("numbers", health_rows(found)),
                "all numbers": dg.MetadataValue.json(dict(found)),
            },
        )
        for name, found in health.items()
    ]


def health_rows(found: Row) -> list[Row]:
    """The numbers of a check, a row a hypothesis, KPI, group or day, whichever it has."""
    for part in ("hypotheses", "kpis"):
        if part in found:
            return [{part: name, **(numbers or {})} for name, numbers in found[part].items()]
    if "users" in found:
        pairs = zip(found["users"], found["expected"], strict=True)
        return [{"users": came, "expected": planned} for came, planned in pairs]
    return [{"missing": day} for day in found.get("missing", ())]


def _is_told(found: Row) -> bool:
    """Whether there was anything to look at."""
    parts = [found[part] for part in ("hypotheses", "kpis") if part in found]
    return all(any(numbers for numbers in part.values()) for part in parts)


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
