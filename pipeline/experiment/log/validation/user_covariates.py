"""Pre-experiment covariates of users: a segment, and counts from before the experiment.

Files ``users…`` have one row per user. The recommendation lists cannot affect covariates from before
the experiment, so estimates may be adjusted for them and split by them.
"""

import duckdb

from pipeline.core.errors import LogError

MAX_SEGMENTS = 50

RULES = (
    ("a field is missing", "user IS NULL OR user = ''"),
    (
        "negative count",
        "impressions < 0 OR clicks < 0 OR orders < 0 OR units < 0 OR revenue < 0",
    ),
)
"""Rejection reasons with their SQL conditions."""

_DUPLICATES = """
INSERT INTO user_covariates FROM duplicate_users;
DELETE FROM duplicate_users;
CREATE OR REPLACE TEMP TABLE repeated_users AS
SELECT "row", source FROM (
    SELECT rowid AS "row", source, row_number() OVER (PARTITION BY user ORDER BY source, segment,
        impressions, clicks, orders, units, revenue) AS n
    FROM user_covariates)
WHERE n > 1
"""

_SET_APART = """
INSERT INTO duplicate_users FROM user_covariates WHERE rowid IN (SELECT "row" FROM repeated_users);
DELETE FROM user_covariates WHERE rowid IN (SELECT "row" FROM repeated_users);
"""


def deduplicate_users(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the first row of every user, by file, and count the others as rejected.

    Raises:
        LogError: if there are too many segments.
    """
    connection.execute(_DUPLICATES)
    connection.execute(_SET_APART)
    connection.execute(
        "INSERT INTO excluded_rows SELECT source, 'duplicate', 'duplicate user', NULL, count(*) "
        "FROM duplicate_users GROUP BY source"
    )
    (segments,) = connection.execute(
        "SELECT count(DISTINCT segment) FROM user_covariates"
    ).fetchone() or (0,)
    check_segments(segments)


def check_segments(segments: int) -> None:
    """Raise LogError if there are too many segments."""
    if segments > MAX_SEGMENTS:
        msg = (
            f"the files of users have {segments:,} segments, expected at most {MAX_SEGMENTS}, as one "
            "regression is fitted per segment; merge segments or drop the column segment"
        )
        raise LogError(msg)
