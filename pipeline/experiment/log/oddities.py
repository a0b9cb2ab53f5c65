"""What is odd in an ingested log without being wrong: copies of files, ids that lost their zeros."""

import duckdb

from pipeline.datasets.lost_zeros import lost_zeros
from pipeline.experiment.log.log_files import LogTable

_COPY_SHARE = 0.9
"""A file with more duplicates than this share of its rows is a copy."""

_SAME_BYTES = """
SELECT list(source ORDER BY source) FROM ingested_files WHERE rows > 0
GROUP BY "table", md5 HAVING count(*) > 1 ORDER BY 1
"""

_SAME_ROWS = """
SELECT source, f.rows, sum(r.rows)::BIGINT FROM ingested_files AS f JOIN rejected AS r USING (source)
WHERE kind = 'duplicate' GROUP BY source, f.rows HAVING sum(r.rows) > $share * f.rows ORDER BY source
"""

_PADDED = """
SELECT 1 FROM {table} WHERE starts_with({column}, '0') AND regexp_full_match({column}, '0[0-9]+') LIMIT 1
"""

_STRIPPED = """
WITH ids AS ({ids}) SELECT max(id), min(id), count(*) OVER () FROM ids
WHERE regexp_full_match(id, '[0-9]+') GROUP BY ltrim(id, '0') HAVING count(*) > 1 ORDER BY 1 LIMIT 1
"""

_ID_COLUMNS = {
    "user": (LogTable.IMPRESSIONS, LogTable.CLICKS, LogTable.ORDERS, LogTable.USERS),
    "impression": (LogTable.IMPRESSIONS, LogTable.CLICKS, LogTable.ORDERS),
    "item": (LogTable.IMPRESSIONS, LogTable.CLICKS, LogTable.ORDERS),
}
_STORED = {LogTable.USERS: "user_covariates"}


def find_oddities(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """One sentence for each, after an ingestion."""
    empty = connection.execute(
        "SELECT source FROM ingested_files WHERE rows = 0 ORDER BY source"
    ).fetchall()
    found = [f"without a row: {', '.join(source for (source,) in empty)}"] if empty else []
    return [*found, *_copies(connection), *_lost_zeros(connection)]


def _copies(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Files whose rows are in other files, too."""
    remedy = "remove the copy, or name it in experiment.files: {ignored: …}"
    same = [names for (names,) in connection.execute(_SAME_BYTES).fetchall()]
    found = [f"{' and '.join(names)} have the same bytes; {remedy}" for names in same]
    known = {name for names in same for name in names}
    repeated = connection.execute(_SAME_ROWS, {"share": _COPY_SHARE}).fetchall()
    return found + [
        f"{source} repeats rows of other files ({n:,} of {rows:,}); if it is a copy, {remedy}"
        for source, rows, n in repeated
        if source not in known
    ]


def _lost_zeros(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Ids such as ``000012`` and ``12``."""
    found: list[str] = []
    for column, tables in _ID_COLUMNS.items():
        names = [_STORED.get(table, f"logged_{table}") for table in tables]
        padded = (_PADDED.format(table=name, column=column) for name in names)
        if not any(connection.execute(query).fetchone() for query in padded):
            continue
        ids = " UNION ".join(f"SELECT {column} AS id FROM {name}" for name in names)  # noqa: S608 - own names
        if row := connection.execute(_STRIPPED.format(ids=ids)).fetchone():
            found.append(lost_zeros(column, *row))
    return found
