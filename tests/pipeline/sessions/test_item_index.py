"""Items as codes: one an item, there and back, in the order of the shop's ids."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sessions import item_index
from pipeline.sessions.item_index import ItemIndex

INT64 = st.integers(-(2**63), 2**63 - 1)
CLOSE = st.integers(-5, 20).map(lambda item: item + 214_500_000)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)


def codes_of(values, path, rows_a_group=3):
    """The codes of a file whose items are ``values``; ``session`` stands before them."""
    frame = pl.DataFrame({"session": range(len(values)), "item": values})
    pq.write_table(frame.to_arrow(), path, row_group_size=rows_a_group)
    return ItemIndex.of(pq.ParquetFile(path)), frame["item"]


@pytest.mark.parametrize("ids", [CLOSE, INT64, TEXT], ids=["close", "any-integers", "texts"])
@given(data=st.data())
@settings(max_examples=60)
def test_codes_map_back_to_items_and_keep_their_order(ids, data, tmp_path_factory):
    values = data.draw(st.lists(ids, min_size=1, max_size=12))
    codes, column = codes_of(values, tmp_path_factory.getbasetemp() / "items.parquet")

    found = codes.code(column)

    assert found.dtype == np.int32
    assert codes.item(found.astype(np.int64)).to_list() == values
    assert ((found >= 0) & (found < codes.number)).all()
    by_code = [item for _, item in sorted(zip(found.tolist(), values, strict=True))]
    assert by_code == sorted(values)  # Python compares texts by code point, too


@pytest.mark.parametrize(
    ("values", "number"),
    [
        pytest.param([-3, 4, -3, 0], 4 - (-3) + 1, id="close: every number in between has one"),
        pytest.param([0, 1 << 40, 5, 5], 3, id="far apart: the three items have one"),
        pytest.param(["b", "a", "b"], 2, id="texts: the two items have one"),
    ],
)
def test_how_many_codes_there_are(tmp_path, values, number):
    assert codes_of(values, tmp_path / "items.parquet")[0].number == number


@pytest.mark.parametrize(
    ("span", "number"),
    [
        pytest.param(item_index._MAX_RANGE - 1, item_index._MAX_RANGE, id="largest"),
        pytest.param(item_index._MAX_RANGE, 2, id="one-more"),
    ],
)
def test_a_span_too_large_to_count_in_an_array_is_looked_up_by_name(tmp_path, span, number):
    codes, column = codes_of([7, 7 + span], tmp_path / "items.parquet")

    assert codes.number == number
    assert codes.code(column).tolist() == [0, number - 1]
    assert codes.item(np.array([number - 1, 0])).to_list() == [7 + span, 7]
