"""Times of every unit and zone, and amounts beyond 64 bits, with refunds."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import LogError
from pipeline.experiment.design.external_variants import Variant, VariantPlan
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.kpis.local_days import offsets_of
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.study import LogColumns, LogTime
from tests.pipeline.experiment.logs import (
    PLAN,
    TS,
    at,
    contents,
    impression,
    ingest,
    ingest_folder,
    logged_impression,
    outcomes,
    users_in,
)

MOMENT = datetime(2026, 3, 2, 10, 0, 4, 123_000, tzinfo=UTC)
MS = 1_772_445_604_123
EVENTS = {
    name: dtype
    for name, dtype in IMPRESSIONS.columns.items()
    if name not in {"clicked", "ordered", "units"}
}


def stored_times(folder):
    return [row[4] for row in contents(folder / "log.duckdb")["logged_impressions"]]


@pytest.mark.parametrize("time", [LogTime.MILLISECONDS, LogTime.ISO8601_UTC])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_timestamps_with_a_zone_are_read_under_every_setting(tmp_path, unit, zone, time):
    moment = pl.Series([MOMENT.astimezone(ZoneInfo(zone))], dtype=pl.Datetime(unit, zone))
    frame = pl.DataFrame([impression("x")], schema=IMPRESSIONS.columns)
    frame.with_columns(ts=moment).write_parquet(tmp_path / "a.parquet")

    ingest_folder(tmp_path, columns=LogColumns(time=time))

    assert stored_times(tmp_path) == [MS]


def test_timestamps_with_a_zone_need_no_mapping(tmp_path):
    frame = pl.DataFrame([impression("x")], schema=IMPRESSIONS.columns)
    moment = pl.Series([MOMENT], dtype=pl.Datetime("ns", "UTC"))
    frame.with_columns(ts=moment).write_parquet(tmp_path / "a.parquet")

    ingest_folder(tmp_path)

    assert stored_times(tmp_path) == [MS]


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
def test_timestamps_without_a_zone_need_a_setting_that_the_message_names(tmp_path, unit):
    frame = pl.DataFrame([impression("x")], schema=IMPRESSIONS.columns)
    naive = pl.Series([MOMENT.replace(tzinfo=None)], dtype=pl.Datetime(unit))
    frame.with_columns(ts=naive).write_parquet(tmp_path / "a.parquet")

    for time in (LogTime.MILLISECONDS, LogTime.ISO8601):
        with pytest.raises(LogError, match=r"ts is TIMESTAMP.*iso8601-utc or iso8601-local"):
            ingest_folder(tmp_path, columns=LogColumns(time=time))
    ingest_folder(tmp_path, columns=LogColumns(time=LogTime.ISO8601_UTC))
    assert stored_times(tmp_path) == [MS]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1772445604123", LogTime.MILLISECONDS),
        ("1772445604123.0", LogTime.MILLISECONDS),
        ("1772445604123.9", LogTime.MILLISECONDS),
        ("1772445604.123", LogTime.SECONDS),
        ("1772445604123456", LogTime.MICROSECONDS),
        ("1772445604123456.0", LogTime.MICROSECONDS),
        ("2026-03-02T11:00:04.123+01:00", LogTime.ISO8601),
        ("2026-03-02 10:00:04.123000 UTC", LogTime.ISO8601),  # BigQuery's CSV
        ("2026-03-02 11:00:04.123 +0100", LogTime.ISO8601),  # Snowflake's
        ("2026-03-02 10:00:04.123+00", LogTime.ISO8601),  # PostgreSQL's
        ("2026-03-02 10:00:04.123999", LogTime.ISO8601_UTC),
        ("2026-03-02 11:00:04.123", LogTime.ISO8601_LOCAL),
    ],
)
def test_times_in_text(tmp_path, text, time):
    frame = pl.DataFrame([impression("x")], schema=IMPRESSIONS.columns)
    frame.with_columns(ts=pl.lit(text)).write_csv(tmp_path / "a.csv")

    result = ingest_folder(tmp_path, columns=LogColumns(time=time), time_zone="Europe/Berlin")

    assert result.rejected == {}
    assert stored_times(tmp_path) == [MS]


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-03-29 01:59:59", "2026-03-29T00:59:59"),
        ("2026-03-29 03:00:00", "2026-03-29T01:00:00"),
        ("2026-10-25 01:59:59", "2026-10-24T23:59:59"),
        ("2026-10-25 03:00:00", "2026-10-25T02:00:00"),
    ],
)
def test_local_times_around_the_changes_of_the_clocks(tmp_path, local, utc):
    frame = pl.DataFrame([impression("x")], schema=IMPRESSIONS.columns)
    frame.with_columns(ts=pl.lit(local)).write_csv(tmp_path / "a.csv")

    ingest_folder(
        tmp_path, columns=LogColumns(time=LogTime.ISO8601_LOCAL), time_zone="Europe/Berlin"
    )

    expected = datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp() * 1000
    assert stored_times(tmp_path) == [expected]


def test_an_exponent_is_no_time(tmp_path):
    """``1.77245E+12`` has lost its seconds."""
    frame = pl.DataFrame([impression("x"), impression("y")], schema=IMPRESSIONS.columns)
    text = pl.Series(["1.77245E+12", str(TS)])
    frame.with_columns(ts=text).write_csv(tmp_path / "a.csv")

    assert ingest_folder(tmp_path).rejected == {"a field has the wrong type": 1}


def test_daily_totals_are_of_local_days(tmp_path):
    """Of impressions at 22:30 and 23:30 UTC before the clocks change, and on the next day in Berlin."""
    utc = ["2026-03-28T22:30", "2026-03-28T23:30", "2026-03-29T21:30", "2026-03-29T22:30"]
    times = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in utc]
    users = users_in("g1", 4)
    rows = [
        impression(text, user=user, ts=round(time.timestamp() * 1000))
        for text, user, time in zip(utc, users, times, strict=True)
    ]
    pl.DataFrame(rows, schema=IMPRESSIONS.columns).write_parquet(tmp_path / "a.parquet")

    ingest_folder(tmp_path, time_zone="Europe/Berlin")
    daily = aggregate(tmp_path / "log.duckdb", PLAN).daily_totals

    per_day = dict(daily.group_by("day").agg(pl.col("impressions").sum()).iter_rows())
    assert per_day == {date(2026, 3, 28): 1, date(2026, 3, 29): 2, date(2026, 3, 30): 1}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "UTC"])
def test_offsets_are_those_of_the_time_zone(zone):
    first = round(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    last = first + 365 * 86_400_000
    offsets = offsets_of(zone, first, last)

    for ts in range(first, last, 7 * 3_600_000 + 1):
        local = datetime.fromtimestamp(ts / 1000, ZoneInfo(zone))
        offset = next(value for end, value in offsets if ts < end)
        assert local.utcoffset().total_seconds() * 1000 == offset


MANY = VariantPlan(
    experiment="spring", groups=(Variant(name="g1", share=0.5), Variant(name="g2", share=0.5))
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("revenue", "unit"),
    [("500000.00", 100), ("9999999999", 1), ("2147483647", 1000), ("12345678.901", 1000)],
)
def test_sums_of_revenue_beyond_64_bits(tmp_path, revenue, unit):
    """5,400 users with one order of 500,000.00: Σ y² = 5,400 · (5 · 10⁷)² = 1.35 · 10¹⁹ > 2⁶³."""
    rows = [
        {
            "impression": f"x{n}",
            "user": f"u{n}",
            "group": f"g{n % 2 + 1}",
            "ts": TS + n,
            "clicked": 1,
            "ordered": 1,
            "units": 1,
            "revenue": revenue,
        }
        for n in range(10_800)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "a.csv")
    columns = LogColumns(revenue_unit=unit)

    result = ingest_folder(tmp_path, MANY, columns=columns)
    sums = aggregate(tmp_path / "log.duckdb", MANY)

    cents = int(float(revenue) * unit + 0.5)
    row = sums.group_kpis.filter(group="g1", kpi="revenue_per_impression").row(0, named=True)
    assert result.rejected == {}
    assert (row["trials"], row["successes"]) == (5_400, 5_400 * cents)
    assert row["sum_yy"] == float(5_400 * cents**2)
    assert row["standard_error"] == pytest.approx(0, abs=1e-6 * cents)
    assert sums.daily_totals["revenue"].sum() == 10_800 * cents


def test_units_of_31_bits_are_summed(tmp_path):
    write(tmp_path, clicks=[event("x")], orders=[order(2**31 - 1, 5, hours=n) for n in (2, 3, 4)])

    ingest_folder(tmp_path)
    kpis = aggregate(tmp_path / "log.duckdb", PLAN).group_kpis

    units = kpis.filter(kpi="units_per_impression", group="g1").row(0, named=True)
    assert units["successes"] == 3 * (2**31 - 1)
    assert units["sum_yy"] == float((3 * (2**31 - 1)) ** 2)


def test_units_beyond_31_bits_are_rejected_under_their_reason(tmp_path):
    line = f"x,{at(2)},9999999999"
    pl.DataFrame([logged_impression("x")], schema=EVENTS).write_parquet(
        tmp_path / "impressions.parquet"
    )
    pl.DataFrame([event("x")]).write_parquet(tmp_path / "clicks.parquet")
    (tmp_path / "orders.csv").write_text(f"impression,ts,units\n{line}\n")

    assert ingest_folder(tmp_path).rejected == {"a field has the wrong type": 1}


def event(name, hours=1.0):
    return {"impression": name, "ts": at(hours)}


def order(units, revenue, hours=2.0):
    return event("x", hours) | {"units": units, "revenue": revenue}


def write(folder, clicks, orders):
    pl.DataFrame([logged_impression("x")], schema=EVENTS).write_parquet(
        folder / "impressions.parquet"
    )
    pl.DataFrame(clicks).write_parquet(folder / "clicks.parquet")
    schema = {"impression": pl.String, "ts": pl.Int64, "units": pl.Int64, "revenue": pl.Int64}
    pl.DataFrame(orders, schema=schema).write_parquet(folder / "orders.parquet")


@pytest.mark.parametrize(
    ("orders", "outcome", "rejected"),
    [
        ([order(3, 900), order(-1, -300, 3)], (True, True, 2, 600), {}),
        ([order(3, 900), order(0, -200, 3)], (True, True, 3, 700), {}),
        ([order(1, 500), order(-1, -500, 3)], (True, False, 0, None), {}),
        ([order(1, 500), order(1, 500, 3), order(-1, -500, 4)], (True, True, 1, 500), {}),
        ([order(-1, -500)], (True, False, 0, None), {"refund without its order": 1}),
        (
            [order(1, 500), order(-2, -900, 3)],
            (True, True, 1, 500),
            {"refund larger than its order": 1},
        ),
        (
            [order(2, 500), order(0, -501, 3)],
            (True, True, 2, 500),
            {"refund larger than its order": 1},
        ),
        (
            [order(1, 500), order(-1, -500, 26)],  # the click is at 1 h, the window 24 h
            (True, True, 1, 500),
            {"refund after the attribution window": 1},
        ),
        ([order(1, 500), order(-1, 500, 3)], (True, True, 1, 500), {"fewer than one unit": 1}),
        ([order(1, 500), order(0, 0, 3)], (True, True, 1, 500), {"fewer than one unit": 1}),
        ([order(1, 500), order(1, -500, 3)], (True, True, 1, 500), {"negative revenue": 1}),
    ],
)
def test_refunds_net_within_an_order(tmp_path, orders, outcome, rejected):
    write(tmp_path, [event("x")], orders)

    result = ingest_folder(tmp_path)

    assert outcomes(tmp_path / "log.duckdb")["x"] == outcome
    assert result.rejected == rejected


def test_ids_that_became_floats_are_refused_with_the_remedy(tmp_path):
    frame = pl.DataFrame([impression("x", user="7")], schema=IMPRESSIONS.columns)
    frame.with_columns(pl.col("user").cast(pl.Float64)).write_parquet(tmp_path / "a.parquet")

    with pytest.raises(LogError, match=r"user is DOUBLE, expected strings or integers .*cast them"):
        ingest([tmp_path / "a.parquet"], PLAN, tmp_path / "log.duckdb", rules=LogRules())
