"""Values of items: read by name, over the mean value of a click in train."""

import numpy as np
import polars as pl
import pytest

from pipeline.errors import DataError
from pipeline.sessions.item_values import read_item_values

ITEMS = pl.DataFrame({"index": [1, 0, 2], "item": [20, 10, 30], "train_clicks": [1, 2, 1]})


def write(folder, rows, suffix="csv"):
    path = folder / f"values.{suffix}"
    table = pl.DataFrame(rows, schema=["item", "value"], orient="row", strict=False)
    table.write_parquet(path) if suffix == "parquet" else table.write_csv(path)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_values_stand_in_the_order_of_the_index_over_the_mean_click(tmp_path, suffix):
    path = write(tmp_path, [(30, 8.0), (99, 5.0), (10, 1.0), (20, 6.0)], suffix)

    values = read_item_values(path, ITEMS)

    mean = (2 * 1.0 + 1 * 6.0 + 1 * 8.0) / 4  # of four clicks
    assert values == pytest.approx(np.array([1.0, 6.0, 8.0]) / mean)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(10, 1.0), (20, 2.0)], "1 of the catalogue's 3 items have no value .* such as 30"),
        ([(10, -1.0), (20, 2.0), (30, 3.0)], r"such as 10 \(-1.0\)"),
        ([(10, "dear"), (20, "2"), (30, "3")], "such as 10"),
        ([(10, "inf"), (20, "2"), (30, "3")], r"such as 10 \(inf\)"),
        (
            [(10, 1.0), (10, 2.0), (20, 2.0), (30, 3.0)],
            "1 items have more than one value, such as 10",
        ),
        ([(10, 0.0), (20, 0.0), (30, 0.0)], "every clicked item is worth 0"),
    ],
    ids=["absent", "negative", "text", "infinite", "twice", "all zero"],
)
def test_a_catalogue_without_one_good_value_each_is_refused(tmp_path, rows, words):
    with pytest.raises(DataError, match=words):
        read_item_values(write(tmp_path, rows), ITEMS)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "notes.csv"])
def test_a_file_that_is_not_such_a_table_is_refused(tmp_path, name):
    (tmp_path / "notes.csv").write_text("id;price\n1;2\n")

    with pytest.raises(DataError, match=r"cannot read .* columns item and value"):
        read_item_values(tmp_path / name, ITEMS)
