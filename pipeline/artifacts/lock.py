"""Locks of the operating system, which end with their process; that of a study: one process at a time writes it."""

import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.artifacts.storage import StudyPaths, remove_leftovers, storage_errors

LOCK = ".lock"

_log = logging.getLogger(__name__)


@contextmanager
def file_lock(file: Path, *, waits: bool) -> Iterator[None]:
    """Hold the lock on a file, which is made if there is none.

    Raises:
        BlockingIOError: if another process holds it, and this one does not wait.
        StorageError: if the folder cannot be written.
    """
    with storage_errors(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


@contextmanager
def study_lock(
    paths: StudyPaths, action: str, on_wait: Callable[[str], None] = _log.warning
) -> Iterator[None]:
    """Hold the lock of a study; waits while another process holds it.

    The operating system holds the lock (``flock``) and releases it with the process, however that
    ends. A process that holds it may enter again. Unfinished work of killed processes is removed.

    Args:
        paths: Of the study.
        action: What the holder does, such as ``paretoscope ingest``; shown to those who wait.
        on_wait: Called once with who holds the lock, before waiting.

    Raises:
        StorageError: if the folder of the study cannot be written.
    """
    file = paths.folder / LOCK
    lock = FileLock(file, is_singleton=True, thread_local=False)
    try:
        with storage_errors(paths.folder):
            file.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        holder = file.read_text(encoding="utf-8") or "another process"
        on_wait(f"study {paths.name} is being written by {holder}; waiting for it to end")
        lock.acquire()
    try:
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        name = f"{action} (process {os.getpid()} on {socket.gethostname()}, since {since})"
        with storage_errors(paths.folder):
            file.write_text(name, encoding="utf-8")
        remove_leftovers(paths.folder)
        yield
    finally:
        lock.release()
