"""The assignment in SQL says what the one in Python says."""

import duckdb
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.experiment.design.assignment import bucket_of
from pipeline.experiment.design.assignment_sql import MACROS, PLACES, sql_parameters
from tests.pipeline.experiment.design.test_traffic_plan import PLANS


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        opened.execute(MACROS)
        yield opened


def placed(connection, plan, n):
    """Unit, group and reason of ``n`` units, by SQL."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE units AS "
        "SELECT printf('u%05d', i) AS unit FROM range($n) AS r(i)",
        {"n": n},
    )
    return pl.DataFrame(connection.sql(PLACES, params=sql_parameters(plan)).to_arrow_table())


@settings(max_examples=60, deadline=None)
@given(unit=st.text(max_size=20), salt=st.text(min_size=1, max_size=10))
@example(unit="买い物🛒", salt="é")
@example(unit="👩‍👩‍👧", salt="e\u0301")  # one sign of several code points
@example(unit="u\0", salt="\0")
@example(unit="'); DROP TABLE units; --", salt="$salt")
def test_any_unit_under_any_salt_has_the_bucket_of_python(connection, unit, salt):
    found = connection.execute("SELECT bucket_of($unit, $salt)", {"unit": unit, "salt": salt})

    assert found.fetchone() == (bucket_of(unit, salt),)


@pytest.mark.parametrize("name", PLANS)
def test_units_are_placed_as_by_python(connection, name):
    found = placed(connection, PLANS[name], 20_000)

    assert PLANS[name].assign_many(found["unit"]).equals(found.select("group", "reason"))


@pytest.mark.slow
def test_a_million_units_are_placed_as_python_says(connection):
    found = placed(connection, PLANS["all"], 1_000_000)

    assert found["unit"].n_unique() == 1_000_000
    assert PLANS["all"].assign_many(found["unit"]).equals(found.select("group", "reason"))
