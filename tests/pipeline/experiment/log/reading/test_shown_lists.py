"""The lists of a log: from impressions with outcomes, from a served log, and old logs without."""

import bz2
import gzip
import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import LogError
from pipeline.experiment.log.log_files import LIST_COLUMNS
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.experiment.log.reading.shown_lists import read_shown_lists
from pipeline.study import LogFileNames
from tests.pipeline.experiment.logs import (
    TS,
    impression,
    ingest_folder,
    logged_impression,
    outcomes,
    users_in,
    write_impressions,
)

ANN, BOB = users_in("g1", 2)
MODEL = {"model": "0123456789ab"}


def lists_of(folder):
    ingest_folder(folder)
    files = log_files(folder, LogFileNames(ignored="*.duckdb")).files
    return read_shown_lists(files, folder / "log.duckdb")


def write_lines(file, rows):
    text = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    compress = {".gz": gzip.compress, ".bz2": bz2.compress}.get(file.suffix, bytes)
    file.write_bytes(compress(text))


def test_lists_are_read_from_impressions_with_outcomes(tmp_path):
    rows = [
        impression("a", session=["1"], items=["7", "8"], clicked_item="8", **MODEL),
        impression("b", user=BOB, ts=TS + 1, clicked=False, ordered=False, units=0)
        | {"session": ["1", "8"], "items": ["9"], "clicked_item": None, **MODEL},
    ]
    write_impressions(tmp_path / "impressions.parquet", rows, **LIST_COLUMNS)

    found = lists_of(tmp_path)

    assert found.select("impression", "user", "clicked", "session", "items").rows() == [
        ("a", ANN, True, ["1"], ["7", "8"]),
        ("b", BOB, False, ["1", "8"], ["9"]),
    ]
    assert found["clicked_item"].to_list() == ["8", None]
    assert found["model"].to_list() == ["0123456789ab"] * 2
    assert found["fallback"].to_list() == [None, None]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_lists_of_a_served_log_have_the_first_clicked_item(tmp_path, suffix):
    """As ``paretoscope serve`` writes it: lists with the impressions, items with the clicks."""
    shown = {
        "session": ["1"],
        "items": ["7", "8"],
        "positions": [1, 2],
        "scores": [2.5, 1.0],
        **MODEL,
    }
    write_lines(
        tmp_path / f"impressions{suffix}",
        [
            logged_impression("a") | shown | {"fallback": None},
            logged_impression("b") | shown | {"fallback": "model timeout", "scores": None},
        ],
    )
    write_lines(
        tmp_path / f"clicks{suffix}",
        [
            {"impression": "a", "ts": TS + 20, "item": "7"},
            {"impression": "a", "ts": TS + 10, "item": "8"},
        ],
    )
    write_lines(tmp_path / "orders.jsonl", [{"impression": "a", "ts": TS + 30, "units": 1}])

    found = lists_of(tmp_path)

    assert found.select("impression", "clicked", "clicked_item", "fallback").rows() == [
        ("a", True, "8", None),
        ("b", False, None, "model timeout"),
    ]


def test_rejected_and_duplicate_impressions_have_no_list(tmp_path):
    listed = {"session": ["1"], "items": ["7"], "clicked_item": "7", **MODEL}
    other = listed | {"items": ["other"]}
    first = [impression("a") | listed, impression("c", group="g9") | listed]
    again = [impression("a") | other, impression("b", user=BOB) | listed]
    write_impressions(tmp_path / "impressions-1.parquet", first * 30, **LIST_COLUMNS)
    write_impressions(tmp_path / "impressions-2.parquet", again, **LIST_COLUMNS)

    files = log_files(tmp_path, LogFileNames(ignored="*.duckdb")).files
    ingest_folder(tmp_path, ignored_groups=("g9",))
    found = read_shown_lists(files, tmp_path / "log.duckdb")

    assert found.select("impression", "items").rows() == [("a", ["7"]), ("b", ["7"])]
    assert set(found["impression"]) == set(outcomes(tmp_path / "log.duckdb"))


UUIDS = ["F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "A81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"]
ITEM = 'Ünï\\"x, y'


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.bz2"])
@pytest.mark.parametrize(
    "ids",
    [UUIDS, [one.replace("-", "") for one in UUIDS], ["007", "1e3"]],
    ids=["upper-case UUIDs", "UUIDs without dashes", "numbers"],
)
def test_ids_are_the_text_that_they_are_in_the_log(tmp_path, ids, suffix):
    """Ingestion keeps them as they are: of another spelling, an impression has no list."""
    listed = [{"session": [one], "items": [one, ITEM], **MODEL} for one in ids]
    rows = [logged_impression(one) | lists for one, lists in zip(ids, listed, strict=True)]
    write_lines(tmp_path / f"impressions{suffix}", rows)
    clicks = [{"impression": one, "ts": TS, "item": one} for one in ids]
    write_lines(tmp_path / f"clicks{suffix}", clicks)
    write_lines(tmp_path / "orders.jsonl", [{"impression": ids[0], "ts": TS, "units": 1}])

    found = lists_of(tmp_path).sort("impression")

    assert found.select("impression", "session", "items", "clicked_item").rows() == [
        (one, [one], [one, ITEM], one) for one in sorted(ids)
    ]


def test_text_that_an_old_writer_of_parquet_left_as_bytes_is_text(tmp_path):
    row = impression("a") | {"session": [b"1"], "items": [b"7", ITEM.encode()]}
    row |= {"clicked_item": ITEM.encode()}
    row |= {name: row[name].encode() for name in ("impression", "user", "group")}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "impressions.parquet")

    found = lists_of(tmp_path)

    assert found.select("impression", "session", "items", "clicked_item").rows() == [
        ("a", ["1"], ["7", ITEM], ITEM)
    ]


def test_integer_ids_are_the_strings_of_the_catalogue(tmp_path):
    row = logged_impression("a") | {"session": [1], "items": [7, 8]}
    write_lines(tmp_path / "impressions.jsonl", [row])
    write_lines(tmp_path / "clicks.jsonl", [{"impression": "a", "ts": TS, "item": 7}])
    write_lines(tmp_path / "orders.jsonl", [{"impression": "a", "ts": TS, "units": 1}])

    found = lists_of(tmp_path)

    assert found.select("session", "items", "clicked_item").row(0) == (["1"], ["7", "8"], "7")


def test_an_old_log_still_goes_in_and_says_that_it_has_no_lists(tmp_path):
    write_impressions(tmp_path / "impressions.parquet", [impression("a")])

    with pytest.raises(
        LogError, match="the log has no lists: no file of impressions has the columns"
    ):
        lists_of(tmp_path)
    assert set(outcomes(tmp_path / "log.duckdb")) == {"a"}
    pl.DataFrame([impression("b", ts=TS + 5)]).write_csv(tmp_path / "more.csv")
    with pytest.raises(LogError, match="the log has no lists"):
        lists_of(tmp_path)
