"""The SQL assignment equals the Python assignment."""

import duckdb
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.experiment.design.assignment import bucket_of
from pipeline.experiment.design.assignment_sql import (
    ASSIGNMENT_MACROS,
    ASSIGNMENT_QUERY,
    sql_parameters,
)
from tests.pipeline.experiment.design.test_traffic_plan import PLANS


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        opened.execute(ASSIGNMENT_MACROS)
        yield opened


def assigned(connection, plan, n):
    """User, group and reason of ``n`` users, by SQL."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE users AS "
        "SELECT printf('u%05d', i) AS user FROM range($n) AS r(i)",
        {"n": n},
    )
    found = connection.sql(ASSIGNMENT_QUERY, params=sql_parameters(plan))
    return pl.DataFrame(found.to_arrow_table())


@settings(max_examples=60)
@given(user=st.text(max_size=20), salt=st.text(min_size=1, max_size=10))
@example(user="买い物🛒", salt="é")
@example(user="👩‍👩‍👧", salt="e\u0301")  # one grapheme of several code points
@example(user="u\0", salt="\0")
@example(user="'); DROP TABLE users; --", salt="$salt")
def test_sql_buckets_equal_python_buckets(connection, user, salt):
    found = connection.execute("SELECT bucket_of($user, $salt)", {"user": user, "salt": salt})

    assert found.fetchone() == (bucket_of(user, salt),)


@pytest.mark.parametrize("name", PLANS)
def test_sql_groups_equal_python_groups(connection, name):
    found = assigned(connection, PLANS[name], 20_000)

    assert PLANS[name].assign_many(found["user"]).equals(found.select("group", "reason"))


@pytest.mark.slow
def test_sql_groups_of_a_million_users_equal_python_groups(connection):
    found = assigned(connection, PLANS["all"], 1_000_000)

    assert found["user"].n_unique() == 1_000_000
    assert PLANS["all"].assign_many(found["user"]).equals(found.select("group", "reason"))
