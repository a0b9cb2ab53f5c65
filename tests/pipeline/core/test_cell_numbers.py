"""Numbers as people write them: the marks of a whole file decide, and nothing is guessed."""

import math
from decimal import Decimal

import pytest

from pipeline.core.cell_numbers import parse_numbers
from pipeline.core.errors import DataError
from pipeline.core.table_file import CellTable, ReadAs


def parse(counts=(), **columns):
    table = CellTable(name="t.csv", columns=columns)
    groups = [f"g{n}" for n in range(table.height)]
    return parse_numbers(table, groups, counts)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("12", 12),
        ("-0.5", -0.5),
        ("+3", 3),
        ("\u22124", -4),  # a minus sign
        (".5", 0.5),
        ("1e5", 100000),
        ("2.5E-3", 0.0025),
        ("1000.0", 1000),
        ("14388047084486858280", 14388047084486858280),  # beyond 2^63
        ("1e30", 10**30),
        ("1,250.5", 1250.5),
        ("1.250,5", 1250.5),
        ("1 250,5", 1250.5),
        ("1'250.5", 1250.5),
        ("1\u202f250\u202f000", 1250000),
        ("1,234,567", 1234567),
        ("0,6", 0.6),
        ("0,600", 0.6),  # no number of thousands begins with 0
        ("1234,567", 1234.567),
        (" 7 ", 7),
        (7, 7),
        (0.5, 0.5),
        (Decimal("2.50"), 2.5),
        ("", None),
        ("NaN", None),
        ("n/a", None),
        (math.nan, None),
        (None, None),
        ("inf", math.inf),
    ],
)
def test_a_number_is_read(cell, number):
    assert parse(x=[cell, 1])  # a column with a number
    assert parse(x=[cell, 1]).numbers["x"][0] == number


@pytest.mark.parametrize(
    ("other", "number"),
    [("0.6", 1250), ("0,6", 1.25), ("1,000,000", 1250), ("2.000.000", 1.25), ("1234,5", 1.25)],
)
def test_a_clear_number_settles_an_ambiguous_one(other, number):
    assert parse(x=["1,250"], y=[other]).numbers["x"] == [number]


def test_a_count_has_no_decimals():
    assert parse(counts={"clicks"}, clicks=["1,250"], x=["2"]).numbers["clicks"] == [1250]
    assert parse(counts={"clicks"}, clicks=["1.250"], x=["2"]).numbers["clicks"] == [1250]


def test_points_are_decimals_where_nothing_says_otherwise():
    assert parse(auc=["1.250", "2"]).numbers["auc"] == [1.25, 2]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"auc": ["1,250", "2"]}, r"auc of group g0 is '1,250', which can be 1250 or 1\.250"),
        ({"a": ["0,6"], "b": ["0.7"]}, r"a of group g0 is '0,6', and b of group g0 is '0\.7'"),
        ({"a": ["1.250,5"], "b": ["0.7"]}, "the decimal mark is not clear"),
        ({"a": ["0.6", "o.7"]}, r"a is 'o\.7' in row 2 \(group g1\), and a number in other rows"),
        ({"a": ["5", "12,34,567"]}, "a is '12,34,567' in row 2"),
        ({"a": ["60%", "0.7"]}, r"a is '60%'; expected % in all rows, or in none"),
        ({"clicks": ["60%", "70%"]}, "clicks is '60%'; expected a number"),
        (
            {"clicks": ["1.000"], "auc": ["0.7"]},
            r"clicks of group g0 is '1\.000', which can be 1000",
        ),
        ({"a": ["$5", "6"]}, r"a is '\$5' in row 1"),
    ],
    ids=str,
)
def test_a_number_with_two_readings_is_refused(columns, words):
    with pytest.raises(DataError, match=words):
        parse(counts={"clicks"}, **columns)


def test_columns_without_a_number_are_strings():
    found = parse(note=["old", "new"], day=["2024-01-01", ""], flag=[True, False], empty=["", ""])

    assert found.strings == ("note", "day", "flag")
    assert found.numbers == {"empty": [None, None]}


def test_percent_is_a_share_and_said():
    found = parse(auc=["60%", "70.5 %"])

    assert found.numbers["auc"] == [0.6, 0.705]
    assert [(one.kind, one.columns) for one in found.notes] == [(ReadAs.PERCENT, ("auc",))]


def test_marks_are_said():
    found = parse(counts={"n"}, n=["1.000", "2.000"], auc=["0,6", "0,7"])

    assert found.numbers == {"n": [1000, 2000], "auc": [0.6, 0.7]}
    assert [(one.kind, one.columns, one.value) for one in found.notes] == [
        (ReadAs.THOUSANDS_MARK, ("n",), "."),
        (ReadAs.DECIMAL_MARK, (), ","),
    ]
    assert parse(auc=["0.6"]).notes == ()
