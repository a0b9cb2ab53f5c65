"""Logs that lose outcomes in some groups: the diagnostic fails, and a sound log of the same kind passes.

Four variants with 1,500 users, 7 impressions each, and the same CTR of 0.25; a click comes 0 to 4
seconds after its impression, an order after its click.
"""

from dataclasses import replace

import duckdb
import numpy as np
import polars as pl
import pytest

from pipeline.core.errors import LogError
from pipeline.experiment.design.external_variants import Variant, VariantPlan
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.inference.diagnostics.lost_outcomes import loss_test, lost_outcomes
from pipeline.reporting.text.diagnostics import check_numbers
from pipeline.study import LogColumns
from tests.pipeline.experiment.logs import TS, ingest

NAMES = ("a", "b", "c", "d")
PLAN = VariantPlan(
    experiment="spring", groups=tuple(Variant(name=name, share=0.25) for name in NAMES)
)
USERS, EACH = 1_500, 7
LATE = pl.col("group").is_in(["a", "b"])


def log_of(ctr=(0.25, 0.25, 0.25, 0.25), seed=1):
    """Impressions, clicks and orders, with the group of every row."""
    rng = np.random.default_rng(seed)
    impressions = pl.DataFrame(
        {
            "impression": [f"x{n}" for n in range(4 * USERS * EACH)],
            "user": [f"u{n // EACH}" for n in range(4 * USERS * EACH)],
            "group": [name for name in NAMES for _ in range(USERS * EACH)],
            "item": [f"i{n % 10}" for n in range(4 * USERS * EACH)],
            "ts": TS + rng.integers(0, 10 * 86_400_000, 4 * USERS * EACH),
        }
    ).with_columns(experiment=pl.lit("spring"))
    chance = np.repeat(ctr, USERS * EACH)
    clicks = impressions.filter(pl.Series(rng.random(impressions.height) < chance))
    clicks = clicks.with_columns(ts=pl.col("ts") + rng.integers(0, 4_000, clicks.height))
    orders = clicks.filter(pl.Series(rng.random(clicks.height) < 0.2))
    orders = orders.with_columns(ts=pl.col("ts") + 60_000, units=1, revenue=50_00)
    return {"impressions": impressions, "clicks": clicks, "orders": orders}


ID_COLUMNS = {
    "impressions": ["experiment", "impression", "user", "group", "ts"],
    "clicks": ["impression", "ts"],
    "orders": ["impression", "ts", "units", "revenue"],
}
TOUCH_COLUMNS = {
    "impressions": ["experiment", "impression", "user", "group", "item", "ts"],
    "clicks": ["user", "item", "ts"],
    "orders": ["user", "item", "ts", "units", "revenue"],
}
BY_ID = (ID_COLUMNS, LogRules())
BY_TOUCH = (TOUCH_COLUMNS, LogRules(columns=LogColumns()))


def diagnosed(folder, log, kind=BY_ID, **rules):
    """The diagnostic, and the ingestion, of a log written as CSV."""
    columns, basic = kind
    files = []
    for table, rows in log.items():
        files.append(folder / f"{table}.csv")
        rows.select(columns[table]).write_csv(files[-1])
    database = folder / "log.duckdb"
    result = ingest(files, PLAN, database, rules=replace(basic, **rules))
    fates = read_row_fates(database)
    assert fates.fates["rows"].sum() == sum(rows.height for rows in log.values())
    return lost_outcomes(fates), result


def later(log, table, seconds, where):
    """The log with the rows of one table stamped some seconds later, or earlier."""
    shifted = pl.when(where).then(pl.col("ts") + 1000 * seconds).otherwise("ts")
    return log | {table: log[table].with_columns(ts=shifted.cast(pl.Int64))}


@pytest.fixture(scope="module")
def log():
    return log_of()


@pytest.mark.parametrize("kind", [BY_ID, BY_TOUCH], ids=["by-id", "by-last-touch"])
def test_a_sound_log_passes(log, tmp_path, kind):
    found, result = diagnosed(tmp_path, log, kind)

    assert found.passed
    assert found.lost == 0
    assert result.rejected.keys() <= {"repeated click on an impression"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BY_ID, BY_TOUCH], ids=["by-id", "by-last-touch"])
def test_one_variant_whose_impressions_are_stamped_six_seconds_late(log, tmp_path, kind):
    found, _ = diagnosed(tmp_path, later(log, "impressions", 6, pl.col("group") == "a"), kind)

    assert not found.passed
    assert found.tables["clicks"].p_value < 1e-100
    assert found.tables["clicks"].shares["a"] > 0.5
    assert max(found.tables["clicks"].shares[name] for name in "bcd") == 0


def test_orders_stamped_before_their_click(log, tmp_path):
    early = later(log, "orders", -61, pl.col("group") == "d")

    found, result = diagnosed(tmp_path, early)

    assert not found.tables["orders"].passed
    assert result.rejected["order before its click"] == early["orders"].filter(group="d").height


@pytest.mark.slow
def test_unreadable_times_in_two_variants(log, tmp_path):
    text = pl.when(LATE).then(pl.lit("n/a")).otherwise(pl.col("ts").cast(pl.String))
    broken = log | {"clicks": log["clicks"].with_columns(ts=text)}

    found, _ = diagnosed(tmp_path, broken)

    assert not found.passed
    assert found.tables["clicks"].shares == {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.0}


@pytest.mark.slow
def test_times_as_floats_are_read(log, tmp_path):
    text = pl.when(LATE).then(pl.format("{}.0", "ts")).otherwise(pl.col("ts").cast(pl.String))
    floats = log | {"clicks": log["clicks"].with_columns(ts=text)}

    found, result = diagnosed(tmp_path, floats)

    assert (found.passed, found.lost, result.rejected) == (True, 0, {})


def test_clicks_whose_impression_is_missing_in_one_variant(log, tmp_path):
    """By the impression's id, orphans have no group; the total tells, and the user where it is known."""
    kept = (pl.col("group") != "b") | (pl.int_range(pl.len()) % 10 > 0)
    lossy = log | {"impressions": log["impressions"].filter(kept)}

    found, _ = diagnosed(tmp_path, lossy)

    orphans = found.unknown_group
    assert not found.passed
    assert orphans == found.lost > 200


def test_orphans_have_the_group_of_their_user(log, tmp_path):
    columns = ID_COLUMNS | {"clicks": ["impression", "user", "ts"]}
    lost = (pl.col("group") == "b") & (pl.int_range(pl.len()) % 4 == 0)
    names = pl.when(lost).then(pl.format("{}-lost", "impression")).otherwise("impression")
    lossy = log | {"clicks": log["clicks"].with_columns(impression=names)}

    found, _ = diagnosed(tmp_path, lossy, (columns, LogRules(columns=LogColumns())))

    assert found.tables["clicks"].shares["b"] == pytest.approx(0.25, abs=0.01)
    assert found.unknown_group < 20


@pytest.mark.slow
def test_duplicate_clicks_in_one_variant(log, tmp_path):
    again = log["clicks"].filter(group="c").gather_every(8)
    doubled = log | {"clicks": pl.concat([log["clicks"], again])}

    found, result = diagnosed(tmp_path, doubled)

    assert result.rejected == {"duplicate click": again.height}
    assert not found.tables["clicks"].passed


@pytest.mark.slow
def test_repeated_clicks_are_no_loss(log, tmp_path):
    """A user who clicks a list twice is one click, and more frequent on better lists."""
    again = log["clicks"].filter(group="c").with_columns(ts=pl.col("ts") + 500)

    found, result = diagnosed(tmp_path, log | {"clicks": pl.concat([log["clicks"], again])})

    assert result.rejected == {"repeated click on an impression": again.height}
    assert found.passed


@pytest.mark.slow
def test_late_clicks_in_one_variant(log, tmp_path):
    found, _ = diagnosed(
        tmp_path,
        later(
            log, "clicks", 3 * 86_400, (pl.col("group") == "a") & (pl.int_range(pl.len()) % 9 == 0)
        ),
    )

    assert not found.tables["clicks"].passed
    assert found.lost == 0  # they are counted by the test only: the window is a choice


@pytest.mark.slow
@pytest.mark.parametrize(("tolerance", "passes"), [(0, False), (10_000, True)])
@pytest.mark.parametrize("kind", [BY_ID, BY_TOUCH], ids=["by-id", "by-last-touch"])
def test_a_clock_that_differs_can_be_tolerated(log, tmp_path, kind, tolerance, passes):
    skewed = later(log, "impressions", 6, pl.lit(value=True))

    found, result = diagnosed(tmp_path, skewed, kind, tolerance_ms=tolerance)

    assert found.passed is passes
    assert ("click before its impression" in result.rejected) is not passes


@pytest.mark.slow
def test_a_different_ctr_does_not_fail_although_a_few_clicks_are_late(tmp_path):
    log = log_of(ctr=(0.15, 0.2, 0.3, 0.4))
    few = later(log, "clicks", 3 * 86_400, pl.int_range(pl.len()) % 20 == 0)

    found, _ = diagnosed(tmp_path, few)

    assert found.passed
    assert all(0.03 < share < 0.07 for share in found.tables["clicks"].shares.values())


@pytest.mark.slow
def test_clicks_of_users_outside_the_experiment_are_not_lost(log, tmp_path):
    """A user in two groups is excluded with all rows."""
    crossing = log["impressions"].head(1).with_columns(group=pl.lit("d"), impression=pl.lit("y"))

    found, result = diagnosed(
        tmp_path, log | {"impressions": pl.concat([log["impressions"], crossing])}
    )

    clicks = log["clicks"].filter(user="u0").height
    assert found.passed
    assert result.rejected["user in two groups"] == EACH + 1
    assert result.rejected.get("click of an excluded user", 0) == clicks


@pytest.mark.slow
def test_the_funnel_counts_every_row_by_group(log, tmp_path):
    diagnosed(tmp_path, later(log, "impressions", 6, pl.col("group") == "a"))

    funnel = read_row_fates(tmp_path / "log.duckdb").funnel()

    shown = funnel.filter(table="impressions")
    assert shown.select("group", "read", "usable", "attributed").rows() == [
        (name, USERS * EACH, USERS * EACH, USERS * EACH) for name in NAMES
    ]
    clicks = funnel.filter(table="clicks", group="a").row(0, named=True)
    assert clicks["read"] == clicks["usable"] == log["clicks"].filter(group="a").height
    assert clicks["attributed"] < clicks["read"] / 2


def sums_of(shares, *, users=2_000, rows=5, cluster=0.0, seed=1):
    """The sums of groups with these shares of lost rows, correlated within users."""
    rng = np.random.default_rng(seed)
    found = []
    for number, share in enumerate(shares):
        own = rng.random(users)[:, None] < share
        drawn = rng.random((users, rows)) < share
        lost = np.where(rng.random((users, 1)) < cluster, own, drawn).sum(axis=1)
        found.append(
            {
                "group": f"g{number}",
                "users": users,
                "rows": users * rows,
                "lost": int(lost.sum()),
                "sum_nn": float(users * rows**2),
                "sum_nr": float((rows * lost).sum()),
                "sum_rr": float((lost**2).sum()),
            }
        )
    return pl.DataFrame(found)


def test_chi_squared_of_independent_rows_by_hand():
    """10 of 100 and 30 of 100 rows: Σ (observed - expected)² / (n p (1 - p)) = 2 · 10² / 16."""
    rows = [("a", 100, 100, 10, 100.0, 10.0, 10.0), ("b", 100, 100, 30, 100.0, 30.0, 30.0)]
    names = ("group", "users", "rows", "lost", "sum_nn", "sum_nr", "sum_rr")

    found = loss_test(pl.DataFrame(rows, schema=names, orient="row"))

    assert found.design_effect == pytest.approx(1)
    assert found.chi2 == pytest.approx(12.5)
    assert found.shares == {"a": 0.1, "b": 0.3}


@pytest.mark.parametrize("cluster", [0.0, 0.5, 1.0])
def test_equal_shares_fail_no_more_often_than_the_level(cluster):
    p_values = np.array(
        [loss_test(sums_of([0.02] * 4, cluster=cluster, seed=n)).p_value for n in range(300)]
    )

    assert (p_values < 0.05).mean() < 0.09  # 5% and three binomial standard errors


def test_a_difference_below_one_percentage_point_is_no_reason_to_block():
    found = loss_test(sums_of([0.004, 0.012], users=200_000))

    assert found.p_value < 1e-9
    assert found.passed


def test_one_user_alone_does_not_fail_a_group():
    """A user with 300 lost rows among users with 5 rows that are never lost."""
    sums = sums_of([0.0, 0.0])
    more = {"users": 2_001, "rows": 10_300, "lost": 300, "sum_rr": 9e4, "sum_nr": 9e4}
    bot = pl.DataFrame([sums.row(1, named=True) | more | {"sum_nn": 5e4 + 9e4}])

    assert loss_test(pl.concat([sums.head(1), bot], how="vertical_relaxed")).passed


@pytest.mark.slow
def test_impressions_that_are_logged_twice_in_one_variant(log, tmp_path):
    again = log["impressions"].filter(group="b").gather_every(10)
    doubled = log | {"impressions": pl.concat([log["impressions"], again])}

    found, result = diagnosed(tmp_path, doubled)

    assert result.rejected == {"duplicate impression": again.height}
    assert not found.tables["impressions"].passed
    with duckdb.connect(str(tmp_path / "log.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM impressions").fetchone() == (
            log["impressions"].height,
        )


SILENT = pl.col("group") == "d"


@pytest.mark.slow
@pytest.mark.parametrize("outcome", ["clicks", "orders"])
@pytest.mark.parametrize("kind", [BY_ID, BY_TOUCH], ids=["by-id", "by-last-touch"])
def test_a_group_without_any_click_or_order(log, tmp_path, kind, outcome):
    found, _ = diagnosed(tmp_path, log | {outcome: log[outcome].filter(~SILENT)}, kind)

    assert not found.passed
    (one,) = found.silent
    assert (one.group, one.outcome) == ("d", outcome)
    # a quarter of the impressions, at the rate of the other three quarters
    others = log[outcome].filter(~SILENT)
    assert one.expected == pytest.approx(others["impression"].n_unique() / 3, rel=0.01)
    assert f"d has no {outcome}, and about" in check_numbers(found)


def test_a_group_without_any_click_in_rows_of_impressions(log, tmp_path):
    clicked = log["clicks"].filter(~SILENT)["impression"].implode()
    rows = log["impressions"].with_columns(clicked=pl.col("impression").is_in(clicked))
    rows.drop("item").write_csv(tmp_path / "impressions.csv")
    database = tmp_path / "log.duckdb"
    ingest([tmp_path / "impressions.csv"], PLAN, database, rules=LogRules(columns=LogColumns()))

    found = lost_outcomes(read_row_fates(database))

    assert not found.passed
    assert [(one.group, one.outcome) for one in found.silent] == [("d", "clicks")]


@pytest.mark.slow
def test_a_group_without_orders_where_few_are_expected_is_not_silent(log, tmp_path):
    few = log["orders"].head(80)  # all of the group a: a third of them, 27, expected in each other

    found, _ = diagnosed(tmp_path, log | {"orders": few})

    assert found.passed
    assert found.silent == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        ("clicks", "user", lambda ids: ids.str.to_uppercase()),
        ("clicks", "user", lambda ids: ids + " "),
        ("clicks", "item", lambda ids: pl.lit("00") + ids),
        ("orders", "user", lambda ids: pl.lit("0") + ids),
        ("orders", "item", lambda ids: ids.str.to_uppercase()),
    ],
)
@pytest.mark.parametrize("where", [True, SILENT], ids=["all", "one-group"])
def test_events_whose_ids_are_written_in_another_way(log, tmp_path, change, where):
    table, column, how = change
    ids = pl.when(where).then(how(pl.col(column))).otherwise(column).alias(column)

    found, result = diagnosed(tmp_path, log | {table: log[table].with_columns(ids)}, BY_TOUCH)

    reason = f"{table[:-1]} whose user or item is written in another way"
    lost = log[table] if where is True else log[table].filter(where)
    assert not found.passed
    assert result.rejected[reason] == pytest.approx(lost.height, rel=0.02)  # less repetitions
    assert result.examples[reason].startswith(f"{table}.csv: user ")
    shares = found.tables[table].shares
    assert shares["d"] == pytest.approx(1, abs=0.02)
    assert shares["a"] == pytest.approx(float(where is True), abs=0.02)


@pytest.mark.slow
def test_ids_that_are_in_no_other_form_in_the_log_are_no_loss(log, tmp_path):
    elsewhere = log["clicks"].with_columns(user=pl.lit("x") + pl.col("user"))

    found, result = diagnosed(
        tmp_path, log | {"clicks": pl.concat([log["clicks"], elsewhere])}, BY_TOUCH
    )

    assert found.passed
    assert result.rejected["click without an earlier impression of the user"] == elsewhere.height


@pytest.mark.slow
def test_rows_of_a_misspelt_group_are_lost_rows_of_their_user_s_group(log, tmp_path):
    """2% of the impressions of d are of a group 'd '; their clicks have no usable impression."""
    number = pl.col("impression").str.slice(1).cast(pl.Int64)
    misspelt = pl.when(SILENT & (number % 50 == 0)).then(pl.lit("d ")).otherwise("group")

    found, _ = diagnosed(
        tmp_path, log | {"impressions": log["impressions"].with_columns(group=misspelt)}
    )

    assert not found.passed
    assert found.tables["impressions"].shares == pytest.approx({"a": 0, "b": 0, "c": 0, "d": 0.02})
    assert found.tables["clicks"].shares["d"] == pytest.approx(0.02, abs=0.006)
    assert found.unknown_group == 0


def test_a_database_of_an_older_version_is_one_line_with_the_command(tmp_path):
    database = tmp_path / "log.duckdb"
    duckdb.connect(str(database)).close()

    with pytest.raises(LogError, match=r"row_fates.*rebuild it: paretoscope ingest"):
        read_row_fates(database)
