"""A session of Spark; requires ``pip install 'paretoscope[spark]'`` and Java here."""

import os
import shutil
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.core.errors import ClusterError, ParetoscopeError

_ANSWER_SECONDS = 10


def check_spark() -> None:
    """Raise ClusterError if this machine has no PySpark or no Java."""
    if find_spec("pyspark") is None:
        msg = "PySpark is not installed; run: pip install 'paretoscope[spark]'"
        raise ClusterError(msg)
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=str(Path(home, "bin")) if home else None) is None:
        where = f"in JAVA_HOME = {home}" if home else "on the PATH, and JAVA_HOME is not set"
        msg = (
            f"Spark needs Java 17 or newer on this machine, but there is none {where}; run: apt-get install "
            "openjdk-17-jre-headless"
        )
        raise ClusterError(msg)


@contextmanager
def spark_session(name: str, master: str, variable: str) -> Iterator[Any]:
    """A ``SparkSession`` with temporary views and settings of its own; Spark is stopped at the end if it is started here.

    Defaults of settings are those of ``spark-defaults.conf`` (in the folder SPARK_CONF_DIR), except that Spark's
    pages are off. In a process that has a session already, such as a notebook, its cluster and its catalog are used.

    Args:
        name: What the cluster's pages call the application.
        master: The address of the master, as ``spark-submit --master`` has it.
        variable: The variable of the environment that has the address, for messages.

    Raises:
        ClusterError: if Spark is not installed, the cluster cannot be reached, or Spark fails.
    """
    check_spark()
    with warnings.catch_warnings(), _spark_errors(master, variable):
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
        sql = import_module("pyspark.sql")
        found = sql.SparkSession.getActiveSession()
        spark = _start(sql.SparkSession.builder, name, master) if found is None else found
        logger = import_module("pyspark.logger").PySparkLogger.getLogger("SQLQueryContextLogger")
        logger.disabled = True  # it writes the stack of every error, which is an exception, too
        try:
            yield spark.newSession()
        finally:
            logger.disabled = False
            if found is None:
                spark.stop()


def _start(builder: Any, name: str, master: str) -> Any:
    """Start Spark; returns when a worker has answered."""
    _check_answers(master)
    settings = {
        "spark.ui.enabled": "false",  # a server on all addresses
        "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),
    }
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # workers and drivers listen there
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.appName(name).master(master).getOrCreate()
    spark.range(1).count()
    spark.sparkContext.setLogLevel("FATAL")  # not before: that no worker accepts is a warning only
    return spark


def _check_answers(master: str) -> None:
    """Raise OSError if nothing listens at a master's HOST:PORT, for which Spark would wait for a minute."""
    scheme, _, hosts = master.partition("://")
    if scheme != "spark":
        return
    failed: OSError | None = None
    for one in hosts.split(","):
        host, _, port = one.rpartition(":")
        try:
            address = (host.strip("[]"), int(port))
            socket.create_connection(address, timeout=_ANSWER_SECONDS).close()
        except ValueError:
            failed = OSError(f"{one} is not HOST:PORT")
        except OSError as error:
            failed = error
        else:
            return
    if failed is not None:
        raise failed


@contextmanager
def _spark_errors(master: str, variable: str) -> Iterator[None]:
    """Convert errors of Spark and of the connection to ClusterError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ParetoscopeError):
            raise
        modules = {one.__module__.partition(".")[0] for one in type(error).__mro__}
        is_of_start = isinstance(error, OSError) and error.filename is None
        if not is_of_start and not modules & {"pyspark", "py4j"}:
            raise
        msg = f"Spark at {master} fails: {first_line(error)}. Check {variable} and the logs of the cluster"
        raise ClusterError(msg) from error


def first_line(error: Exception) -> str:
    """The first line of a message: of the first cause in Java, if there is one."""
    java: Any = getattr(error, "java_exception", None)
    while java is not None and java.getCause() is not None:
        java = java.getCause()
    text = str(error if java is None else java)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
