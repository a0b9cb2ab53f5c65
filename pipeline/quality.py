"""What must hold for an artifact, as Great Expectations over DuckDB.

A rule is plain data, so that naming and listing rules does not import Great Expectations (2.5 s).
Blocking rules are checked on the artifact before it takes its place; the others report.
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from duckdb_engine import ConnectionWrapper
from sqlalchemy.exc import SAWarning

from pipeline.errors import QualityError
from pipeline.schemas import EARLIEST_TS, LATEST_TS, EventKind, Kpi, Metric, Split

_SAMPLE = 5
_FORMAT = "COMPLETE"
"""Of Great Expectations' results; the shorter ones do not hold the rows that broke a rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One expectation.

    Attributes:
        name: Of the check, as the UI shows it.
        description: What holds, in words.
        table: The table it is about.
        expectation: Class of ``great_expectations.expectations``.
        arguments: Of that class.
        blocking: Whether an artifact that breaks the rule is refused.
    """

    name: str
    description: str
    table: str
    expectation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    blocking: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a rule found: whether it holds, how many rows broke it, and some of them."""

    rule: Rule
    passed: bool
    unexpected: int
    sample: tuple[str, ...]

    def __str__(self) -> str:
        """The broken rule in one line."""
        rows = (
            f" {self.unexpected} rows, for example {', '.join(self.sample)}" if self.sample else ""
        )
        return f"{self.rule.name}: not true that {self.rule.description}.{rows}"


def never(  # noqa: PLR0913 - a rule's fields
    name: str,
    description: str,
    table: str,
    where: str,
    *,
    source: str = "{batch}",
    blocking: bool = True,
) -> Rule:
    """A rule that no row of ``source`` may satisfy ``where``; both are code, never input.

    A row of which a null leaves that unknown breaks the rule, too.
    """
    return Rule(
        name=name,
        description=description,
        table=table,
        expectation="UnexpectedRowsExpectation",
        arguments={"unexpected_rows_query": f"SELECT * FROM {source} WHERE ({where}) IS NOT FALSE"},  # noqa: S608
        blocking=blocking,
    )


def _not_empty(table: str) -> Rule:
    return Rule(
        name=f"{table}_not_empty",
        description=f"{table} holds rows",
        table=table,
        expectation="ExpectTableRowCountToBeBetween",
        arguments={"min_value": 1},
    )


def _one_of(name: str, table: str, column: str, values: list[str]) -> Rule:
    listed = ", ".join(f"'{value}'" for value in values)
    return never(
        name, f"{column} is one of {', '.join(values)}", table, f"{column} NOT IN ({listed})"
    )


def _unique(name: str, table: str, columns: list[str]) -> Rule:
    key = ", ".join(f'"{column}"' for column in columns)
    lacking = " OR ".join(f'"{column}" IS NULL' for column in columns)
    return never(
        name,
        f"every row has its own {', '.join(columns)}",
        table,
        f"copies > 1 OR {lacking}",
        source=f"(SELECT {key}, count(*) AS copies FROM {{batch}} GROUP BY {key})",  # noqa: S608
    )


RULES: dict[str, tuple[Rule, ...]] = {
    "events": (
        _not_empty("events"),
        never(
            "event_fields_present",
            "every event has session, time, item and kind",
            "events",
            "session IS NULL OR session = '' OR ts IS NULL OR item IS NULL OR item = '' "
            "OR kind IS NULL",
        ),
        _one_of("event_kinds_known", "events", "kind", [kind.value for kind in EventKind]),
        Rule(
            name="event_times_in_range",
            description="times lie between 2000 and 2100",
            table="events",
            expectation="ExpectColumnValuesToBeBetween",
            arguments={"column": "ts", "min_value": EARLIEST_TS, "max_value": LATEST_TS - 1},
        ),
        _unique("events_unique", "events", ["session", "ts", "item", "kind"]),
        never(
            "clicks_present",
            "at least one event is a click",
            "events",
            "clicks = 0",
            source="(SELECT count(*) FILTER (kind = 'click') AS clicks FROM {batch})",
        ),
        never(
            "orders_present",
            "at least one event is an order",
            "events",
            "orders = 0",
            source="(SELECT count(*) FILTER (kind = 'order') AS orders FROM {batch})",
            blocking=False,
        ),
    ),
    "sessions": (
        _unique("sessions_unique_to_a_split", "sessions", ["session"]),
        _one_of("splits_known", "sessions", "split", [split.value for split in Split]),
        never(
            "sessions_have_two_clicks",
            "every session has at least two clicks",
            "sessions",
            "clicks < 2",
        ),
        never(
            "ordered_clicks_within_clicks",
            "no session has more ordered clicks than clicks",
            "sessions",
            "ordered_clicks < 0 OR ordered_clicks > clicks",
        ),
        never(
            "splits_do_not_overlap_in_time",
            "train ends before validation begins, and validation before test",
            "sessions",
            "train_end >= validation_start OR validation_end >= test_start OR untimed > 0",
            source="(SELECT max(last_ts) FILTER (split = 'train') AS train_end, "
            "min(first_ts) FILTER (split = 'validation') AS validation_start, "
            "max(last_ts) FILTER (split = 'validation') AS validation_end, "
            "min(first_ts) FILTER (split = 'test') AS test_start, "
            "count(*) - count(first_ts + last_ts) AS untimed FROM {batch})",
        ),
        _unique("items_unique", "items", ["item"]),
        never(
            "item_index_complete",
            "items are numbered 0, 1, 2, … without a gap",
            "items",
            "position <> index",
            source='(SELECT row_number() OVER (ORDER BY "index") - 1 AS position, "index" '
            "FROM {batch})",
        ),
        never(
            "orders_in_every_split",
            "every split has ordered clicks",
            "sessions",
            f"splits_with_orders < {len(Split)}",
            source="(SELECT count(DISTINCT split) FILTER (ordered_clicks > 0) "
            "AS splits_with_orders FROM {batch})",
            blocking=False,
        ),
    ),
    "offline_metrics": (
        _not_empty("offline_metrics"),
        _unique("one_row_a_metric", "offline_metrics", ["preference_id", "metric"]),
        _one_of("metrics_known", "offline_metrics", "metric", [metric.value for metric in Metric]),
        never(
            "shares_between_0_and_1",
            "metrics with a cutoff lie between 0 and 1",
            "offline_metrics",
            "cutoff IS NOT NULL AND value IS NOT NULL AND (value < 0 OR value > 1)",
        ),
        never(
            "losses_not_negative",
            "losses are not negative",
            "offline_metrics",
            "cutoff IS NULL AND (value IS NULL OR value < 0 OR isnan(value))",
        ),
        never(
            "preferences_on_the_simplex",
            "weights are not negative and sum to 1",
            "offline_metrics",
            "list_count(preference) < len(preference) OR list_min(preference) < 0 "
            "OR abs(list_sum(preference) - 1) > 1e-5",
        ),
        never(
            "every_preference_saw_the_same_test_set",
            "all preferences were scored on the same targets",
            "offline_metrics",
            "sizes > 1 OR unknown > 0",
            source="(SELECT count(DISTINCT n_targets) AS sizes, "
            "count(*) - count(n_targets) AS unknown FROM {batch})",
        ),
    ),
    "experiment_log": (
        _not_empty("exposures"),
        _unique("exposures_unique", "exposures", ["exposure"]),
        never(
            "orders_follow_clicks",
            "an ordered exposure was clicked and sold units, any other sold none",
            "exposures",
            "(ordered AND NOT clicked) OR units < 0 OR ordered <> (units > 0)",
        ),
        never(
            "users_in_one_group",
            "every user saw one group only",
            "exposures",
            "unit IS NULL OR groups > 1 OR unknown > 0",
            source='(SELECT unit, count(DISTINCT "group") AS groups, '
            'count(*) - count("group") AS unknown FROM {batch} GROUP BY unit)',
        ),
        never(
            "few_exposures_rejected",
            "at most 5 % of a file's exposures were set aside (else check experiment.salt)",
            "log_files",
            "rejected > 0.05 * (accepted + rejected)",
        ),
    ),
    "group_kpis": (
        _not_empty("group_kpis"),
        _unique("one_row_a_kpi", "group_kpis", ["group", "kpi"]),
        _one_of("kpis_known", "group_kpis", "kpi", [kpi.value for kpi in Kpi]),
        never(
            "successes_within_trials",
            "no yes-or-no KPI has more successes than trials",
            "group_kpis",
            "trials < 0 OR successes < 0 OR (kpi <> 'units_per_exposure' AND successes > trials)",
        ),
        never(
            "every_group_has_every_kpi",
            "every group has all KPIs",
            "group_kpis",
            f"kpis <> {len(Kpi)}",
            source='(SELECT "group", count(DISTINCT kpi) AS kpis FROM {batch} GROUP BY "group")',
        ),
        never(
            "every_group_has_sales",
            "every group has clicks and orders",
            "group_kpis",
            "successes = 0",
            blocking=False,
        ),
    ),
}


def check_tables(artifact: str, tables: Mapping[str, Path]) -> list[Outcome]:
    """Check an artifact's rules on parquet files, one a table."""
    connection = duckdb.connect()
    try:
        for name, path in tables.items():
            relation = connection.read_parquet(str(path))
            relation.create_view(name)
        return _validate(RULES[artifact], connection)
    finally:
        connection.close()


def check_experiment_log(database: Path) -> list[Outcome]:
    """Check the rules of ``experiment_log`` on the experiment's database."""
    connection = duckdb.connect()
    try:
        connection.execute("ATTACH $path AS log (READ_ONLY)", {"path": str(database)})
        connection.execute("CREATE VIEW exposures AS SELECT * FROM log.exposures")
        connection.execute(
            "CREATE VIEW log_files AS SELECT source, "
            "(SELECT count(*) FROM log.exposures WHERE source = f.source) AS accepted, "
            "(SELECT coalesce(sum(rows), 0) FROM log.rejected WHERE source = f.source) AS rejected "
            "FROM log.ingested_files AS f"
        )
        return _validate(RULES["experiment_log"], connection)
    finally:
        connection.close()


def enforce(outcomes: list[Outcome]) -> list[Outcome]:
    """Return the outcomes if no blocking rule is broken.

    Raises:
        QualityError: naming every broken blocking rule, with rows that break it.
    """
    broken = [str(outcome) for outcome in outcomes if outcome.rule.blocking and not outcome.passed]
    if broken:
        msg = "refused, and nothing was written: " + "; ".join(broken)
        raise QualityError(msg)
    return outcomes


def _validate(rules: tuple[Rule, ...], connection: duckdb.DuckDBPyConnection) -> list[Outcome]:
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx  # noqa: PLC0415 - 2.5 s, only where checks run
    import great_expectations.expectations as gxe  # noqa: PLC0415

    outcomes: list[Outcome] = []
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # pyright: ignore[reportAttributeAccessIssue]
    source = _data_source(context, connection)
    with warnings.catch_warnings():
        # SQLAlchemy does not know DuckDB's list type; no rule needs it to.
        warnings.filterwarnings("ignore", "Did not recognize type", category=SAWarning)
        for table in dict.fromkeys(rule.table for rule in rules):
            batch = (
                source.add_table_asset(table, table_name=table)
                .add_batch_definition_whole_table("whole")
                .get_batch()
            )
            for rule in rules:
                if rule.table == table:
                    expectation = getattr(gxe, rule.expectation)(**rule.arguments)
                    result = batch.validate(expectation, result_format=_FORMAT)
                    outcomes.append(_outcome(rule, result))
    return sorted(outcomes, key=lambda outcome: rules.index(outcome.rule))


class _NoTransactions(ConnectionWrapper):
    """An open DuckDB connection that never begins or ends a transaction, and is not closed."""

    def begin(self) -> None:
        """Stay as it is."""

    def commit(self) -> None:
        """Stay as it is."""

    def rollback(self) -> None:
        """Stay as it is."""

    def close(self) -> None:
        """Leave closing to whoever opened the connection."""


def _data_source(context: Any, connection: duckdb.DuckDBPyConnection) -> Any:
    """A Great Expectations source over an open DuckDB connection.

    Great Expectations fetches results after SQLAlchemy has ended the transaction, and DuckDB drops
    them then; so the connection it gets never begins or ends one.
    """
    return context.data_sources.add_sql(
        "artifact",
        connection_string="duckdb:///:memory:",
        kwargs={"creator": lambda: _NoTransactions(connection)},
    )


def _outcome(rule: Rule, result: Any) -> Outcome:
    if raised := _exception(result.exception_info):
        msg = f"check {rule.name} could not run: {raised}"
        raise QualityError(msg)
    found = result.result
    rows = found.get("details", {}).get("unexpected_rows") or found.get("partial_unexpected_list")
    count = found.get("unexpected_count", found.get("observed_value", 0))
    return Outcome(
        rule=rule,
        passed=bool(result.success),
        unexpected=0 if result.success else int(count or 0),
        sample=tuple(str(row) for row in (rows or [])[:_SAMPLE]),
    )


def _exception(info: Mapping[str, Any]) -> str | None:
    """What a check raised, if it could not run; Great Expectations nests it by metric."""
    if "raised_exception" in info:
        return str(info["exception_message"]) if info["raised_exception"] else None
    nested = (_exception(value) for value in info.values())
    return next((words for words in nested if words is not None), None)
