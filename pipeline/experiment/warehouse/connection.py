"""The connection to a warehouse; its errors as one line, without its address."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import ibis
from ibis.backends import BaseBackend
from ibis.common.exceptions import IbisError, TableNotFound

from pipeline.core.errors import LogError, ParetoscopeError
from pipeline.core.spark.errors import first_line
from pipeline.core.spark.master import check_spark, fault_of_master
from pipeline.core.spark.session import spark_session
from pipeline.study.compute import WarehouseBackend, WarehouseConfig

URL_VARIABLE = "PARETOSCOPE_WAREHOUSE_URL"

_SCHEMES = {"postgresql": WarehouseBackend.POSTGRES.value}
_EXAMPLES = {
    WarehouseBackend.DUCKDB: "duckdb:///srv/shop.duckdb",
    WarehouseBackend.POSTGRES: "postgres://USER:PASSWORD@HOST:5432/DATABASE",
}
_ADVICE = re.compile(r"\. (Use|If necessary set) .*")
"""How Spark would leave the sum out of the result."""

_CONNECT_SECONDS = 30
_SECRET = re.compile("pass|pwd|token|secret|key", re.IGNORECASE)
"""Names of parameters in a URL whose values are left out of messages."""


@contextmanager
def open_warehouse(config: WarehouseConfig) -> Iterator[BaseBackend]:
    """A connection that is closed at the end.

    Raises:
        LogError: if there is no address, it cannot be reached, or a query fails.
        ClusterError: if Spark is not installed, or does not start.
    """
    url = warehouse_address(config)
    check_driver(config)
    if config.backend is WarehouseBackend.SPARK:
        spark = spark_session("paretoscope sums", url, URL_VARIABLE)
        with spark as session, warehouse_errors(config, ""):  # a master's address has no secret
            from pipeline.experiment.warehouse.spark_backend import (  # noqa: PLC0415 - an extra
                ANSI,
                SparkBackend,
            )

            yield SparkBackend().connect(session, **ANSI)
        return
    with warehouse_errors(config, url):
        connection = _connect(config, url)
        try:
            yield connection
        finally:
            connection.disconnect()


def check_driver(config: WarehouseConfig) -> None:
    """Raise a ParetoscopeError if what speaks to the backend is not installed."""
    if config.backend is WarehouseBackend.SPARK:
        check_spark()
    if config.backend is WarehouseBackend.POSTGRES and find_spec("psycopg") is None:
        msg = "the driver of postgres is not installed; run: pip install 'paretoscope[postgres]'"
        raise LogError(msg)


def find_table(connection: BaseBackend, name: str, key: str) -> Any:
    """A table by its name in the study; raises LogError if there is none.

    ``key`` is that of the study, for the message.
    """
    *database, table = name.split(".")
    place: Any = database[0] if len(database) == 1 else tuple(database) or None
    try:
        return connection.table(table, database=place)
    except TableNotFound as error:
        msg = (
            f"the warehouse has no table {name}, or this user may not read it; set {key} to its name, such as "
            "schema.table"
        )
        raise LogError(msg) from error


def warehouse_address(config: WarehouseConfig) -> str:
    """The address of the environment; raises LogError if it is not one of the study's backend.

    It is a URL; that of Spark is a master, as ``spark-submit --master`` has it.
    """
    url = os.environ.get(URL_VARIABLE, "")
    if config.backend is WarehouseBackend.SPARK:
        if fault := fault_of_master(URL_VARIABLE, "compute.warehouse.backend"):
            raise LogError(fault)
        return url
    scheme = url.partition(":")[0]
    if _SCHEMES.get(scheme, scheme) != config.backend:
        example = _EXAMPLES.get(config.backend, f"{config.backend}://…")
        found = f"is of {scheme!r}" if "://" in url else "is not set" if not url else "is not a URL"
        msg = (
            f"{URL_VARIABLE} {found}, but compute.warehouse.backend = {config.backend}; expected an address such "
            f"as {example}: export {URL_VARIABLE}={example}"
        )
        raise LogError(msg)
    if config.backend is not WarehouseBackend.DUCKDB and not _is_whole(url):
        msg = (
            f"{URL_VARIABLE} cannot be read as a URL; expected the form of {_EXAMPLES[WarehouseBackend.POSTGRES]}, "
            "with special characters of user and password as %XX, such as %2F for / and %40 for @"
        )
        raise LogError(msg)
    return url


def _is_whole(url: str) -> bool:
    """Whether a URL's parts are what they seem: a ``/``, ``?`` or ``#`` in a password ends the host's part."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # is read when it is asked for
    except ValueError:
        return False
    return "@" not in parts.path + parts.query + parts.fragment


def _connect(config: WarehouseConfig, url: str) -> BaseBackend:
    options: dict[str, Any] = {}
    match config.backend:
        case WarehouseBackend.DUCKDB:
            options = {"read_only": True}
        case WarehouseBackend.POSTGRES:
            options = {"connect_timeout": _CONNECT_SECONDS}
        case _:
            pass
    try:
        return ibis.connect(url, **options)
    except ImportError as error:
        extra = f"ibis-framework[{config.backend}]"
        msg = f"the driver of {config.backend} is not installed: pip install '{extra}'"
        raise LogError(msg) from error


@contextmanager
def warehouse_errors(config: WarehouseConfig, url: str) -> Iterator[None]:
    """Convert errors of an engine or its driver to LogError."""
    try:
        yield
    except ParetoscopeError:
        raise
    except Exception as error:
        if not _is_of_engine(error):
            raise
        line = _without_secrets(first_line(error), url)
        msg = f"the warehouse ({config.backend}) refuses: {line}. Check {URL_VARIABLE} and compute.warehouse"
        if "range" in line or "overflow" in line.lower():
            found = _ADVICE.sub("", line)
            msg = (
                "a sum exceeds 64 bits: check the largest revenue and units of the log. The warehouse "
                f"({config.backend}) refuses: {found}"
            )
        raise LogError(msg) from None  # the driver's traceback may have the address


def _is_of_engine(error: Exception) -> bool:
    """Whether an exception is of Ibis, of Arrow or of a driver, whose classes are not known before."""
    modules = {one.__module__.partition(".")[0] for one in type(error).__mro__}
    return isinstance(error, IbisError | OSError) or bool(
        modules - {"builtins", "pipeline", "models"}
    )


def _without_secrets(text: str, url: str) -> str:
    parts = urlsplit(url)
    asked = [value for name, value in parse_qsl(parts.query) if _SECRET.search(name)]
    for secret in (url, parts.password, unquote(parts.password or ""), *asked):
        if secret:
            text = text.replace(secret, "…")
    return text
