"""Paths of a study's artifacts, and atomic writes.

Every artifact is one file or one folder under ``data/studies/<study>/``. It is written under a
temporary name in the same folder and then renamed, so a crash leaves the old artifact or the new
one, never a part.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl
import yaml

from pipeline.core.errors import USER_ERRORS, DataError, MissingArtifact, StorageError
from pipeline.study import PARAMS_FILE, Study

_READ_CHUNK = 1 << 20

REPORT = "report"
DATABASE = "experiment.duckdb"

ASSET_PATHS = {"regression_report": REPORT, "experiment_log": DATABASE}
"""Artifacts that are not named after the asset that writes them."""

_ASSETS = {path: asset for asset, path in ASSET_PATHS.items()}


def find_project_root(start: Path | None = None) -> Path:
    """The nearest folder at or above ``start`` that contains ``params.yaml``.

    Raises:
        MissingArtifact: if there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / PARAMS_FILE).is_file():
            return folder
    msg = f"no {PARAMS_FILE} in {here} or above it; run this in a folder of the project"
    raise MissingArtifact(msg)


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """The paths of one study's artifacts; most are named after the asset that writes them."""

    root: Path
    name: str

    @classmethod
    def of(cls, study: Study, root: Path) -> Self:
        """The paths of ``study`` in the project at ``root``."""
        return cls(root=root, name=study.study.name)

    @property
    def folder(self) -> Path:
        """The folder of all artifacts of the study."""
        return self.root / "data" / "studies" / self.name

    def artifact(self, asset: str, file: str | None = None) -> Path:
        """The path of an asset's artifact, or of one file in it, whether or not it exists."""
        return self.folder / asset / file if file else self.folder / asset

    def require(self, asset: str, file: str | None = None) -> Path:
        """The path of an artifact that an upstream asset has written.

        Raises:
            MissingArtifact: if it does not exist; the message gives the command that creates it.
        """
        restore_interrupted(self.folder / asset)
        path = self.artifact(asset, file)
        if not path.exists():
            name = _ASSETS.get(asset, asset)
            command = f"dagster asset materialize --select {name}"
            msg = (
                f"{path.relative_to(self.root)} is missing. Create it with: {command} "
                f"(or '*{name}' to include everything upstream)"
            )
            raise MissingArtifact(msg, command)
        return path


_UNWRITABLE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
    errno.EROFS: "write to another disk",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
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
        StorageError: if the disk is full, or a file cannot be written.
    """
    try:
        yield
    except USER_ERRORS:
        raise
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        file = getattr(error, "filename", None) or target
        msg = (
            f"{file} cannot be written: {os.strerror(number)}. Please {_UNWRITABLE[number]} and run "
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
    fresh, old = _sibling(target, "new"), _sibling(target, "old")
    with storage_errors(target):
        restore_interrupted(target)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            yield fresh
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        if target.exists():
            target.rename(old)
        fresh.rename(target)
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a path to write to; on success the file replaces ``target`` atomically.

    Raises:
        StorageError: if it cannot be written.
    """
    fresh = _sibling(target, "new")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield fresh
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)


def restore_interrupted(target: Path) -> None:
    """Rename a folder back that a crash has left under its ``.old`` name.

    An unfinished ``.new`` folder is kept: it may belong to a running writer. The next
    :func:`atomic_folder` replaces it.
    """
    old = _sibling(target, "old")
    if old.exists():
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)


def read_table(path: Path) -> pl.DataFrame:
    """Read a parquet file of an artifact; raises :class:`DataError` if it is corrupt."""
    try:
        return pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _corrupt(path, error) from error


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON: the same bytes for the same value."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file of an artifact; raises :class:`DataError` if it is corrupt."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _corrupt(path, error) from error


def md5(path: Path) -> str:
    """The md5 of a file, or of a folder as DVC computes it: of its list of files, plus ``.dir``."""
    if path.is_dir():
        files = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
        entries = [{"md5": md5(path / file), "relpath": file.as_posix()} for file in files]
        listing = json.dumps(entries, sort_keys=True).encode()
        return hashlib.md5(listing, usedforsecurity=False).hexdigest() + ".dir"
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_READ_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def dataset_path(study: Study, root: Path) -> Path:
    """The path of the raw data; relative paths are relative to the project root."""
    return root / study.dataset.path


def pinned_md5(study: Study, root: Path) -> str | None:
    """The md5 that ``dvc.lock`` or a ``.dvc`` file pins for the raw data; None if unpinned."""
    lock, pin = root / "dvc.lock", Path(f"{dataset_path(study, root)}.dvc")
    outs: list[dict[str, Any]] = []
    try:
        if lock.is_file():
            stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages", {})
            outs += [out for stage in stages.values() for out in stage.get("outs", [])]
        if pin.is_file():
            content = yaml.safe_load(pin.read_text(encoding="utf-8"))
            outs += [{**out, "path": study.dataset.path} for out in content["outs"]]
        return next((out["md5"] for out in outs if out["path"] == study.dataset.path), None)
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
        msg = f"{lock.name} or {pin.name} cannot be parsed: {error}. Restore it from git"
        raise DataError(msg, "git checkout dvc.lock") from error


def require_dataset(study: Study, root: Path) -> str:
    """The md5 of the raw data, which must exist and match its pin if it has one.

    Raises:
        MissingArtifact: if it does not exist.
        DataError: if its md5 is not the pinned one.
    """
    path, pinned = dataset_path(study, root), pinned_md5(study, root)
    command = None
    if _is_generated(study, root):
        command = "dvc repro raw_events"
    elif pinned:
        command = f"dvc checkout {study.dataset.path}"
    if not path.exists():
        fix = f"Create it with: {command}" if command else "Add it, or correct dataset.path"
        msg = f"raw data {study.dataset.path} is missing. {fix}"
        raise MissingArtifact(msg, command)
    found = md5(path)
    if pinned and found != pinned:
        msg = (
            f"raw data {study.dataset.path} has md5 {found}, expected the pinned {pinned}; "
            f"restore it with '{command}' or pin the change with 'dvc commit'"
        )
        raise DataError(msg, command)
    return found


def _is_generated(study: Study, root: Path) -> bool:
    """Whether the raw data is an output of the stage ``raw_events`` of ``dvc.yaml``."""
    file = root / "dvc.yaml"
    if not file.is_file():
        return False
    try:
        outs = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]["raw_events"]["outs"]
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
        return False
    return study.dataset.path in outs


def _corrupt(path: Path, error: Exception) -> DataError:
    asset = _ASSETS.get(path.parent.name, path.parent.name)
    command = f"dagster asset materialize --select {asset}"
    return DataError(f"{path} is corrupt: {error}. Re-create it with: {command}", command)


def _sibling(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")
