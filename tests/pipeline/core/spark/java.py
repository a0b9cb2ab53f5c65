"""The Java process of Spark in tests."""

import shutil
from contextlib import suppress
from importlib.util import find_spec

import psutil
import pytest

needs_spark = pytest.mark.skipif(
    find_spec("pyspark") is None or shutil.which("java") is None,
    reason="Spark needs pyspark and Java; try: pip install 'paretoscope[spark]', apt-get install openjdk-17-jre-headless",
)


def end_java():
    """End the process that PySpark has started; the next session starts one with the environment of then."""
    from pyspark import SparkContext  # noqa: PLC0415 - an extra

    gateway = SparkContext._gateway
    if gateway is None:
        return
    gateway.shutdown()
    gateway.proc.stdin.close()  # ends Java
    gateway.proc.wait()
    SparkContext._gateway = SparkContext._jvm = None


def executors():
    """The workers of a local cluster that this process has started."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if "CoarseGrainedExecutorBackend" in " ".join(one.cmdline()):
                found.append(one.pid)
    return found
