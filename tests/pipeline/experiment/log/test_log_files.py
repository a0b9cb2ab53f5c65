"""Log files: one file per day, with all impressions."""

from datetime import UTC, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import DataError, LogError
from pipeline.experiment.log.log_files import write_log
from pipeline.experiment.log.reading.log_folder import log_files


def milliseconds(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def impressions(times):
    rows = [
        ("e", f"x{number}", "u1", "g1", milliseconds(text), False, False, 0)
        for number, text in enumerate(times)
    ]
    return pl.DataFrame(rows, schema=IMPRESSIONS.columns, orient="row")


def test_one_file_per_day_in_utc(tmp_path):
    frame = impressions(
        [
            "2025-10-02 00:00:00.000",
            "2025-10-01 23:59:59.999",
            "2025-10-01 00:00:00.000",
            "2025-10-04 12:00:00.000",
        ]
    )

    files = write_log(frame, tmp_path)

    days = {file.name: pl.read_parquet(file)["impression"].to_list() for file in files}
    assert days == {
        "impressions-2025-10-01.parquet": ["x2", "x1"],
        "impressions-2025-10-02.parquet": ["x0"],
        "impressions-2025-10-04.parquet": ["x3"],
    }
    assert [file.path for file in log_files(tmp_path).files] == files


def test_the_files_follow_the_contract(tmp_path):
    frame = impressions([f"2025-10-0{day} 10:0{day}:00" for day in (1, 2, 3)])

    files = write_log(frame, tmp_path)

    assert_frame_equal(pl.concat([pl.read_parquet(file) for file in files]), frame)


def test_impressions_that_break_the_contract_are_not_written(tmp_path):
    frame = impressions(["2025-10-01 10:00:00"]).rename({"user": "visitor"})

    with pytest.raises(DataError, match="missing user; unexpected visitor"):
        write_log(frame, tmp_path)

    assert not list(tmp_path.iterdir())


def test_a_folder_without_log_files_is_an_error_with_the_parameter(tmp_path):
    (tmp_path / "impressions.txt").write_text("experiment,impression\n")

    with pytest.raises(
        LogError, match=r"no log file in .*end in \.parquet, \.pq, \.csv.* experiment\.log_path"
    ):
        log_files(tmp_path)
