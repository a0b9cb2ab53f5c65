"""The rules of each artifact; importing them does not import Great Expectations."""

from pipeline.core.contracts import EARLIEST_TS, LATEST_TS, EventType, Kpi, Metric, Split
from pipeline.datasets.raw_rows import DELIBERATE
from pipeline.quality.expectation import Rule, allowed_values, forbid_rows, not_empty, unique

_WITH_NEIGHBOURS = (
    "(SELECT *, lag(session) OVER () AS before, lag(ts) OVER () AS ts_before, "
    "lead(session) OVER () AS after, lead(ts) OVER () AS ts_after FROM {batch})"
)
"""Rows in file order, with the previous and the next row."""

_IS_TEXT = "typeof({}) = 'VARCHAR'"
"""Whether a column has texts; known before any row is read, so that ids that are integers cost nothing."""

_SHARE_METRICS = ", ".join(
    f"'{metric}'"
    for metric in Metric
    if metric.has_cutoff and metric not in {Metric.NOVELTY, Metric.INTRA_LIST_DIVERSITY}
)
"""The metrics with values in [0, 1]."""
_DELIBERATE = ", ".join(f"'{reason.value}'" for reason in sorted(DELIBERATE))

_MIN_COVERAGE = 0.9
"""Share of the catalogue that item attributes should have; without them a metric has fewer items."""

RULES: dict[str, tuple[Rule, ...]] = {
    "events": (
        not_empty("events"),
        forbid_rows(
            "event_fields_present",
            "every event has session, time, item and event_type",
            "events",
            f"session IS NULL OR ts IS NULL OR item IS NULL OR event_type IS NULL OR ({_IS_TEXT.format('session')} "
            f"AND session::VARCHAR = '') OR ({_IS_TEXT.format('item')} AND item::VARCHAR = '')",
        ),
        allowed_values("event_types_known", "events", "event_type", EventType),
        forbid_rows(
            "event_times_in_range",
            "times are between 2000 and 2100",
            "events",
            f"ts IS NOT NULL AND (ts < {EARLIEST_TS} OR ts >= {LATEST_TS})",
        ),
        forbid_rows(
            "sessions_contiguous",
            "the events of a session are contiguous",
            "events",
            "runs <> sessions",
            source="(SELECT count(*) FILTER (session IS DISTINCT FROM before) AS runs, "  # noqa: S608
            "count(DISTINCT session) AS sessions "
            f"FROM {_WITH_NEIGHBOURS})",
        ),
        forbid_rows(
            "event_times_in_order",
            "the events of a session are in order of time",
            "events",
            "session IS NOT DISTINCT FROM before AND ts < ts_before",
            source=_WITH_NEIGHBOURS,
        ),
        forbid_rows(
            "events_unique",
            "no event is a duplicate (dataset.duplicates: reject removes them)",
            "events",
            "copies > 1",
            source="(SELECT session, ts, item, event_type, count(*) AS copies "  # noqa: S608
            f"FROM {_WITH_NEIGHBOURS} "
            "WHERE (session = before AND ts = ts_before) OR (session = after AND ts = ts_after) "
            "GROUP BY session, ts, item, event_type)",
            blocking=False,
        ),
        forbid_rows(
            "orders_follow_a_click",
            "an item is clicked before it is ordered",
            "events",
            "TRUE",
            source="(SELECT session, ts, item FROM (SELECT * FROM {batch} WHERE event_type = 'order') AS o "
            "WHERE NOT EXISTS (SELECT 1 FROM events AS c WHERE c.session = o.session "
            "AND c.item = o.item AND c.event_type = 'click' AND c.ts <= o.ts))",
            blocking=False,
        ),
        forbid_rows(
            "rejected_share_within_limit",
            "the share of rejected rows is at most sessions.max_rejected_share",
            "rejected",
            "rejected > max_rejected_share * (rejected + accepted)",
            source="(SELECT max_rejected_share, (SELECT count(*) FROM events) AS accepted, "  # noqa: S608
            f"(SELECT count(*) FILTER ((reason IN ({_DELIBERATE})) IS NOT TRUE) FROM {{batch}}) "
            "AS rejected FROM limits)",
        ),
        forbid_rows(
            "item_ids_are_not_decimals",
            "item ids are not decimals such as 1965.0, which a column with empty fields becomes",
            "events",
            "coalesce(regexp_full_match(item::VARCHAR, '-?[0-9]+[.]0+'), false)",
            source=f"(SELECT DISTINCT item FROM {{batch}} WHERE {_IS_TEXT.format('item')})",  # noqa: S608
            blocking=False,
        ),
        forbid_rows(
            "clicks_present",
            "at least one event is a click",
            "events",
            "clicks = 0",
            source="(SELECT count(*) FILTER (event_type = 'click') AS clicks FROM {batch})",
        ),
        forbid_rows(
            "orders_present",
            "at least one event is an order",
            "events",
            "orders = 0",
            source="(SELECT count(*) FILTER (event_type = 'order') AS orders FROM {batch})",
            blocking=False,
        ),
    ),
    "sessions": (
        unique("sessions_unique_to_a_split", "sessions", ["session"]),
        allowed_values("splits_known", "sessions", "split", Split),
        forbid_rows(
            "sessions_have_two_clicks",
            "every session has at least two clicks",
            "sessions",
            "clicks < 2",
        ),
        forbid_rows(
            "ordered_clicks_within_clicks",
            "no session has more ordered or carted clicks than clicks",
            "sessions",
            "ordered_clicks < 0 OR carted_clicks < 0 "
            "OR ordered_clicks > clicks OR carted_clicks > clicks",
        ),
        forbid_rows(
            "splits_do_not_overlap_in_time",
            "train ends before validation starts, and validation before test",
            "sessions",
            "train_end >= validation_start OR validation_end >= test_start OR untimed > 0",
            source="(SELECT max(last_ts) FILTER (split = 'train') AS train_end, "
            "min(first_ts) FILTER (split = 'validation') AS validation_start, "
            "max(last_ts) FILTER (split = 'validation') AS validation_end, "
            "min(first_ts) FILTER (split = 'test') AS test_start, "
            "count(*) - count(first_ts + last_ts) AS untimed FROM {batch})",
        ),
        unique("items_unique", "items", ["item"]),
        forbid_rows(
            "item_attributes_cover_the_catalogue",
            "dataset.item_attributes has at least 90% of the catalogue's items",
            "items",
            f"attributes_coverage < {_MIN_COVERAGE}",
            source="(SELECT attributes_coverage, (SELECT count(*) FROM {batch}) AS items FROM limits)",
            blocking=False,
        ),
        forbid_rows(
            "item_index_complete",
            "items are numbered 0, 1, 2, … without a gap",
            "items",
            "n <> index + 1",
            source='(SELECT row_number() OVER (ORDER BY "index") AS n, "index" FROM {batch})',
        ),
        forbid_rows(
            "orders_in_every_split",
            "every split has ordered clicks, or none has",
            "sessions",
            f"splits_with_orders BETWEEN 1 AND {len(Split) - 1}",
            source="(SELECT count(DISTINCT split) FILTER (ordered_clicks > 0) "
            "AS splits_with_orders FROM {batch})",
            blocking=False,
        ),
    ),
    "offline_metrics": (
        not_empty("offline_metrics"),
        unique("one_row_per_metric", "offline_metrics", ["preference_id", "metric", "segment"]),
        forbid_rows(
            "every_preference_has_every_metric",
            "all preferences have the same metrics on every segment",
            "offline_metrics",
            "fewest < most",
            source="(SELECT segment, min(n) AS fewest, max(n) AS most FROM (SELECT segment, "
            "preference_id, count(DISTINCT metric) AS n FROM {batch} "
            "GROUP BY segment, preference_id) GROUP BY segment)",
        ),
        forbid_rows(
            "shares_between_0_and_1",
            "metrics that are shares are in [0, 1]",
            "offline_metrics",
            f"split_part(metric, '@', 1) IN ({_SHARE_METRICS}) "
            "AND value IS NOT NULL AND (value < 0 OR value > 1)",
        ),
        forbid_rows(
            "losses_not_negative",
            "losses are not negative",
            "offline_metrics",
            "cutoff IS NULL AND (value IS NULL OR value < 0 OR isnan(value))",
        ),
        forbid_rows(
            "preferences_on_the_simplex",
            "weights are not negative and sum to 1",
            "offline_metrics",
            "list_count(preference) < len(preference) OR list_min(preference) < 0 "
            "OR abs(list_sum(preference) - 1) > 1e-5",
        ),
        forbid_rows(
            "same_test_set_for_all_preferences",
            "all preferences are evaluated on the same targets",
            "offline_metrics",
            "sizes > 1 OR unknown > 0",
            source="(SELECT segment, count(DISTINCT n_targets) AS sizes, "
            "count(*) - count(n_targets) AS unknown FROM {batch} GROUP BY segment)",
        ),
    ),
    "experiment_log": (
        not_empty("impressions"),
        forbid_rows(
            "impressions_unique",
            "impression ids are unique",
            "impressions",
            "rows > 1 OR impression IS NULL",
            # only ids with a repeated hash are compared: a third of the time and memory
            source="(SELECT impression, count(*) AS rows FROM {batch} WHERE impression IS NULL OR "
            "hash(impression) IN (SELECT hash(impression) FROM {batch} GROUP BY ALL HAVING count(*) > 1)"
            " GROUP BY impression)",
        ),
        forbid_rows(
            "orders_follow_clicks",
            "ordered impressions are clicked and have units, others have none",
            "impressions",
            # unknown outcomes are null; the next rule checks that they are null in all rows
            "clicked IS NULL OR (ordered AND NOT clicked) IS TRUE OR (units < 0) IS TRUE "
            "OR (ordered <> (units > 0)) IS TRUE",
        ),
        forbid_rows(
            "orders_complete_or_absent",
            "either all impressions have orders and units, or none has",
            "impressions",
            "ordered NOT IN (0, rows) OR units NOT IN (0, ordered)",
            source="(SELECT count(*) AS rows, count(ordered) AS ordered, count(units) AS units "
            "FROM {batch})",
        ),
        forbid_rows(
            "users_in_one_group",
            "every user is in one group only",
            "impressions",
            "user IS NULL OR one <> other OR known < rows",
            source='(SELECT user, min("group") AS one, max("group") AS other, '
            'count(*) AS rows, count("group") AS known FROM {batch} GROUP BY user)',
        ),
        forbid_rows(
            "faulty_rows_within_limit",
            "at most experiment.max_faulty_share of the log's rows are faulty, or fewer than 10 (if the "
            "group differs from the assignment, check experiment.salt; 1 waives the limit)",
            "faulty_rows",
            "faulty >= 10 AND faulty > max_faulty_share * read",
        ),
    ),
    "group_kpis": (
        not_empty("group_kpis"),
        unique("one_row_per_kpi", "group_kpis", ["group", "kpi"]),
        allowed_values("kpis_known", "group_kpis", "kpi", Kpi),
        forbid_rows(
            "successes_within_trials",
            "no binary KPI has more successes than trials",
            "group_kpis",
            "trials < 0 OR successes < 0 OR (successes > trials AND kpi IN "
            f"({', '.join(repr(kpi.value) for kpi in Kpi if kpi.is_binary)}))",
        ),
        forbid_rows(
            "every_group_has_every_kpi",
            "every group has all KPIs, those of orders, units and revenue if the log has any",
            "group_kpis",
            "kpis <> all_kpis OR of_clicks < 2",
            source='(SELECT "group", count(DISTINCT kpi) AS kpis, '  # noqa: S608
            "(SELECT count(DISTINCT kpi) FROM {batch}) AS all_kpis, "
            f"count(DISTINCT kpi) FILTER (kpi IN ('{Kpi.CTR}', '{Kpi.CLICKS_PER_USER}')) AS of_clicks "
            'FROM {batch} GROUP BY "group")',
        ),
        unique("one_row_per_day_and_batch", "daily_totals", ["group", "day", "batch"]),
        forbid_rows(
            "daily_totals_consistent",
            "a day has impressions, no more clicks than impressions, and no more orders than clicks",
            "daily_totals",
            "impressions <= 0 OR clicks > impressions OR (orders > clicks) IS TRUE OR new_users > impressions",
        ),
        unique("one_row_per_kpi_and_batch", "returning_user_totals", ["group", "batch", "kpi"]),
        forbid_rows(
            "every_group_has_successes",
            "every group has clicks and orders",
            "group_kpis",
            "successes = 0",
            blocking=False,
        ),
    ),
}
