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
    """User, group and reason of ``n`` users, by SQL."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE users AS "
        "SELECT printf('u%05d', i) AS user FROM range($n) AS r(i)",
        {"n": n},
    )
    return pl.DataFrame(connection.sql(PLACES, params=sql_parameters(plan)).to_arrow_table())


@settings(max_examples=60, deadline=None)
@given(user=st.text(max_size=20), salt=st.text(min_size=1, max_size=10))
@example(user="买い物🛒", salt="é")
@example(user="👩‍👩‍👧", salt="e\u0301")  # one sign of several code points
@example(user="u\0", salt="\0")
@example(user="'); DROP TABLE users; --", salt="$salt")
def test_any_unit_under_any_salt_has_the_bucket_of_python(connection, user, salt):
    found = connection.execute("SELECT bucket_of($user, $salt)", {"user": user, "salt": salt})

    assert found.fetchone() == (bucket_of(user, salt),)


@pytest.mark.parametrize("name", PLANS)
def test_units_are_placed_as_by_python(connection, name):
    found = placed(connection, PLANS[name], 20_000)

    assert PLANS[name].assign_many(found["user"]).equals(found.select("group", "reason"))


@pytest.mark.slow
def test_a_million_units_are_placed_as_python_says(connection):
    found = placed(connection, PLANS["all"], 1_000_000)

    assert found["user"].n_unique() == 1_000_000
    assert PLANS["all"].assign_many(found["user"]).equals(found.select("group", "reason"))
