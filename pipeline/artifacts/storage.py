"""Paths of a study's artifacts, and atomic writes.

Every artifact is one file or one folder under ``data/studies/<study>/``. It is written to a hidden
folder next to it and then renamed, so a crash leaves the old artifact or the new one, never a part.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self

import polars as pl

from pipeline.artifacts.file_state import kept_while_unchanged
from pipeline.core.asset_graph import ASSET_GRAPH, OF_MODEL
from pipeline.core.errors import USER_ERRORS, DataError, MissingArtifact, StorageError
from pipeline.core.frame_contract import Contract
from pipeline.study import PARAMS_FILE, Study

_UNFINISHED = ".new"
KEPT_MODELS = ".models"
REPORT = "report"
DATABASE = "experiment.duckdb"

ASSET_PATHS = {"regression_report": REPORT, "experiment_log": DATABASE}
"""Artifacts that are not named after the asset that writes them."""

_ASSETS = {path: asset for asset, path in ASSET_PATHS.items()}


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """The paths of one study; ``params`` is the file of its parameters, None for ``params.yaml``.

    Most artifacts are named after the asset that writes them. Those of a kept ``model`` are in a folder of it.
    """

    root: Path
    name: str
    params: Path | None = None
    model: str | None = None

    @classmethod
    def of(cls, study: Study, root: Path) -> Self:
        """The paths of the project's default study."""
        return cls(root=root, name=study.study.name)

    @property
    def params_file(self) -> Path:
        """The file of the study's parameters."""
        return self.params or self.root / PARAMS_FILE

    @property
    def folder(self) -> Path:
        """The folder of all artifacts of the study."""
        return self.root / "data" / "studies" / self.name

    def artifact(self, asset: str, file: str | None = None) -> Path:
        """The path of an asset's artifact, or of one file in it, whether or not it exists."""
        kept = (KEPT_MODELS, self.model) if self.model and asset in OF_MODEL else ()
        return self.folder.joinpath(*kept, asset, file or "")

    def require(self, asset: str, file: str | None = None) -> Path:
        """The path of an artifact that an upstream asset has written.

        Raises:
            MissingArtifact: if it does not exist; the message gives the command that creates it.
            StorageError: if its folder cannot be read.
        """
        path = self.artifact(asset, file)
        with storage_errors(path):
            restore_interrupted(self.artifact(asset))
            is_missing = not path.exists()
        if is_missing:
            name = _ASSETS.get(asset, asset)
            command = f"dagster asset materialize --select {name}"
            msg = (
                f"{path.relative_to(self.root)} is missing. Create it with: {command} "
                f"(or '*{name}' to include everything upstream)"
            )
            raise MissingArtifact(msg, command)
        return path


_UNWRITABLE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.EROFS: "write to another disk",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "change its permissions"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EEXIST), "move away what is in its place"),
}
"""Errors of the operating system that a user can fix, and how."""


def is_full(error: Exception) -> bool:
    """Whether an error, whichever library raises it, is that of a full disk."""
    return _system_error(error) in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _system_error(error: Exception) -> int | None:
    """The number of the system's error, if it is one of ``_UNWRITABLE``."""
    code = getattr(error, "errno", None)
    if code is not None:
        return code if code in _UNWRITABLE else None
    # DuckDB, Arrow, polars and safetensors have only the text of the system's error
    return next((number for number in _UNWRITABLE if os.strerror(number) in str(error)), None)


@contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn an error of the disk, whichever library raises it, into one line with a remedy.

    Raises:
        StorageError: if the disk is full, or a file cannot be written or read.
    """
    try:
        yield
    except USER_ERRORS:
        raise
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        named = Path(getattr(error, "filename", None) or target)
        file = target if target.parent in named.parents else named  # of unfinished work, its target
        verb = "accessed" if number in {errno.EACCES, errno.EPERM} else "written"
        msg = (
            f"{file} cannot be {verb}: {os.strerror(number)}. Please {_UNWRITABLE[number]} and run "
            "the command again; finished artifacts are unchanged"
        )
        raise StorageError(msg) from error


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces ``target`` on success and is deleted on failure.

    The old folder is renamed first, so for an instant there is no ``target``;
    :func:`restore_interrupted` recovers from a crash at that instant.

    Raises:
        StorageError: if it cannot be written.
    """
    with work_folder(target) as work:
        fresh = work / target.name
        fresh.mkdir()
        yield fresh
        _publish_folder(fresh, target)


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a path in a new folder; on success the file replaces ``target`` atomically.

    Raises:
        StorageError: if it cannot be written.
    """
    with work_folder(target) as work:
        yield work / target.name
        (work / target.name).replace(target)


def restore_interrupted(target: Path) -> None:
    """Remove what killed processes have left of an artifact, and rename the old one back if needed."""
    for left in target.parent.glob(f".{escape(target.name)}.*{_UNFINISHED}"):
        _remove_leftover(left)


def remove_leftovers(folder: Path) -> None:
    """Do so for all artifacts in a folder and below it."""
    for left in folder.rglob(f".*{_UNFINISHED}"):
        _remove_leftover(left)


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """A hidden folder next to ``target`` for unfinished work, deleted at the end.

    Its process holds a lock on it (``flock``), which distinguishes it from the leftover of a killed one.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        restore_interrupted(target)
        work, lock = _new_work_folder(target)
        try:
            yield work
        finally:
            _discard(work)
            os.close(lock)


def _new_work_folder(target: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock."""
    while True:
        work = Path(mkdtemp(_UNFINISHED, f".{target.name}.", target.parent))
        with suppress(FileNotFoundError):
            lock = os.open(work, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks, where leftovers are kept
                fcntl.flock(lock, fcntl.LOCK_EX)
            if work.exists():  # else another process took it for a leftover before it was locked
                return work, lock
            os.close(lock)


def _publish_folder(fresh: Path, target: Path) -> None:
    """Rename a folder to ``target``; an older one, also of another process, is moved out of the way."""
    old = _old(fresh.parent, target)
    while True:
        try:
            fresh.replace(target)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            target.rename(old)


def _remove_leftover(path: Path) -> None:
    """Discard unfinished work, unless its process holds the lock on it."""
    with suppress(OSError):
        lock = os.open(path, os.O_RDONLY)
        try:
            is_publishing = any(path.glob("*.old"))  # ends in an instant
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if is_publishing else fcntl.LOCK_NB))
            _discard(path)
        finally:
            os.close(lock)


def _discard(work: Path) -> None:
    """Delete a folder of unfinished work, after renaming an old artifact in it back if there is no new one."""
    target = work.with_name(work.name[1:].rsplit(".", 2)[0])
    if not target.exists():
        with suppress(OSError):
            _old(work, target).rename(target)
    shutil.rmtree(work, ignore_errors=True)


def _old(work: Path, target: Path) -> Path:
    return work / f"{target.name}.old"


def read_table(path: Path, contract: Contract | None = None) -> pl.DataFrame:
    """Read a parquet file of an artifact; raises :class:`DataError` if it is corrupt.

    A table that breaks its contract is corrupt, too.
    """
    try:
        table = pl.read_parquet(path, glob=False)
        return contract.validate(table) if contract else table
    except (pl.exceptions.PolarsError, OSError, DataError) as error:
        raise _corrupt(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON: the same bytes for the same value."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file of an artifact; raises :class:`DataError` if it is corrupt."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _corrupt(path, error) from error


def md5(path: Path) -> str:
    """The md5 of a file, or of a folder as DVC computes it: of its list of files, plus ``.dir``."""
    if path.is_dir():
        files = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
        entries = [{"md5": md5(path / file), "relpath": file.as_posix()} for file in files]
        listing = json.dumps(entries, sort_keys=True).encode()
        return hashlib.md5(listing, usedforsecurity=False).hexdigest() + ".dir"
    return kept_while_unchanged(path, _read_md5)


def _read_md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _corrupt(path: Path, error: Exception) -> DataError:
    folders = [folder.name for folder in path.parents]
    name = next((one for one in folders if one in ASSET_GRAPH or one in _ASSETS), path.parent.name)
    command = f"dagster asset materialize --select {_ASSETS.get(name, name)}"
    return DataError(f"{path} is corrupt: {error}. Re-create it with: {command}", command)
