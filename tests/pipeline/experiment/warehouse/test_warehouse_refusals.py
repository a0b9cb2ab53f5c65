"""What a warehouse is refused for: what was found, where, what is expected, and what to type."""

import socket
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

import ibis
import polars as pl
import pytest

from pipeline.core.errors import ClusterError, LogError
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.log_files import COLUMNS, LogTable
from pipeline.experiment.log.validation.row_validation import LogRules, rejection_sql
from pipeline.experiment.warehouse.connection import URL_VARIABLE
from pipeline.experiment.warehouse.engine_checks import check_engine
from pipeline.experiment.warehouse.ingest import ingest_warehouse
from pipeline.experiment.warehouse.row_rules import rejection_reason
from pipeline.study import WarehouseBackend, WarehouseConfig
from tests.end_to_end.postgres import postgres
from tests.pipeline.experiment.logs import PLAN, impression, users_in
from tests.pipeline.experiment.warehouse.tables import create_in_duckdb, create_in_postgres

ANN, BOB = users_in("g1", 2)
WAREHOUSE = WarehouseConfig(backend=WarehouseBackend.DUCKDB, impressions="shop.impressions")
ON_SPARK = {"backend": WarehouseBackend.SPARK}
ROWS = pl.DataFrame([impression(f"x{n}", user=user) for n, user in enumerate((ANN, BOB))])
TOO_LARGE = ROWS.with_columns(revenue=pl.lit(2**63 - 1), user=pl.lit(ANN))
USERS = pl.DataFrame({"user": [ANN, BOB], "segment": ["new", "loyal"]})


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Writes tables and returns the message with which their ingestion is refused."""

    def message(impressions=ROWS, users=None, url=None, names=None, error=LogError):
        (tmp_path / "warehouse.duckdb").unlink(missing_ok=True)
        found = create_in_duckdb(tmp_path, impressions, users)
        monkeypatch.setenv(URL_VARIABLE, found if url is None else url)
        tables = {} if users is None else {"users": "users"}
        config = replace(WAREHOUSE, **tables, **(names or {}))
        target = tmp_path / "sums.duckdb"
        with pytest.raises(error) as raised:
            ingest_warehouse(config, PLAN, target, rules=LogRules())
        assert not target.exists()
        return str(raised.value)

    return message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"url": ""}, "PARETOSCOPE_WAREHOUSE_URL is not set, but compute.warehouse.backend = duckdb"),
        ({"url": "mysql://root:secret@h/d"}, "is of 'mysql', but compute.warehouse.backend = duckdb"),
        ({"url": "duckdb:///nowhere/shop.duckdb"}, "the warehouse (duckdb) refuses: IO Error"),
        (
            {"names": {"users": "shop.people"}},
            "no table shop.people, or this user may not read it; set compute.warehouse.users",
        ),
        ({"names": {"impressions": "impressions"}}, "no table impressions"),
        (
            {"impressions": ROWS.drop("group")},
            "shop.impressions has no column group; it has experiment, impression, user",
        ),
        ({"impressions": ROWS.drop("clicked")}, "Tables of clicks and orders are not attributed"),
        (
            {"impressions": ROWS.with_columns(pl.from_epoch("ts", time_unit="ms"))},
            "ts is timestamp(6), expected an integer (ts in milliseconds since 1970 UTC",
        ),
        (
            {"impressions": ROWS.with_columns(pl.col("clicked").cast(pl.Int64), units=pl.lit("2"))},
            "clicked is int64, expected boolean; units is string, expected an integer. Cast them in a view",
        ),
        (
            {"impressions": pl.concat([ROWS, ROWS.with_columns(user=pl.lit(BOB))])},
            "1 duplicate impression of shop.impressions has the time of the first one, and another user",
        ),
        (
            {"users": pl.concat([USERS, USERS.with_columns(segment=pl.lit("old"))])},
            "users has several segments for 2 users",
        ),
        (
            {"users": pl.DataFrame({"user": [f"u{n}" for n in range(51)], "segment": [f"s{n}" for n in range(51)]})},
            "51 segments, expected at most 50",
        ),
        ({"impressions": ROWS.clear()}, "no usable impression in shop.impressions; there are no rows"),
        (
            {"impressions": ROWS.with_columns(experiment=pl.lit("autumn"))},
            "2 rows rejected: another experiment. Check compute.warehouse.impressions and experiment.name",
        ),
        (
            {"impressions": pl.concat([ROWS.with_columns(group=pl.lit("g7"), impression=pl.lit(f"y{n}")) for n in range(9)])},
            "the log has groups that the traffic plan does not have: 'g7' (18 impressions)",
        ),
        ({"impressions": ROWS.drop("ordered", "units")}, "the log has no ordered, but groups on the Pareto front"),
        (
            {"impressions": ROWS.with_columns(user=pl.lit("u" * 300))},
            "the longest user of the log has 300 characters, expected at most 256",
        ),
    ],
)  # fmt: skip
def test_a_log_that_breaks_the_contract(refused, change, expected):
    assert expected in refused(**change)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "is not set, but compute.warehouse.backend = spark; expected spark://HOST:PORT, yarn"),
        ("duckdb:///shop.duckdb", "is not the address of a Spark master, but compute.warehouse.backend = spark"),
        ("localhost:7077", "= 'localhost:7077' is not the address of a Spark master"),
    ],
)  # fmt: skip
def test_an_address_that_is_not_a_master_of_spark(refused, url, expected):
    assert expected in refused(url=url, names=ON_SPARK)


def test_spark_that_is_not_installed(refused, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    no_java = refused(url="yarn", names=ON_SPARK, error=ClusterError)
    monkeypatch.setattr("pipeline.core.spark.master.find_spec", lambda _: None)
    no_spark = refused(url="yarn", names=ON_SPARK, error=ClusterError)

    assert "Spark needs Java 17 or newer on this machine, but there is none in JAVA_HOME" in no_java
    assert no_spark == "PySpark is not installed; run: pip install 'paretoscope[spark]'"


def test_a_driver_that_is_not_installed(refused, monkeypatch):
    monkeypatch.setattr("pipeline.experiment.warehouse.connection.find_spec", lambda _: None)
    names = {"backend": WarehouseBackend.POSTGRES}

    message = refused(url="postgres://ann@h/d", names=names)
    assert (
        message
        == "the driver of postgres is not installed; run: pip install 'paretoscope[postgres]'"
    )


def test_a_master_of_spark_that_does_not_answer(refused):
    pytest.importorskip("pyspark", reason="pip install 'paretoscope[spark]'")
    with socket.socket() as closed:  # bound, and does not listen
        closed.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{closed.getsockname()[1]}"
        message = refused(url=master, names=ON_SPARK, error=ClusterError)

    assert "Connection refused" in message
    assert "Check PARETOSCOPE_WAREHOUSE_URL and the logs of the cluster" in message


@pytest.mark.parametrize(
    "url",
    [
        "postgres://ann:s3cret/x@h:5432/d",
        "postgres://ann:s3cret?x@h:5432/d",
        "postgres://ann:x#s3cret@h:5432/d",
        "postgres://ann:s3cret@h:port/d",
        "postgres://ann:s3cret[x@h:5432/d",
    ],
)
def test_an_address_with_an_unescaped_password_is_refused_and_never_shown(refused, url):
    message = refused(url=url, names={"backend": WarehouseBackend.POSTGRES})

    assert message.startswith(
        "PARETOSCOPE_WAREHOUSE_URL cannot be read as a URL; expected the form of"
    )
    assert "such as %2F for /" in message
    assert "s3cret" not in message


def test_only_a_sum_that_is_too_large_is_said_to_be(refused):
    assert "64 bits" not in refused(url="duckdb:///nowhere/shop.duckdb")


def test_a_sum_beyond_64_bits_is_an_error(refused):
    assert "a sum exceeds 64 bits: check the largest revenue" in refused(TOO_LARGE)


def test_squares_beyond_64_bits_are_exact(tmp_path, monkeypatch):
    """120,000 buyers of 10,000,000, in dong or rupiah, have squares of 1.2e19."""
    rows = ROWS.with_columns(revenue=pl.lit(10**12))
    monkeypatch.setenv(URL_VARIABLE, create_in_duckdb(tmp_path, rows))
    ingest_warehouse(WAREHOUSE, PLAN, tmp_path / "sums.duckdb", rules=LogRules())

    kpis = aggregate(tmp_path / "sums.duckdb", PLAN).group_kpis
    assert kpis.filter(kpi="revenue_per_user", group="g1")["sum_yy"].to_list() == [2e24]


def test_an_engine_that_wraps_is_refused():
    with pytest.raises(LogError, match="does not hold there that a sum beyond 64 bits is an error"):
        check_engine(ibis.polars.connect(), "polars")


def test_every_rule_has_an_expression():
    names = [name for name in COLUMNS[LogTable.IMPRESSIONS] if name != "item"]
    case, parameters = rejection_sql(
        LogTable.IMPRESSIONS, PLAN, LogRules(ignored_groups=("g8",)), columns=names
    )
    kinds = {pl.String: "string", pl.Boolean: "boolean", pl.Float64: "float64"}
    schema = {name: kinds.get(COLUMNS[LogTable.IMPRESSIONS][name], "int64") for name in names}
    rows = ibis.table(schema | {"wrong_field": "string"}, name="log")
    reason = rejection_reason(rows, case, parameters)

    for backend in WarehouseBackend:
        dialect = backend.value
        if backend is WarehouseBackend.SPARK:
            if find_spec("pyspark") is None:
                continue
            import_module("pipeline.experiment.warehouse.spark_backend")
            dialect = "pyspark"
        assert ibis.to_sql(rows.mutate(reason=reason), dialect=dialect).count("THEN") > 10


def test_a_rule_without_an_expression_is_refused():
    rows = ibis.table({"user": "string"}, name="log")

    with pytest.raises(LogError, match=r"the rule REGEXP_MATCHES.* of the log cannot be"):
        rejection_reason(rows, "CASE WHEN regexp_matches(user, 'x') THEN 'odd' END", {})


@pytest.mark.slow
def test_a_server_that_refuses(refused):
    pytest.importorskip("psycopg", reason="pip install 'paretoscope[postgres]'")
    names = {"backend": WarehouseBackend.POSTGRES}
    with postgres() as server:
        url = "postgres://{DAGSTER_PG_USER}:s3cret%21@127.0.0.1:{DAGSTER_PG_PORT}/postgres"
        wrong = refused(url=url.format(**server), names=names)
        large = refused(url=create_in_postgres(server, TOO_LARGE), names=names)
    gone = refused(url=url.format(**server), names=names)

    assert "a sum exceeds 64 bits" in large
    assert "password authentication failed" in wrong
    assert "Connection refused" in gone
    for message in (wrong, gone):
        assert "Check PARETOSCOPE_WAREHOUSE_URL and compute.warehouse" in message
        assert "s3cret" not in message
