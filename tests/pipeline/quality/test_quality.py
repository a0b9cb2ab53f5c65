"""Every rule fails on tables that break it, nulls included, and passes on others."""

from datetime import date

import duckdb
import polars as pl
import pytest

from pipeline.core.contracts import ITEMS, OFFLINE_METRICS, SESSIONS
from pipeline.core.errors import QualityError
from pipeline.experiment.kpis.contracts import DAILY_TOTALS, GROUP_KPIS, RETURNING_USER_TOTALS
from pipeline.quality.expectation import forbid_rows
from pipeline.quality.expectations import validate
from pipeline.quality.runner import check_tables, enforce
from pipeline.quality.suites import RULES

CONTRACTS = {
    c.name: c
    for c in (SESSIONS, ITEMS, OFFLINE_METRICS, GROUP_KPIS, DAILY_TOTALS, RETURNING_USER_TOTALS)
}
TEXT_IDS = {"sessions": {"session": pl.String}, "items": {"item": pl.String}}
SCHEMAS = {name: c.schema | TEXT_IDS.get(name, {}) for name, c in CONTRACTS.items()}
TS = 1_757_000_000_000
NAN = float("nan")


def session(name, split, day, **changes):
    times = {"first_ts": TS + 86_400_000 * day, "last_ts": TS + 86_400_000 * day + 60_000}
    clicks = {"clicks": 2, "carted_clicks": 0, "ordered_clicks": 1}
    return {"session": name, "split": split, **times, **clicks} | changes


def metric(name="recall", preference_id="p00", **changes):
    return {
        "preference_id": preference_id,
        "preference": [0.25, 0.75],
        "metric": name,
        "cutoff": None if name.endswith("loss") else 20,
        "segment": "all",
        "value": 0.4,
        "standard_error": None,
        "n_targets": 100,
        "n_sessions": 50,
        "higher_is_better": not name.endswith("loss"),
    } | changes


def kpi(name, **changes):
    sums = {"trials": 10, "successes": 4, "rate": 0.4, "standard_error": 0.1, "users": 10}
    pairs = {"sum_mm": 10, "sum_my": 4, "sum_yy": 4}
    return {"group": "g1", "preference_id": "p00", "kpi": name, **sums, **pairs} | changes


def day(batch, **changes):
    sums = {"new_users": 2, "impressions": 4, "clicks": 3, "orders": 1, "units": 5, "revenue": None}
    return {"group": "g1", "day": date(2025, 10, 1), "batch": batch, **sums} | changes


def returning(**changes):
    sums = {"users": 2, "trials": 4, "first_day_successes": 3, "later_successes": 2.5}
    return {"group": "g1", "batch": 0, "kpi": "ctr", **sums} | changes


TRAIN, VALIDATION, TEST = SPLITS = [
    session("s1", "train", 0),
    session("s2", "validation", 1),
    session("s3", "test", 2),
]
ITEM_A, ITEM_B = [{"index": n, "item": item, "train_clicks": 5} for n, item in enumerate("ab")]
METRICS = [
    metric("recall", value=1.0),
    metric("order_density", value=0.0),
    metric("mrr", value=None),  # undefined: no target within the cutoff
    metric("click_loss", value=7.5),
    metric("novelty", value=9.5),
    metric("recall", segment="session_length=1", n_targets=40),
    *(
        metric(name, "p01", preference=[1.0, 0.0])
        for name in ("recall", "order_density", "mrr", "click_loss", "novelty")
    ),
    metric("recall", "p01", preference=[1.0, 0.0], segment="session_length=1", n_targets=40),
]
CTR, CVR, ORDERS_PER_IMPRESSION, *OTHERS = KPIS = [
    kpi("ctr"),
    kpi("cvr"),
    kpi("orders_per_impression"),
    kpi("units_per_impression", successes=12),  # with 10 impressions; units may exceed them
    kpi("clicks_per_user"),
    kpi("orders_per_user"),
    kpi("units_per_user", successes=12),
]
GOOD = {
    "sessions": {"sessions": SPLITS, "items": [ITEM_B, ITEM_A]},
    "offline_metrics": {"offline_metrics": METRICS},
    "group_kpis": {
        "group_kpis": KPIS,
        "daily_totals": [day(0), day(1, new_users=0)],
        "returning_user_totals": [returning(), returning(kpi="cvr")],
    },
}

BAD = [
    ("sessions", [*SPLITS, session("s1", "test", 3)], {"sessions_unique_to_a_split": 1}),
    ("sessions", [*SPLITS, session("s4", "holdout", 3)], {"splits_known": 1}),
    ("sessions", [*SPLITS, session("s4", "test", 3, clicks=1)], {"sessions_have_two_clicks": 1}),
    (
        "sessions",
        [
            *SPLITS,
            session("s4", "test", 3, ordered_clicks=3),
            session("s5", "test", 3, ordered_clicks=-1),
            session("s6", "test", 3, carted_clicks=3),
            session("s7", "test", 3, carted_clicks=-1),
        ],
        {"ordered_clicks_within_clicks": 4},
    ),
    ("sessions", [*SPLITS, session("s4", "validation", 0)], {"splits_do_not_overlap_in_time": 1}),
    ("sessions", [*SPLITS, session("s4", "test", 1)], {"splits_do_not_overlap_in_time": 1}),
    (
        "sessions",
        [TRAIN, TEST],
        {"splits_do_not_overlap_in_time": 1, "orders_in_every_split": 1},
    ),
    ("sessions", [TRAIN, VALIDATION | {"ordered_clicks": 0}, TEST], {"orders_in_every_split": 1}),
    ("items", [ITEM_A, ITEM_B | {"item": "a"}], {"items_unique": 1}),
    ("items", [ITEM_A, ITEM_B | {"index": 2}], {"item_index_complete": 1}),
    ("items", [ITEM_A, ITEM_B | {"index": 0}], {"item_index_complete": 1}),
    ("offline_metrics", [], {"offline_metrics_not_empty": 0}),
    ("offline_metrics", [metric(), metric()], {"one_row_per_metric": 1}),
    (
        "offline_metrics",
        [metric(segment="day=2025-01-01"), metric("mrr", segment="day=2025-01-01", n_targets=3)],
        {"same_test_set_for_all_preferences": 1},
    ),
    (
        "offline_metrics",
        [metric(), metric("mine"), metric(preference_id="p01")],
        {"every_preference_has_every_metric": 1},
    ),
    (
        "offline_metrics",
        [metric("recall", f"p{n}", value=value) for n, value in enumerate([1.01, -0.01, NAN])],
        {"shares_between_0_and_1": 3},
    ),
    (
        "offline_metrics",
        [metric("click_loss", f"p{n}", value=value) for n, value in enumerate([-0.1, NAN, None])],
        {"losses_not_negative": 3},
    ),
    (
        "offline_metrics",
        [
            metric("recall", f"p{n}", preference=preference)
            for n, preference in enumerate([[0.5, 0.6], [-0.5, 1.5], [1.0, None], [1.0, NAN], []])
        ],
        {"preferences_on_the_simplex": 5},
    ),
    (
        "offline_metrics",
        [metric(), metric("mrr", n_targets=99)],
        {"same_test_set_for_all_preferences": 1},
    ),
    ("group_kpis", [], {"group_kpis_not_empty": 0}),
    ("group_kpis", [*KPIS, CTR], {"one_row_per_kpi": 1}),
    ("group_kpis", [*KPIS, kpi("revenue")], {"kpis_known": 1}),
    (
        "group_kpis",
        [
            kpi("ctr", successes=11),
            kpi("cvr", successes=-1),
            kpi("orders_per_impression", trials=-1),
            *OTHERS,
        ],
        {"successes_within_trials": 3},
    ),
    ("group_kpis", [CTR, CVR, ORDERS_PER_IMPRESSION], {"every_group_has_every_kpi": 1}),
    (
        "group_kpis",
        [*KPIS, *(row | {"group": "g2"} for row in [*KPIS, kpi("revenue_per_user")])],
        {"every_group_has_every_kpi": 1},
    ),
    (
        "group_kpis",
        [CTR, CVR | {"successes": 0}, ORDERS_PER_IMPRESSION, *OTHERS],
        {"every_group_has_successes": 1},
    ),
    ("daily_totals", [day(0), day(0)], {"one_row_per_day_and_batch": 1}),
    ("returning_user_totals", [returning(), returning()], {"one_row_per_kpi_and_batch": 1}),
    (
        "daily_totals",
        [day(0, impressions=0), day(1, clicks=5), day(2, orders=4), day(3, new_users=5)],
        {"daily_totals_consistent": 4},
    ),
]
"""A table, its bad rows, and the number of rows that break each rule."""

ARTIFACT_OF = {table: artifact for artifact, tables in GOOD.items() for table in tables}

NO_FIELD = {
    "sessions": [
        "sessions_unique_to_a_split",
        "splits_known",
        "sessions_have_two_clicks",
        "ordered_clicks_within_clicks",
        "splits_do_not_overlap_in_time",
    ],
    "items": ["items_unique", "item_index_complete"],
    "offline_metrics": [
        "one_row_per_metric",
        "losses_not_negative",
        "preferences_on_the_simplex",
        "same_test_set_for_all_preferences",
    ],
    "group_kpis": [
        "one_row_per_kpi",
        "kpis_known",
        "successes_within_trials",
        "every_group_has_every_kpi",
        "every_group_has_successes",
    ],
    "daily_totals": ["one_row_per_day_and_batch", "daily_totals_consistent"],
    "returning_user_totals": ["one_row_per_kpi_and_batch"],
}
"""The rules that a row of nulls breaks, by table."""


COVERED_BELOW = {"item_attributes_cover_the_catalogue"}
LIMITS = {"attributes_coverage": 1.0}


def check(folder, artifact, limits=LIMITS, **changed):
    """Results of an artifact's rules on its good tables with some tables replaced."""
    files = {}
    for table, rows in (GOOD[artifact] | changed).items():
        files[table] = folder / f"{table}.parquet"
        pl.DataFrame(rows, schema=SCHEMAS[table]).write_parquet(files[table])
    return check_tables(artifact, files, limits)


def broken(outcomes):
    return {outcome.rule.name for outcome in outcomes if not outcome.passed}


@pytest.mark.parametrize("artifact", GOOD)
def test_a_good_table_passes_all_rules(tmp_path, artifact):
    outcomes = check(tmp_path, artifact)

    assert [outcome.rule for outcome in outcomes] == list(RULES[artifact])
    assert broken(outcomes) == set()


@pytest.mark.parametrize(
    ("table", "rows", "counts"), BAD, ids=[f"{n}-{'+'.join(bad[2])}" for n, bad in enumerate(BAD)]
)
def test_a_bad_table_breaks_its_rules_only(tmp_path, table, rows, counts):
    outcomes = check(tmp_path, ARTIFACT_OF[table], **{table: rows})

    assert {o.rule.name: o.unexpected for o in outcomes if not o.passed} == counts
    assert all(len(outcome.sample) == outcome.unexpected for outcome in outcomes)


def test_every_rule_has_a_bad_table():
    for artifact in GOOD:
        covered = COVERED_BELOW & {rule.name for rule in RULES[artifact]}
        covered |= {name for table, _, bad in BAD if ARTIFACT_OF[table] == artifact for name in bad}

        assert covered == {rule.name for rule in RULES[artifact]}


@pytest.mark.parametrize(("share", "is_enough"), [(1.0, True), (0.9, True), (0.89, False)])
def test_a_low_share_of_items_with_attributes_is_reported(tmp_path, share, is_enough):
    outcomes = check(tmp_path, "sessions", limits={"attributes_coverage": share})

    expected = set() if is_enough else {"item_attributes_cover_the_catalogue"}
    assert broken(enforce(outcomes)) == expected


@pytest.mark.parametrize("table", NO_FIELD)
def test_a_row_of_nulls_breaks_every_rule_on_a_field(tmp_path, table):
    artifact = ARTIFACT_OF[table]
    nothing = dict.fromkeys(SCHEMAS[table])

    outcomes = check(tmp_path, artifact, **{table: [*GOOD[artifact][table], nothing]})

    assert broken(outcomes) == set(NO_FIELD[table])


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        ("carted_clicks", "ordered_clicks_within_clicks"),
        ("ordered_clicks", "ordered_clicks_within_clicks"),
        ("last_ts", "splits_do_not_overlap_in_time"),
    ],
)
def test_a_session_with_a_null_breaks_the_rule_on_the_field(tmp_path, column, rule):
    rows = [*SPLITS, session("s4", "test", 3) | {column: None}]

    assert broken(check(tmp_path, "sessions", sessions=rows)) == {rule}


def test_a_rule_reads_its_table_once():
    connection = duckdb.connect()
    connection.execute("CREATE TABLE numbers AS FROM range(3) AS t(n)")
    connection.execute("CREATE SEQUENCE reads")
    source = "(SELECT n, nextval('reads') AS read FROM {batch})"
    rule = forbid_rows(
        "small", "numbers are below 2", "numbers", "n >= 2 OR read > 3", source=source
    )

    [outcome] = validate((rule,), connection)

    assert (outcome.unexpected, outcome.sample) == (1, ("n = 2, read = 3",))
    assert connection.execute("SELECT nextval('reads')").fetchone() == (4,)


def test_a_rule_that_cannot_run_is_named():
    rule = forbid_rows("small", "numbers are below 2", "numbers", "n >= 2")

    with pytest.raises(QualityError, match=r"check small could not run: .*numbers"):
        validate((rule,), duckdb.connect())
