"""One log of several servers: a folder for each, and the files that a server left open that is gone."""

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.artifacts.lock import LOCK, file_lock
from pipeline.core.errors import StorageError, StudyError
from pipeline.experiment.log.log_files import LogTable
from pipeline.serving.event_log.recovery import SkippedLines, recover_files
from pipeline.serving.event_log.rotating_files import folder_of, not_writable

_LOG = logging.getLogger(__name__)

_STARTING = ".starting"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


def replica_folder(log: Path, replica: str | None) -> Path:
    """The folder of a server: the log itself, or the one in it that is named after the replica.

    Raises:
        StudyError: if the name could leave the log, or is that of another of its folders.
    """
    if replica is None:
        return log
    reserved = folder_of(LogTable.CONFIRMATIONS, log).name
    if not _NAME.fullmatch(replica) or reserved in replica.split("/"):
        msg = (
            f"{replica!r} is not a valid name of a replica: expected letters, digits, '.', '_' and '-', a letter "
            f"or digit first, with '/' between folders, and not {reserved!r}; such as --replica a, or "
            "--replica eu-west/1"
        )
        raise StudyError(msg)
    return log / replica


@contextmanager
def one_start_at_a_time(log: Path) -> Iterator[None]:
    """Wait while another server of the log starts, which may hold the lock of this one's folder for a moment.

    Raises:
        LogError: if the folder is not writable.
    """
    try:
        log.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log / _STARTING, os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        raise not_writable(log, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def close_abandoned(log: Path) -> SkippedLines:
    """Close the files that servers of other folders have left open and that are gone; returns the removed lines.

    Without it, the rows of a replica that never starts again would never be ingested. Folders whose server is
    running are locked. Those that cannot be recovered are named and left: this server has no part in them.
    """
    removed: SkippedLines = {}
    for lock in sorted(log.rglob(LOCK)):
        name = lock.parent.relative_to(log).as_posix()
        try:
            with file_lock(lock, waits=False):
                found = recover_files(lock.parent)
        except BlockingIOError:
            continue
        except (OSError, StorageError) as error:
            _LOG.warning("cannot recover the files of replica %s: %s", name, error)
            continue
        removed |= {f"{name}/{file}": lines for file, lines in found.items()}
    return removed
