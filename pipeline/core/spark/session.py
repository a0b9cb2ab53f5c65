"""A session of Spark for the queries of one step."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from pipeline.core.spark.errors import spark_errors
from pipeline.core.spark.master import check_answers, check_spark
from pipeline.core.spark.waiting import announce_waiting


@contextmanager
def spark_session(name: str, master: str, variable: str) -> Iterator[Any]:
    """A ``SparkSession`` with temporary views and settings of its own; Spark is stopped at the end if it is started here.

    Defaults of settings are those of ``spark-defaults.conf`` (in the folder SPARK_CONF_DIR), except that Spark's
    pages are off. In a process that has a session already, such as a notebook, its cluster and its catalog are used.
    Meanwhile Spark logs no error, since every one is raised, and the project's log says if no worker takes the work.

    Args:
        name: What the cluster's pages call the application.
        master: The address of the master, as ``spark-submit --master`` has it.
        variable: The variable of the environment that has the address, for messages.

    Raises:
        ClusterError: if Spark is not installed, the cluster cannot be reached, or Spark fails.
    """
    check_spark()
    with warnings.catch_warnings(), spark_errors(master, variable):
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
        # the end of Java is an error, too
        warnings.filterwarnings("ignore", "Unable to cleanly shutdown Spark JVM")
        sql = import_module("pyspark.sql")
        found = sql.SparkSession.getActiveSession()
        spark = _start(sql.SparkSession.builder, name, master) if found is None else found
        logger = import_module("pyspark.logger").PySparkLogger.getLogger("SQLQueryContextLogger")
        logger.disabled = True
        try:
            with ExitStack() as meanwhile:
                context = getattr(spark, "sparkContext", None)
                if context is not None:  # Spark Connect has none
                    meanwhile.enter_context(_without_traces(context))
                    meanwhile.enter_context(announce_waiting(context))
                yield spark.newSession()
        finally:
            logger.disabled = False
            if found is None:
                spark.stop()


def _start(builder: Any, name: str, master: str) -> Any:
    check_answers(master)
    settings = {
        "spark.ui.enabled": "false",  # a server on all addresses
        "spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower(),
    }
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # workers and drivers listen there
    return builder.config(map=settings).appName(name).master(master).getOrCreate()


@contextmanager
def _without_traces(context: Any) -> Iterator[None]:
    """Keep Spark's warnings and errors off its log: it would write the stack of every error, which is raised, too."""
    log4j = context._jvm.org.apache.logging.log4j  # noqa: SLF001 - the level cannot be read and restored otherwise
    result = log4j.core.Filter.Result
    fatal_only = log4j.core.filter.ThresholdFilter.createFilter(
        log4j.Level.FATAL, result.NEUTRAL, result.DENY
    )
    settings = log4j.LogManager.getContext(False).getConfiguration()  # noqa: FBT003 - Java's
    settings.addFilter(fatal_only)
    try:
        yield
    finally:
        settings.removeFilter(fatal_only)
