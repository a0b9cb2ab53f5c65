"""What was known of users before the experiment: their segment, and what they had done.

It comes in files ``users…``, one row a user. Neither can be an effect of the lists, so users may be
told apart by them.
"""

import duckdb

from pipeline.core.errors import LogError

MOST_SEGMENTS = 50

FAULTS = (
    ("a field is missing", "user IS NULL OR user = ''"),
    (
        "negative count",
        "impressions < 0 OR clicks < 0 OR orders < 0 OR units < 0 OR revenue < 0",
    ),
)
"""What makes a row unusable, and its SQL."""

_REPEATED = """
CREATE OR REPLACE TEMP TABLE repeated_users AS
SELECT "row", source FROM (
    SELECT rowid AS "row", source, row_number() OVER (PARTITION BY user ORDER BY source, segment,
        impressions, clicks, orders, units, revenue) AS place
    FROM known_users)
WHERE place > 1
"""


def deduplicate_users(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep the first row of every user, by the order of files, and count the others.

    Raises:
        LogError: if there are too many segments to be any.
    """
    connection.execute(_REPEATED)
    connection.execute('DELETE FROM known_users WHERE rowid IN (SELECT "row" FROM repeated_users)')
    connection.execute(
        "INSERT INTO unusable SELECT source, 'duplicate user', count(*) FROM repeated_users "
        "GROUP BY source"
    )
    (segments,) = connection.execute(
        "SELECT count(DISTINCT segment) FROM known_users"
    ).fetchone() or (0,)
    if segments > MOST_SEGMENTS:
        msg = (
            f"the files of users have {segments:,} segments, expected at most {MOST_SEGMENTS}: each has "
            "a line fitted to it. Put users into fewer, or leave the column segment out"
        )
        raise LogError(msg)
