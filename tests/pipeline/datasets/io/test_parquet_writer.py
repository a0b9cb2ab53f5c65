"""A parquet file is the same bytes however its rows arrive, and there whole or not at all."""

from itertools import pairwise

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import EVENTS, REJECTED
from pipeline.core.errors import DataError
from pipeline.core.frame_contract import Contract
from pipeline.datasets.io import parquet_writer
from pipeline.datasets.io.parquet_writer import ROWS_PER_GROUP, TableWriter

PETS = Contract(name="pets", row="one pet", columns={"name": pl.String, "legs": pl.Int64})


def pets(number, letters=1):
    names = [f"{'x' * letters}{n}" for n in range(number)]
    return pl.DataFrame({"name": names, "legs": range(number)}, schema=PETS.schema)


def write(path, frame, cuts=(), contract=PETS):
    """Write a frame in pieces that end at ``cuts``; the writer's count of rows."""
    bounds = [0, *sorted(cuts), frame.height]
    with TableWriter(path, contract) as table:
        for start, end in pairwise(bounds):
            table.write(frame[start:end])
    return table.rows


def group_sizes(path):
    file = pq.ParquetFile(path)
    return [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]


@given(height=st.integers(0, 35), cuts=st.lists(st.integers(0, 35), max_size=8))
@settings(max_examples=100)
def test_the_bytes_do_not_depend_on_the_cuts(tmp_path_factory, height, cuts):
    folder, frame = tmp_path_factory.mktemp("tables"), pets(height)
    inside = [cut for cut in cuts if cut <= height]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_writer, "ROWS_PER_GROUP", 10)
        write(folder / "whole.parquet", frame)
        rows = write(folder / "cut.parquet", frame, inside)

    assert (folder / "cut.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
    assert pl.read_parquet(folder / "cut.parquet").equals(frame)
    assert rows == height
    full, rest = divmod(height, 10)
    assert group_sizes(folder / "cut.parquet") == [10] * full + ([rest] if rest or not full else [])


def test_the_bytes_do_not_depend_on_the_cuts_where_texts_fill_many_pages(tmp_path):
    # 60,000 names of 100 letters are 6 MB: several data pages of 1 MiB in one row group
    frame = pets(60_000, letters=95)

    write(tmp_path / "whole.parquet", frame)
    write(tmp_path / "cut.parquet", frame, range(777, 60_000, 777))

    assert (tmp_path / "cut.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_row_groups_hold_262144_rows_and_the_last_one_the_rest(tmp_path):
    write(tmp_path / "a.parquet", pets(2 * 2**18 + 5), [1, 2**18 - 1, 2**18 + 1, 2 * 2**18 + 1])

    assert ROWS_PER_GROUP == 2**18
    assert group_sizes(tmp_path / "a.parquet") == [2**18, 2**18, 5]


@pytest.mark.parametrize("pieces", [[], [0], [0, 0]], ids=["none", "one-empty", "two-empty"])
def test_a_table_without_rows_is_a_table(tmp_path, pieces):
    with TableWriter(tmp_path / "a.parquet", REJECTED) as table:
        for _ in pieces:
            table.write(pl.DataFrame(schema=REJECTED.schema))

    found = pl.read_parquet(tmp_path / "a.parquet")
    assert found.height == table.rows == 0
    assert found.schema == pl.Schema(REJECTED.schema)


@pytest.mark.parametrize("ids", [pl.Int64, pl.String], ids=["integers", "texts"])
def test_a_table_is_read_as_written(tmp_path, ids):
    rows = [(1, 5, 10, "click", 0), (1, 5, 20, "order", 65_535), (2, 6, 10, "cart", 1)]
    frame = pl.DataFrame(rows, schema=EVENTS.schema, orient="row").with_columns(
        pl.col("session", "item").cast(ids)
    )

    write(tmp_path / "a.parquet", frame, [1], EVENTS)

    assert EVENTS.validate(pl.read_parquet(tmp_path / "a.parquet")).rows() == frame.rows()


def fail_after(path, rows, error):
    with TableWriter(path, PETS) as table:
        table.write(pets(rows))
        raise error


@pytest.mark.parametrize("rows", [3, 25], ids=["before-a-row-group", "behind-two-row-groups"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_no_file_that_might_be_taken_for_a_whole_one(
    tmp_path, monkeypatch, rows, error
):
    monkeypatch.setattr(parquet_writer, "ROWS_PER_GROUP", 10)

    with pytest.raises(error):
        fail_after(tmp_path / "a.parquet", rows, error)

    assert list(tmp_path.iterdir()) == []


def write_both(path, fit, misfit):
    with TableWriter(path, PETS) as table:
        table.write(fit)
        table.write(misfit)


def test_rows_that_do_not_fit_the_contract_are_refused_and_no_file_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_writer, "ROWS_PER_GROUP", 10)

    with pytest.raises(DataError, match="pets: legs is Int32, expected Int64"):
        write_both(tmp_path / "a.parquet", pets(20), pets(5).cast({"legs": pl.Int32}))

    assert list(tmp_path.iterdir()) == []
