"""Times without a zone are read in dataset.generic.time_zone, also when clocks change."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from pipeline.core.errors import StudyError
from pipeline.datasets.dry_run import inspect_data
from pipeline.sessions.days import events_by_day
from pipeline.study import DatasetConfig, DatasetFormat, GenericLayout

CLOCKS = {
    "2025-09-01 00:30:00": "2025-08-31 22:30",
    "2025-12-01 00:30:00": "2025-11-30 23:30",
    "2025-10-26 02:30:00": "2025-10-26 00:30",  # occurs twice; the first
    "2025-10-26 03:00:00": "2025-10-26 02:00",
    "2025-03-30 01:59:59": "2025-03-30 00:59:59",
    "2025-03-30 02:30:00": "2025-03-30 01:30",  # is skipped; with the offset before
    "2025-03-30 03:00:00": "2025-03-30 01:00",
}
"""What clocks in Berlin show, and the time in UTC."""


def dataset(unit, zone="Europe/Berlin"):
    layout = GenericLayout(session="s", item="i", time="t", time_unit=unit, time_zone=zone)
    return DatasetConfig(format=DatasetFormat.GENERIC, path="in the test", generic=layout)


def write(file, times):
    if file.suffix == ".csv":
        file.write_text("s,i,t\n" + "".join(f"a,b,{time}\n" for time in times))
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps({"s": "a", "i": "b", "t": t}) + "\n" for t in times))
    else:
        moments = [datetime.fromisoformat(time) for time in times]
        pl.DataFrame({"s": "a", "i": "b", "t": moments}).write_parquet(file)
    return file


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("unit", ["iso8601-local", "%Y-%m-%d %H:%M:%S"])
def test_a_clock_shows_one_time(load, tmp_path, suffix, unit):
    file = write(tmp_path / f"log.{suffix}", CLOCKS)

    events = load(dataset(unit), file).events

    expected = [
        round(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() * 1000)
        for time in CLOCKS.values()
    ]
    assert events["ts"].to_list() == sorted(expected)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("unit", "time"),
    [("iso8601", "2025-09-01T00:30:00+02:00"), ("%d.%m.%Y %H:%M %z", "01.09.2025 00:30 +0200")],
)
def test_a_time_with_a_zone_keeps_it(load, tmp_path, suffix, unit, time):
    file = write(tmp_path / f"log.{suffix}", [time])

    summary = load(dataset(unit, zone="America/New_York"), file).summary

    assert summary["first_ts"] == 1_756_679_400_000  # 2025-08-31 22:30 UTC


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_parquet_timestamps_of_any_unit_and_zone_are_one_moment(load, tmp_path, unit, zone):
    moment = pl.Series("t", [datetime(2025, 9, 1, 12, tzinfo=UTC)])
    time = moment.dt.convert_time_zone(zone).dt.cast_time_unit(unit)
    pl.DataFrame({"s": ["a"], "i": ["b"], "t": time}).write_parquet(tmp_path / "log.parquet")

    for setting in ("ms", "iso8601", "iso8601-local"):
        summary = load(dataset(setting, zone="Asia/Tokyo"), tmp_path / "log.parquet").summary
        assert summary["first_ts"] == 1_756_728_000_000


def test_days_are_those_of_the_zone(tmp_path):
    file = tmp_path / "events.parquet"
    # 22:30 and 21:30 UTC on 31 August are 00:30 and 23:30 in Berlin
    times = [1_756_679_400_000, 1_756_675_800_000]
    pl.DataFrame({"ts": times, "event_type": ["click", "order"]}).write_parquet(file)

    days = events_by_day(file, "Europe/Berlin")

    assert days == [
        {"day": "2025-08-31", "click": 0, "cart": 0, "order": 1},
        {"day": "2025-09-01", "click": 1, "cart": 0, "order": 0},
    ]
    assert [day["day"] for day in events_by_day(file, "UTC")] == ["2025-08-31"]


@pytest.mark.parametrize(
    ("unit", "zone", "words"),
    [
        ("ms", "Europe/Berln", "'Europe/Berln' is not a valid time zone; expected a name such as"),
        ("ms", "", "'' is not a valid time zone"),
        ("iso8601-utc", "Europe/Berlin", "contradicts time_zone = Europe/Berlin; for local times"),
    ],
)
def test_a_zone_that_cannot_be_is_refused(unit, zone, words):
    with pytest.raises(StudyError) as caught:
        dataset(unit, zone)

    assert words in str(caught.value)


def test_the_dry_run_reads_local_times(tmp_path):
    file = write(tmp_path / "log.csv", ["2025-09-01 00:30:00"])

    found = inspect_data(dataset("iso8601-local"), file, max_rejected_share=0.0)

    assert found.summary["first_ts"] == 1_756_679_400_000
