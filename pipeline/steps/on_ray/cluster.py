"""The Ray cluster that a command uses; requires ``pip install 'paretoscope[ray]'`` on every node."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.artifacts.storage import StudyPaths, work_folder
from pipeline.core.errors import ClusterError

RESTARTS = 3
"""How often work is begun again whose process or node was lost."""

_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else Ray reports to its makers
    # Ray's minute is too short for nodes that still have to start, or that are busy
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
}


@contextmanager
def ray_cluster(paths: StudyPaths) -> Iterator[tuple[Any, Path]]:
    """Connect to the cluster of ``RAY_ADDRESS``, or that of this machine, or start one here.

    Yields:
        The module ``ray``, and an empty folder of the study by which a worker verifies that it has
        the driver's file system, see :func:`check_is_shared`.

    Raises:
        ClusterError: if Ray is not installed, or the cluster cannot be reached.
    """
    for variable, value in _DEFAULTS.items():
        os.environ.setdefault(variable, value)
    try:
        ray = import_module("ray")
    except ImportError as error:
        msg = "Ray is not installed; run: pip install 'paretoscope[ray]', here and on every node"
        raise ClusterError(msg) from error
    address = os.environ.get("RAY_ADDRESS", "")
    try:
        _check_answers(address)
        ray.init(logging_level="warning")
    except (OSError, RuntimeError, ValueError) as error:
        msg = (
            f"cannot connect to Ray at {address or 'this machine'}: {error}. Start a cluster with: ray "
            "start --head, and set RAY_ADDRESS to the HOST:PORT that it prints"
        )
        raise ClusterError(msg) from error
    try:
        # the command's result is not to be among what workers and Ray print
        with work_folder(paths.artifact("ray")) as shared, redirect_stdout(sys.stderr):
            yield ray, shared
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT, for which Ray would wait for many minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection(
            (host.rpartition("/")[2].strip("[]"), int(port)), timeout=10
        ).close()


def check_is_shared(folder: Path) -> None:
    """Check on a worker that it sees a folder that the driver has made.

    Raises:
        ClusterError: if it does not: what it saved would be lost to the others.
    """
    if not folder.is_dir():
        msg = (
            f"node {socket.gethostname()} does not have the folder {folder.parent}; all nodes of the "
            "cluster need the project on a shared file system, under the same path"
        )
        raise ClusterError(msg)
