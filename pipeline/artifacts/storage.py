"""Where a study's files lie, and how they get there whole or not at all.

Every artifact is one file or one folder under ``data/studies/<study>/``. It is written beside its
place and then renamed, so that a crash leaves either the old artifact or the new one.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl
import yaml

from pipeline.core.errors import DataError, MissingArtifact
from pipeline.study import PARAMS_FILE, Study

_READ_CHUNK = 1 << 20

REPORT = "report"
DATABASE = "experiment.duckdb"

_MADE_BY = {REPORT: "regression_report", DATABASE: "experiment_log"}
"""Artifacts that are not named after the asset that makes them."""


def find_project_root(start: Path | None = None) -> Path:
    """The project's folder: the nearest one at or above ``start`` that holds ``params.yaml``.

    Raises:
        MissingArtifact: if there is none up to the file system's root.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / PARAMS_FILE).is_file():
            return folder
    msg = f"no {PARAMS_FILE} in {here} or above it; run this from the project's folder"
    raise MissingArtifact(msg)


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """The places of one study's artifacts; most are named after the asset that writes them."""

    root: Path
    name: str

    @classmethod
    def of(cls, study: Study, root: Path) -> Self:
        """The places of ``study`` in the project at ``root``."""
        return cls(root=root, name=study.study.name)

    @property
    def folder(self) -> Path:
        """Everything the study writes."""
        return self.root / "data" / "studies" / self.name

    def artifact(self, asset: str, file: str | None = None) -> Path:
        """The place of ``asset``'s artifact, or of one ``file`` in it, present or not."""
        return self.folder / asset / file if file else self.folder / asset

    def require(self, asset: str, file: str | None = None) -> Path:
        """The place of an artifact that an earlier asset must have written.

        Raises:
            MissingArtifact: naming the artifact and the command that makes it.
        """
        restore_interrupted(self.folder / asset)
        path = self.artifact(asset, file)
        if not path.exists():
            maker = _MADE_BY.get(asset, asset)
            command = f"dagster asset materialize --select {maker}"
            msg = (
                f"{path.relative_to(self.root)} is missing. Make it with: {command} "
                f"(or '*{maker}' for all before it too)"
            )
            raise MissingArtifact(msg, command)
        return path


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a fresh folder to write into; on success it takes ``target``'s place, else it goes.

    The old folder steps aside first, so there is an instant without ``target``;
    :func:`recover` undoes a crash at that instant.
    """
    restore_interrupted(target)
    fresh, old = _beside(target, "new"), _beside(target, "old")
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
    """Give a path to write one file to; on success it replaces ``target`` in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = _beside(target, "new")
    try:
        yield fresh
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def restore_interrupted(target: Path) -> None:
    """Put a folder back that a crash left under its ``old`` name.

    What is half-written stays under its ``new`` name, which may belong to a writer at work; the
    next :func:`publish_folder` starts it afresh.
    """
    old = _beside(target, "old")
    if old.exists():
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)


def read_table(path: Path) -> pl.DataFrame:
    """Read a parquet file this project wrote.

    Raises:
        DataError: if it is damaged.
    """
    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        msg = f"{path} is damaged: {error}. Materialise {path.parent.name!r} anew"
        raise DataError(msg) from error


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON, the same bytes for the same value."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file this project wrote; raises :class:`DataError` if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} is damaged: {error}. Materialise {path.parent.name!r} anew"
        raise DataError(msg) from error


def md5(path: Path) -> str:
    """The md5 of a file's bytes; of a folder, DVC's: that of its list of files, and ``.dir``."""
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
    """The raw data's place; a relative path is relative to the project."""
    return root / study.dataset.path


def pinned_md5(study: Study, root: Path) -> str | None:
    """The md5 DVC pins for the raw data, from ``dvc.lock`` or a ``.dvc`` file; None if unpinned."""
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
        msg = f"{lock.name} or {pin.name} is damaged: {error}. Restore it from git"
        raise DataError(msg) from error


def require_dataset(study: Study, root: Path) -> str:
    """Check that the raw data is there and is what is pinned; return its md5.

    Raises:
        MissingArtifact: if it is absent.
        DataError: if its bytes are not the pinned ones.
    """
    path, pinned = dataset_path(study, root), pinned_md5(study, root)
    if not path.exists():
        remedy = "dvc repro raw_events" if pinned else "dvc repro, or correct dataset.path"
        msg = f"raw data {study.dataset.path} is missing. Make it with: {remedy}"
        raise MissingArtifact(msg, "dvc repro raw_events" if pinned else None)
    found = md5(path)
    if pinned and found != pinned:
        msg = (
            f"raw data {study.dataset.path} has md5 {found}, but {pinned} is pinned; "
            "restore it with 'dvc checkout' or pin the change with 'dvc commit'"
        )
        raise DataError(msg)
    return found


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")
