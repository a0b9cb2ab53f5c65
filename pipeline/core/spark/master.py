"""The address of a Spark master, and what this machine needs to reach one."""

import os
import re
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

from pipeline.core.errors import ClusterError

_FORMS = "spark://HOST:PORT, yarn, k8s://HOST:PORT, local[N] or local[*]"

_MASTER = re.compile(
    r"spark://[^\s,/]+:\d+(,[^\s,/]+:\d+)*|k8s://\S+|yarn|local(\[(\d+|\*)(,\d+)?\])?|local-cluster\[\d+,\d+,\d+\]"
)
_ANSWER_SECONDS = 10


def fault_of_master(variable: str, key: str) -> str | None:
    """What is wrong with the address in a variable of the environment, as a message; None if Spark accepts its form.

    Spark itself says so only after Java has started. ``key`` is what the study has, such as ``compute.sessions``.
    """
    address = os.environ.get(variable, "")
    if _MASTER.fullmatch(address) is not None:
        return None
    shown = "" if {"@", "?"} & set(address) else f"= {address!r} "  # a URL may have a password
    found = f"{shown}is not the address of a Spark master" if address else "is not set"
    return (
        f"{variable} {found}, but {key} = spark; expected {_FORMS}: export "
        f"{variable}=spark://HOST:7077"
    )


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


def check_answers(master: str) -> None:
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
        except OSError as error:
            failed = error
        else:
            return
    if failed is not None:
        raise failed
