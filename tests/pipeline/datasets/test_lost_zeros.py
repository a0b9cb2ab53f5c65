"""Ids that differ in leading zeros only are two ids, and named."""

import polars as pl
import pytest

from pipeline.datasets.lost_zeros import find_lost_zeros


@pytest.mark.parametrize(
    ("items", "named"),
    [
        (["000012", "12", "7"], "item: '000012' and '12' are two ids (1 such in all); if a spread"),
        (["012", "0012", "07", "7"], "item: '0012' and '012' are two ids (2 such in all)"),
        (["000012", "13"], None),
        (["0x12", "x12"], None),
        (["12.0", "12"], None),
        ([12, 7, 12], None),
    ],
)
def test_ids_that_lost_their_zeros_are_named(tmp_path, items, named):
    sessions = [f"s{n}" for n in range(len(items))]
    pl.DataFrame({"session": sessions, "item": items}).write_parquet(tmp_path / "e.parquet")

    found = find_lost_zeros(tmp_path / "e.parquet")

    assert len(found) == (named is not None)
    assert named is None or found[0].startswith(named)
