"""Runs of equal values: where they begin, and what they sum to."""

import numpy as np
import polars as pl
import pytest

from pipeline.datasets.session_runs import run_starts, run_sums


@pytest.mark.parametrize("values", [[7, 7, 8, 7], ["a", "a", "b", "a"]], ids=["integers", "texts"])
def test_a_run_begins_where_the_value_changes(values):
    assert run_starts(pl.Series(values)).to_list() == [True, False, True, True]


def test_nothing_has_no_beginning():
    assert run_starts(pl.Series([], dtype=pl.Int64)).to_list() == []


def test_each_run_is_summed_and_an_empty_one_is_nothing():
    values, lengths = np.array([1, 2, 4, 8]), np.array([0, 3, 0, 1])

    assert run_sums(values, lengths).tolist() == [0, 1 + 2 + 4, 0, 8]


def test_flags_are_counted():
    assert run_sums(np.array([True, False, True]), np.array([2, 1])).tolist() == [1, 1]
