"""Errors of Spark as one line that names their cause."""

# ruff: noqa: SLF001 - PySpark has no function for the process that it starts

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pipeline.core.errors import ClusterError, ParetoscopeError

_NO_LOCAL_FOLDER = 53
"""Exit code of Java if Spark cannot make the folder of its temporary files."""

_FULL = ("No space left on device", "Disk quota exceeded", "Read-only file system")
_END_SECONDS = 1.0
"""Between the end of Java's connections and that of its process."""


@contextmanager
def spark_errors(master: str, variable: str) -> Iterator[None]:
    """Convert errors of Spark and of the connection to ClusterError."""
    try:
        yield
    except Exception as error:
        code = _exit_code_of_java()
        if code is not None:
            raise ClusterError(_end_of_java(code)) from error
        if isinstance(error, ParetoscopeError):
            raise
        modules = {one.__module__.partition(".")[0] for one in type(error).__mro__}
        is_of_start = isinstance(error, OSError) and error.filename is None
        if not is_of_start and not modules & {"pyspark", "py4j"}:
            raise
        line = first_line(error)
        msg = f"Spark at {master} fails: {line}. Check {variable} and the logs of the cluster"
        if "JAVA_GATEWAY_EXITED" in line:
            msg = (
                "Java does not start for Spark, which needs Java 17 or newer and valid lines in spark-defaults.conf; "
                "Java's own message is on stderr (paretoscope study --verbose)"
            )
        raise ClusterError(msg) from error


def _exit_code_of_java() -> int | None:
    """How the Java process that PySpark has started has ended; None if it runs, or there is none.

    One that has ended is forgotten, so that the next session of this process starts another.
    """
    if find_spec("pyspark") is None:
        return None
    spark: Any = import_module("pyspark").SparkContext
    process = getattr(spark._gateway, "proc", None)
    if process is None:
        return None
    try:
        code = process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    process.stdin.close()
    if (context := spark._active_spark_context) is not None:
        context._jsc = None  # there is nothing to stop in Java
        context.stop()
    spark._gateway = spark._jvm = None
    return code


def first_line(error: Exception) -> str:
    """The first line of a message: of the first cause in Java, if there is one.

    A disk that is full or cannot be written is named by its folders.
    """
    java: Any = getattr(error, "java_exception", None)
    while java is not None and java.getCause() is not None:
        java = java.getCause()
    text = str(error if java is None else java)
    lines = (line.strip() for line in text.splitlines() if line.strip())
    line = next(lines, type(error).__name__)
    if any(one in line for one in _FULL):
        line += f" (Spark's temporary files are in {_local_folders()}, here and on every worker)"
    return line


def _end_of_java(code: int) -> str:
    if code == _NO_LOCAL_FOLDER:
        return (
            f"Spark cannot write its temporary files in {_local_folders()}; expected a folder that can be written and "
            "has space: export SPARK_LOCAL_DIRS=FOLDER"
        )
    return (
        f"Spark's Java process on this machine has ended (exit code {code}: killed, or out of memory?); type the "
        "command again. If it ends again, set a larger spark.driver.memory in spark-defaults.conf"
    )


def _local_folders() -> str:
    folders = os.environ.get("SPARK_LOCAL_DIRS")
    return f"SPARK_LOCAL_DIRS = {folders}" if folders else "spark.local.dir (default: /tmp)"
