"""Every row is in ``impressions`` or counted as rejected; files off the contract are refused."""

import tempfile
from collections import Counter
from itertools import count
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import IMPRESSIONS
from pipeline.core.errors import LogError
from tests.pipeline.experiment.logs import PLAN, TS, impression, ingest, users_in, write_impressions

YEAR_2000, YEAR_2100 = 946_684_800_000, 4_102_444_800_000
USER_IN_G1, OTHER_USER_IN_G1 = users_in("g1", 2)
(USER_IN_G2,) = users_in("g2", 1)


def stored(database):
    with duckdb.connect(str(database), read_only=True) as connection:
        return sorted(connection.execute("SELECT impression, clicked FROM impressions").fetchall())


def reason_of(row):
    """Rejection reason of a single row; None for a valid row."""
    if row["experiment"] == "autumn":
        return "another experiment"
    if None in row.values():
        return "a field is missing"
    checks = {
        "time outside 2000-01-01 to 2100-01-01": not YEAR_2000 <= row["ts"] < YEAR_2100,
        "unknown group": row["group"] not in {"g1", "g2"},
        "negative units": row["units"] < 0,
        "ordered but not clicked": row["ordered"] and not row["clicked"],
        "ordered and units are inconsistent": row["ordered"] != (row["units"] > 0),
    }
    return next((reason for reason, broken in checks.items() if broken), None)


def reasons_of(rows):
    """Rejection reason of each row, given the other rows of its user; None for a valid row."""
    reasons = [reason_of(row) for row in rows]
    for user in {row["user"] for row in rows}:
        own = [n for n, row in enumerate(rows) if row["user"] == user and reasons[n] is None]
        groups = {rows[n]["group"] for n in own}
        for n in own:
            if len(groups) > 1:
                reasons[n] = "user in two groups"
            elif groups != {PLAN.group_of(user).name}:
                reasons[n] = "group differs from the assignment"
    return reasons


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        *[("a field is missing", {name: None}) for name in IMPRESSIONS.columns],
        ("another experiment", {"experiment": "autumn"}),
        ("unknown group", {"group": "g3"}),
        ("group differs from the assignment", {"user": USER_IN_G2}),
        ("time outside 2000-01-01 to 2100-01-01", {"ts": YEAR_2000 - 1}),
        ("time outside 2000-01-01 to 2100-01-01", {"ts": YEAR_2100}),
        ("time outside 2000-01-01 to 2100-01-01", {"ts": TS // 1000}),
        ("negative units", {"units": -1}),
        ("ordered but not clicked", {"clicked": False}),
        ("ordered and units are inconsistent", {"units": 0}),
        ("ordered and units are inconsistent", {"ordered": False}),
        ("duplicate impression", {"impression": "good"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_a_row_is_rejected_for_its_reason(tmp_path, reason, changes):
    file = write_impressions(
        tmp_path / "a.parquet", [impression("good"), impression("bad", **changes)]
    )

    result = ingest([file], PLAN, tmp_path / "log.duckdb")

    assert result.rejected == {reason: 1}
    assert result.impressions == 1


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clicked": False, "ordered": False, "units": 0},
        {"ordered": False, "units": 0},
        {"user": USER_IN_G2, "group": "g2"},
        {"ts": YEAR_2000},
        {"ts": YEAR_2100 - 1},
    ],
    ids=["ordered", "ignored", "clicked", "other-group", "first-time", "last-time"],
)
def test_a_valid_row_is_accepted(tmp_path, changes):
    file = write_impressions(tmp_path / "a.parquet", [impression("x1", **changes)])

    result = ingest([file], PLAN, tmp_path / "log.duckdb")

    assert (result.impressions, result.rejected) == (1, {})


any_row = st.fixed_dictionaries(
    {
        "experiment": st.sampled_from(["spring"] * 8 + ["autumn", None]),
        "user": st.sampled_from([USER_IN_G1, USER_IN_G2, None]),
        "group": st.sampled_from(["g1"] * 4 + ["g2"] * 4 + ["g3", None]),
        "ts": st.sampled_from([TS] * 6 + [YEAR_2000 - 1, YEAR_2100, None]),
        "clicked": st.sampled_from([True, True, False, None]),
        "ordered": st.sampled_from([True, False, False, None]),
        "units": st.sampled_from([0, 0, 1, -1, None]),
    }
)


@pytest.mark.slow
@settings(max_examples=15)
@given(drawn=st.lists(st.lists(any_row, max_size=12), min_size=1, max_size=3))
def test_every_row_is_counted_once_as_in_the_reference(drawn):
    numbers = count()
    parts = [[{"impression": f"x{next(numbers)}", **fields} for fields in part] for part in drawn]
    parts[0].append(impression("good", user=OTHER_USER_IN_G1))

    with tempfile.TemporaryDirectory() as folder:
        files = [
            write_impressions(Path(folder) / f"{name}.parquet", part)
            for name, part in enumerate(parts)
        ]
        result = ingest(files, PLAN, Path(folder) / "log.duckdb")

    rows = [fields for part in parts for fields in part]
    expected = Counter(reasons_of(rows))
    assert result.impressions == expected.pop(None)
    assert result.rejected == expected
    assert result.impressions + sum(result.rejected.values()) == len(rows)


@pytest.mark.parametrize(
    ("yes", "no"),
    [("true", "False"), ("1", "0"), ("1.0", "0.0"), ("t", "f"), ("Yes", "NO"), ("y", "n")],
)
def test_booleans_of_databases_spreadsheets_and_data_frames(tmp_path, yes, no):
    rows = [impression("a"), impression("b", clicked=False, ordered=False, units=0)]
    frame = pl.DataFrame(rows, schema=IMPRESSIONS.columns).with_columns(
        pl.when(name).then(pl.lit(yes)).otherwise(pl.lit(no)).alias(name)
        for name in ("clicked", "ordered")
    )
    frame.write_csv(tmp_path / "a.csv")

    result = ingest([tmp_path / "a.csv"], PLAN, tmp_path / "log.duckdb")

    assert result.rejected == {}
    with duckdb.connect(str(tmp_path / "log.duckdb")) as connection:
        found = connection.sql("SELECT impression, clicked, ordered FROM impressions ORDER BY 1")
        assert found.fetchall() == [("a", True, True), ("b", False, False)]


def test_the_user_in_two_groups_with_the_most_impressions_is_named(tmp_path):
    rows = [impression(f"x{n}", user="guest", group=f"g{1 + n % 2}") for n in range(4)]
    rows += [
        impression("y1", user="ann"),
        impression("y2", user="ann", group="g2"),
        impression("z"),
    ]
    file = write_impressions(tmp_path / "a.parquet", rows)

    result = ingest([file], PLAN, tmp_path / "log.duckdb")

    assert result.rejected["user in two groups"] >= 4
    assert result.examples["user in two groups"] == "user guest is in g1 and g2"


def test_the_earliest_row_of_a_duplicate_impression_is_kept(tmp_path):
    late, early = (
        impression("x1", ts=TS + 1),
        impression("x1", clicked=False, ordered=False, units=0),
    )
    file = write_impressions(tmp_path / "a.parquet", [late, early, late])

    result = ingest([file], PLAN, tmp_path / "log.duckdb")

    assert result.rejected == {"duplicate impression": 2}
    assert stored(tmp_path / "log.duckdb") == [("x1", False)]


def test_the_kept_one_of_two_simultaneous_duplicates_does_not_depend_on_their_order(tmp_path):
    clicked = impression("x1", ordered=False, units=0)
    ignored = clicked | {"clicked": False}
    kept = []
    for name, rows in (("here", [clicked, ignored]), ("there", [ignored, clicked])):
        file = write_impressions(tmp_path / f"{name}.parquet", rows)
        ingest([file], PLAN, tmp_path / f"{name}.duckdb")
        kept.append(stored(tmp_path / f"{name}.duckdb"))

    assert kept[0] == kept[1]


def test_a_duplicate_in_another_file_is_rejected_there(tmp_path):
    first = write_impressions(tmp_path / "a.parquet", [impression("x1")])
    second = write_impressions(
        tmp_path / "b.parquet",
        [impression("x1", clicked=False), impression("x2"), impression("x1")],
    )

    result = ingest([first, second], PLAN, tmp_path / "log.duckdb")

    assert result.rejected == {"duplicate impression": 1, "ordered but not clicked": 1}
    assert stored(tmp_path / "log.duckdb") == [("x1", True), ("x2", True)]


@pytest.mark.parametrize("column", list(IMPRESSIONS.columns))
def test_a_missing_column_is_named(tmp_path, column):
    frame = pl.DataFrame([impression("x1")], schema=IMPRESSIONS.columns).drop(column)
    frame.write_parquet(tmp_path / "a.parquet")

    with pytest.raises(
        LogError, match=rf"a\.parquet: {column} is missing; .*map them in experiment\.columns"
    ):
        ingest([tmp_path / "a.parquet"], PLAN, tmp_path / "log.duckdb")


@pytest.mark.parametrize(
    ("column", "dtype", "message"),
    [
        ("user", pl.Float64, "user is DOUBLE, expected strings or integers"),
        ("ts", pl.Datetime("ms"), "ts is TIMESTAMP, expected a number"),
        ("clicked", pl.Date, "clicked is DATE, expected true and false"),
        ("units", pl.Boolean, "units is BOOLEAN, expected an integer"),
    ],
)
def test_a_column_of_the_wrong_type_is_named(tmp_path, column, dtype, message):
    frame = pl.DataFrame([impression("x1", user="7")], schema=IMPRESSIONS.columns)
    frame.with_columns(pl.col(column).cast(dtype)).write_parquet(tmp_path / "a.parquet")

    with pytest.raises(LogError, match=message):
        ingest([tmp_path / "a.parquet"], PLAN, tmp_path / "log.duckdb")


@pytest.mark.parametrize("name", ["reason", "source", "assigned", "rows"])
def test_an_additional_column_does_not_affect_the_validation(tmp_path, name):
    frame = pl.DataFrame(
        [impression("x1"), impression("x2", group="g3")], schema=IMPRESSIONS.columns
    )
    extended = frame.with_columns(pl.lit(None, dtype=pl.String).alias(name))
    extended.write_parquet(tmp_path / "a.parquet")

    result = ingest([tmp_path / "a.parquet"], PLAN, tmp_path / "log.duckdb")

    assert (result.impressions, result.rejected) == (1, {"unknown group": 1})
