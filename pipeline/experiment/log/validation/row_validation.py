"""Validation of single rows of the log: rejection reasons with their SQL conditions."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from pipeline.core.contracts import EARLIEST_TS, HOUR_MS, LATEST_TS
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.log.log_files import (
    ARM,
    COLUMNS,
    FREE_COLUMNS,
    OUTCOMES,
    REVENUE,
    ArmName,
    LogTable,
)
from pipeline.experiment.log.reasons import (
    EXPLORED,
    IGNORED_GROUP,
    OTHER_EXPERIMENT,
    OUTSIDE_DAYS,
    OUTSIDE_GROUPS,
    UNKNOWN_GROUP,
)
from pipeline.experiment.log.validation import user_covariates
from pipeline.study import ExperimentConfig, LogColumns

_OPTIONAL = {REVENUE, *FREE_COLUMNS}

OUTSIDE_TIMES = "time outside 2000-01-01 to 2100-01-01"
_OUTSIDE = (OUTSIDE_TIMES, "ts < $earliest OR ts >= $latest")
_WRONG_TYPE = ("a field has the wrong type", "wrong_field IS NOT NULL")

_OTHER_EXPERIMENT = (OTHER_EXPERIMENT, "experiment <> $experiment")

REFUND = "((units < 0 AND coalesce(revenue, 0) <= 0) OR (revenue < 0 AND coalesce(units, 0) <= 0))"
"""SQL of whether an order row is a refund: nothing is sold, and goods or money go back."""

_ORDER_RULES = (
    ("fewer than one unit", f"units < 1 AND NOT coalesce({REFUND}, false)"),
    ("negative revenue", f"revenue < 0 AND NOT {REFUND}"),
)

_OUTCOME_RULES = (
    ("negative units", "units < 0"),
    ("ordered but not clicked", "ordered AND NOT clicked"),
    ("ordered and units are inconsistent", "ordered <> (units > 0)"),
    ("negative revenue", "revenue < 0"),
    ("revenue without an order", "revenue > 0 AND NOT ordered"),
)


_EXPLORED_RULES = (
    ("explored list without a propensity", "explored AND propensity IS NULL"),
    (
        "propensity not above 0 and at most 1",
        # the bounds that parquet has of a column leave out NaN
        "explored AND (isnan(propensity) OR propensity <= 0 OR propensity > 1)",
    ),
    (EXPLORED, "explored"),
)
"""The lists of a random policy say nothing of their group's preference, so their clicks are no KPIs of it."""

_ARMS = ", ".join(f"'{one}'" for one in ArmName)
_OUTSIDE_GROUPS = (OUTSIDE_GROUPS, f"{ARM} IN ({_ARMS}) AND coalesce(\"group\", '') = ''")
"""Of an arm that the endpoint serves outside the groups; other logs may have a column of this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRules:
    """The rules of an experiment for its log, in addition to the plan.

    Attributes:
        first_ts: Start of the experiment, milliseconds since 1970 UTC; earlier impressions are
            rejected.
        end_ts: End of the experiment; impressions at or after it are rejected.
        attribution_ms: Attribution window from impression to click, and from click to order.
        tolerance_ms: How much earlier than its impression or click an event may be.
        impressions_per_hour: Maximum impressions per user and clock hour; bots have more.
        ignored_groups: Groups of the log that are left out.
        time_zone: Of local times.
        columns: Column mapping of the log files; None if they follow the contract.
    """

    first_ts: int = EARLIEST_TS
    end_ts: int = LATEST_TS
    attribution_ms: int = 24 * HOUR_MS
    tolerance_ms: int = 0
    impressions_per_hour: int = 500
    ignored_groups: tuple[str, ...] = ()
    time_zone: str = "UTC"
    columns: LogColumns | None = None

    @classmethod
    def of(cls, section: ExperimentConfig) -> Self:
        """The rules of a study."""
        first, last = section.first_day, section.last_day
        return cls(
            first_ts=_midnight(first, section.time_zone) if first else EARLIEST_TS,
            end_ts=_midnight(last + timedelta(days=1), section.time_zone) if last else LATEST_TS,
            attribution_ms=round(section.attribution_hours * HOUR_MS),
            tolerance_ms=round(section.clock_tolerance_seconds * 1000),
            impressions_per_hour=section.max_impressions_per_hour,
            ignored_groups=section.ignored_groups,
            time_zone=section.time_zone,
            columns=section.columns,
        )


def _midnight(day: date, time_zone: str) -> int:
    start = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone))
    return round(start.timestamp()) * 1000


def rejection_sql(
    table: LogTable, plan: Plan, rules: LogRules, *, columns: Collection[str]
) -> tuple[str, dict[str, Any]]:
    """SQL, with parameters, of the rejection reason of a row of ``staged_rows``; null if valid.

    Args:
        table: Table of the rows.
        plan: Plan of the experiment.
        rules: Rules of the experiment.
        columns: Columns of the file; rules on other columns do not apply.
    """
    if table is LogTable.USERS:
        return _case(_WRONG_TYPE, *user_covariates.RULES), {}
    limits = {"earliest": EARLIEST_TS, "latest": LATEST_TS}
    required = [name for name in COLUMNS[table] if name in columns and name not in _OPTIONAL]
    if table is not LogTable.IMPRESSIONS:
        # an event has its impression, or else its user
        optional = {"user", "item"} if "impression" in columns else set[str]()
        missing = _missing(*(name for name in required if name not in optional))
        amounts = _ORDER_RULES if table is LogTable.ORDERS else ()
        return _case(_WRONG_TYPE, missing, _OUTSIDE, *amounts), limits
    other = (_OTHER_EXPERIMENT,) if "experiment" in columns else ()
    name_in_log = rules.columns.experiment if rules.columns else None
    ignored = (IGNORED_GROUP, 'list_contains($ignored_groups, "group")')
    expression = _case(
        *other,  # rows out of scope may lack what the experiment needs
        *((_OUTSIDE_GROUPS,) if ARM in columns else ()),
        *((ignored,) if rules.ignored_groups else ()),
        _WRONG_TYPE,
        _missing(*required),
        _OUTSIDE,
        (OUTSIDE_DAYS, "ts < $first_ts OR ts >= $end_ts"),
        (UNKNOWN_GROUP, 'NOT list_contains($groups, "group")'),
        *(_OUTCOME_RULES if OUTCOMES[0] in columns else ()),
        *(_EXPLORED_RULES if "explored" in columns else ()),
    )
    return expression, limits | {
        **({"experiment": name_in_log or plan.experiment} if other else {}),
        **({"ignored_groups": list(rules.ignored_groups)} if rules.ignored_groups else {}),
        "groups": [group.name for group in plan.groups],
        "first_ts": rules.first_ts,
        "end_ts": rules.end_ts,
    }


_NOBODY = ("null", "none", "nan", "n/a", "nil", "undefined", "(not set)", "\\N", "-")
"""What exports write for a user who is not known; together they would be one user with many impressions."""


def _missing(*columns: str) -> tuple[str, str]:
    strings = {"experiment", "impression", "user", "group", "item"}
    conditions = [f'"{name}" IS NULL' for name in columns]
    conditions += [f"\"{name}\" = ''" for name in columns if name in strings]
    if "user" in columns:
        words = {form for one in _NOBODY for form in (one, one.upper(), one.title(), "NaN")}
        listed = ", ".join(f"'{one}'" for one in sorted(words))
        conditions.append(f"user IN ({listed})")
    return "a field is missing", " OR ".join(conditions)


def _case(*rules: tuple[str, str]) -> str:
    branches = " ".join(f"WHEN {condition} THEN '{reason}'" for reason, condition in rules)
    return f"CASE {branches} END"
