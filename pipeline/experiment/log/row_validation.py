"""What makes a row of the log unusable by itself, each as a reason with its SQL condition."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self

from pipeline.core.contracts import DAY_MS, EARLIEST_TS, LATEST_TS
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.log import user_covariates
from pipeline.experiment.log.log_files import COLUMNS, OUTCOMES, REVENUE, LogTable
from pipeline.study import ExperimentConfig, LogColumns

_HOUR_MS = 3_600_000

_OUTSIDE = ("time outside 2000-01-01 to 2100-01-01", "ts < $earliest OR ts >= $latest")
_UNREADABLE = ("a field has the wrong type", "unreadable")

_OUTCOMES = (
    ("negative units", "units < 0"),
    ("ordered but not clicked", "ordered AND NOT clicked"),
    ("ordered and units are inconsistent", "ordered <> (units > 0)"),
    ("negative revenue", "revenue < 0"),
    ("revenue without an order", "revenue > 0 AND NOT ordered"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRules:
    """What an experiment asks of its log, beside the plan.

    Attributes:
        first_ts: Earlier impressions are none of the experiment, in milliseconds since 1970 UTC.
        end_ts: Impressions from here on are none of it.
        attribution_ms: A click counts for so long after its impression, an order after its click.
        impressions_per_hour: A user that is shown more within an hour of the clock is a bot.
        columns: How its files are to be read if they are not in the contract.
    """

    first_ts: int = EARLIEST_TS
    end_ts: int = LATEST_TS
    attribution_ms: int = 24 * _HOUR_MS
    impressions_per_hour: int = 500
    columns: LogColumns | None = None

    @classmethod
    def of(cls, section: ExperimentConfig) -> Self:
        """The rules of a study."""
        last = section.last_day
        return cls(
            first_ts=_midnight(section.first_day) if section.first_day else EARLIEST_TS,
            end_ts=_midnight(last) + DAY_MS if last else LATEST_TS,
            attribution_ms=round(section.attribution_hours * _HOUR_MS),
            impressions_per_hour=section.max_impressions_per_hour,
            columns=section.columns,
        )


def _midnight(day: date) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def rejection_sql(
    table: LogTable, plan: Plan, rules: LogRules, *, told: Collection[str]
) -> tuple[str, dict[str, Any]]:
    """SQL for the first thing that is wrong with a row of ``incoming``, null if nothing is.

    Args:
        table: What the rows are.
        plan: The experiment they belong to.
        rules: What it asks for.
        told: The columns that the file has. Nothing is said against what it does not tell.

    Returns:
        The expression, and the values it is to be executed with.
    """
    if table is LogTable.USERS:
        return _case(_UNREADABLE, *user_covariates.FAULTS), {}
    everywhere = {"earliest": EARLIEST_TS, "latest": LATEST_TS}
    needed = [name for name in COLUMNS[table] if name in told and name != REVENUE]
    if table is not LogTable.IMPRESSIONS:
        # an event belongs to its impression, or else to its user
        keys = {"user", "item"} if "impression" in told else set[str]()
        empty = _empty(*(name for name in needed if name not in keys))
        units = ("fewer than one unit", "units < 1")
        faults = (units, ("negative revenue", "revenue < 0")) if table is LogTable.ORDERS else ()
        return _case(_UNREADABLE, empty, _OUTSIDE, *faults), everywhere
    other = (("another experiment", "experiment <> $experiment"),) if "experiment" in told else ()
    named = rules.columns.experiment if rules.columns else None
    judged = _case(
        _UNREADABLE,
        _empty(*needed),
        *other,
        ("unknown group", 'NOT list_contains($groups, "group")'),
        _OUTSIDE,
        ("time outside the experiment", "ts < $first_ts OR ts >= $end_ts"),
        *(_OUTCOMES if OUTCOMES[0] in told else ()),
    )
    return judged, everywhere | {
        **({"experiment": named or plan.experiment} if other else {}),
        "groups": [group.name for group in plan.groups],
        "first_ts": rules.first_ts,
        "end_ts": rules.end_ts,
    }


def _empty(*columns: str) -> tuple[str, str]:
    texts = {"experiment", "impression", "user", "group", "item"}
    missing = [f'"{name}" IS NULL' for name in columns]
    missing += [f"\"{name}\" = ''" for name in columns if name in texts]
    return "a field is missing", " OR ".join(missing)


def _case(*faults: tuple[str, str]) -> str:
    branches = " ".join(f"WHEN {condition} THEN '{reason}'" for reason, condition in faults)
    return f"CASE {branches} END"
