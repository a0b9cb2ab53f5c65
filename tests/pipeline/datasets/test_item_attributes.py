"""Attributes of items, in the order of the catalogue; values relative to the mean click."""

import numpy as np
import polars as pl
import pytest

from pipeline.core.errors import DataError
from pipeline.datasets.item_attributes import coverage, read_item_attributes, relative_values

ITEMS = pl.DataFrame(
    {"index": [1, 0, 2], "item": [20, 10, 30]}, schema={"index": pl.Int32, "item": pl.Int64}
)
TRAIN_CLICKS = np.array([2, 1, 1])


def write(folder, rows, columns=("item", "value"), suffix="csv"):
    path = folder / f"items.{suffix}"
    table = pl.DataFrame(rows, schema=list(columns), orient="row", strict=False)
    table.write_parquet(path) if suffix == "parquet" else table.write_csv(path)
    return path


def values_of(path):
    return relative_values(path, read_item_attributes(path, ITEMS), TRAIN_CLICKS)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_attributes_are_in_the_order_of_the_index(tmp_path, suffix):
    rows = [
        (30, 8.0, "hats", "2025-09-01"),
        (99, 5.0, "shoes", "never"),
        (10, None, None, "2025-09-01T10:00:00+02:00"),
        (20, 6.0, "shoes", None),
    ]
    path = write(tmp_path, rows, ("item", "value", "category", "available_since"), suffix)

    assert read_item_attributes(path, ITEMS).rows() == [
        (0, "10", None, None, 1_756_684_800_000 + 8 * 3_600_000),
        (1, "20", 6.0, "shoes", None),
        (2, "30", 8.0, "hats", 1_756_684_800_000),
    ]


def test_attributes_of_items_outside_the_file_are_null(tmp_path):
    path = write(tmp_path, [(20, "hats")], ("item", "category"))

    assert read_item_attributes(path, ITEMS).drop("index", "item").rows() == [
        (None, None, None),
        (None, "hats", None),
        (None, None, None),
    ]


def test_without_a_file_every_attribute_is_null():
    table = read_item_attributes(None, ITEMS)

    assert table.rows() == [(n, str(10 * (n + 1)), None, None, None) for n in range(3)]


def test_values_are_relative_to_the_mean_click(tmp_path):
    path = write(tmp_path, [(30, 8.0), (99, 5.0), (10, 1.0), (20, 6.0)])

    mean = (2 * 1.0 + 1 * 6.0 + 1 * 8.0) / 4  # of four clicks
    assert values_of(path) == pytest.approx(np.array([1.0, 6.0, 8.0]) / mean)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(10, 1.0), (20, 2.0)], "1 of the catalogue's 3 items have no valid value, such as 30"),
        ([(10, -1.0), (20, 2.0), (30, 3.0)], r"such as 10 \(-1.0\)"),
        ([(10, "dear"), (20, "2"), (30, "3")], r"1 item with a value that is not .*, such as 10"),
        ([(10, "8,50"), (20, "2"), (30, "3")], r"such as 10 \(8,50\); expected a decimal number"),
        ([(10, "inf"), (20, "2"), (30, "3")], r"such as 10 \(inf\)"),
        ([(10, 0.0), (20, 0.0), (30, 0.0)], "the value of every clicked item is 0"),
    ],
    ids=["absent", "negative", "text", "decimal comma", "infinite", "all zero"],
)
def test_an_item_without_a_valid_value_is_rejected(tmp_path, rows, words):
    with pytest.raises(DataError, match=words):
        values_of(write(tmp_path, rows))


def test_a_repeated_item_is_rejected(tmp_path):
    path = write(tmp_path, [(10, 1.0), (10, 2.0), (20, 2.0), (30, 3.0)])

    with pytest.raises(DataError, match="has 1 item more than once, such as 10"):
        read_item_attributes(path, ITEMS)


def test_an_invalid_time_is_rejected(tmp_path):
    path = write(tmp_path, [(10, "2025-13-01"), (20, "2025-12-01")], ("item", "available_since"))

    with pytest.raises(DataError, match=r"item 10 has available_since = '2025-13-01'"):
        read_item_attributes(path, ITEMS)


def test_a_file_without_attributes_is_rejected(tmp_path):
    path = write(tmp_path, [(10, "x")], ("item", "name"))

    with pytest.raises(DataError, match="has none of the columns value, category"):
        read_item_attributes(path, ITEMS)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "notes.csv"])
def test_an_unreadable_file_is_rejected(tmp_path, name):
    (tmp_path / "notes.csv").write_text("id;price\n1;2\n")

    with pytest.raises(
        DataError, match=r"(cannot read|has no column item).* the column item and one or more"
    ):
        read_item_attributes(tmp_path / name, ITEMS)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["10.0", "20.0"], "2 match apart from '.0' (a column of decimals)"),
        ([10.0, 20.0], "2 match apart from '.0' (a column of decimals)"),
        (["0010", "0020", "30x"], "2 match apart from leading zeros"),
        ([" 10", "20 "], "2 match apart from spaces"),
        (["x1", "x2"], "is 'item' the column of the ids that the log has?"),
        ([], "It has 0 items, and the catalogue has items such as '20'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_without_any_item_of_the_catalogue_is_refused(tmp_path, suffix, ids, words):
    path = write(tmp_path, [(one, "hats") for one in ids], ("item", "category"), suffix)

    with pytest.raises(DataError) as caught:
        read_item_attributes(path, ITEMS)

    assert "0 of the catalogue's 3 items are in it" in str(caught.value)
    assert words in str(caught.value)


def test_coverage_is_the_share_of_the_catalogue_that_the_file_has(tmp_path):
    path = write(tmp_path, [(20, "hats"), (99, "shoes"), (30, None)], ("item", "category"))

    assert coverage(path, ITEMS) == pytest.approx(2 / 3)


def test_a_file_is_found_by_its_literal_name(tmp_path):
    folder = tmp_path / "ml [v2]"
    folder.mkdir()

    path = write(folder, [(20, "hats")], ("item", "category")).rename(folder / "items[1].CSV")

    assert coverage(path, ITEMS) == pytest.approx(1 / 3)
