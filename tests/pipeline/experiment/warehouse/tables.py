"""The log's tables in a warehouse: ``shop.impressions`` and ``users``."""

import duckdb
import polars as pl

_POSTGRES_TYPES = {
    pl.String: "text",
    pl.Int64: "bigint",
    pl.Int32: "integer",
    pl.Boolean: "boolean",
    pl.Float64: "double precision",
}


def create_in_duckdb(folder, impressions, users=None):
    """Write the tables to a file; returns its URL."""
    database = folder / "warehouse.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE SCHEMA shop")
        for name, rows in _named(impressions, users).items():
            connection.register("new_rows", rows.to_arrow())
            connection.execute(f"CREATE TABLE {name} AS FROM new_rows")
            connection.unregister("new_rows")
    return f"duckdb://{database}"


def create_in_postgres(server, impressions, users=None):
    """Write the tables to a server of :func:`tests.end_to_end.postgres.postgres`; returns its URL."""
    import psycopg  # noqa: PLC0415 - an extra

    url = "postgresql://{DAGSTER_PG_USER}:{DAGSTER_PG_PASSWORD}@{DAGSTER_PG_HOST}:{DAGSTER_PG_PORT}/{DAGSTER_PG_DB}"
    url = url.format(**server)
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA shop")
        for name, rows in _named(impressions, users).items():
            columns = (f'"{one}" {_POSTGRES_TYPES[kind]}' for one, kind in rows.schema.items())
            cursor.execute(f"CREATE TABLE {name} ({', '.join(columns)})")
            with cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy:
                copy.write(rows.write_csv(include_header=False, quote_style="non_numeric").encode())
            cursor.execute(f"ANALYZE {name}")
    return url


def create_in_spark(session, folder, impressions, users=None):
    """Write the tables to parquet files, and enter them in the catalog of a session, which all sessions of its cluster share."""
    session.sql(f"CREATE DATABASE IF NOT EXISTS shop LOCATION '{folder}'")
    for name, rows in _named(impressions, users).items():
        file = folder / f"{name}.parquet"
        rows.write_parquet(file)
        session.sql(f"DROP TABLE IF EXISTS {name}")
        session.sql(f"CREATE TABLE {name} USING parquet LOCATION '{file}'")


def _named(impressions, users):
    return {"shop.impressions": impressions} | ({} if users is None else {"users": users})
