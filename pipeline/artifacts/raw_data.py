"""The raw data of a study: where it is, what DVC pins of it, and how it is restored."""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipeline.artifacts.storage import md5
from pipeline.core.errors import DataError, MissingArtifact
from pipeline.core.object_urls import local_copy, parse_object_url
from pipeline.study import Study


def dataset_path(study: Study, root: Path) -> Path:
    """The path of the raw data; relative paths are relative to the project root."""
    return root / local_copy(study.dataset.path)


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
        DataError: if its md5 is not the pinned one, or it cannot be read.
    """
    with raw_data_errors(study, root):
        return _checked_md5(study, root)


@contextmanager
def raw_data_errors(study: Study, root: Path) -> Iterator[None]:
    """Turn an error of reading the raw data into one line that names the key; raises DataError."""
    try:
        yield
    except OSError as error:
        if not str(error.filename).startswith(str(dataset_path(study, root))):
            raise
        msg = (
            f"raw data {error.filename} cannot be read: {error.strerror}; restore it or change its "
            "permissions, or correct dataset.path"
        )
        raise DataError(msg) from error


def _checked_md5(study: Study, root: Path) -> str:
    path, pinned = dataset_path(study, root), pinned_md5(study, root)
    found = md5(path) if path.exists() else None
    if found is not None and (not pinned or found == pinned):
        return found
    if found is None and parse_object_url(study.dataset.path):
        command = "paretoscope pull"
        msg = f"raw data {study.dataset.path} has no copy on this machine. Download it with: {command}"
        raise MissingArtifact(msg, command)
    command = _generate_command(study, root) or (pinned and _restore_command(path, root, pinned))
    if found is None:
        fix = f"Create it with: {command}" if command else "Add it, or correct dataset.path"
        msg = f"raw data {study.dataset.path} is missing. {fix}"
        raise MissingArtifact(msg, command)
    remedy = f"restore it with '{command}'" if command else "restore it"
    msg = (
        f"raw data {study.dataset.path} has md5 {found}, expected the pinned {pinned}; {remedy} or "
        "pin the change with 'dvc commit'"
    )
    raise DataError(msg, command)


def writing_stage(study: Study, root: Path) -> str | None:
    """The stage of ``dvc.yaml`` that writes the raw data, if there is one."""
    file = root / "dvc.yaml"
    if not file.is_file():
        return None
    try:
        stages = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"]
        return next(
            (name for name, one in stages.items() if study.dataset.path in one.get("outs", [])),
            None,
        )
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, UnicodeDecodeError):
        return None


def _generate_command(study: Study, root: Path) -> str | None:
    """The command that writes the raw data, if a stage of ``dvc.yaml`` does."""
    stage = writing_stage(study, root)
    if stage is None:
        return None
    return f"dvc repro {stage}" if (root / ".dvc").is_dir() else "paretoscope generate"


def _restore_command(path: Path, root: Path, pinned: str) -> str | None:
    """The command that restores pinned data: from DVC's cache, or from its remote; None if neither."""
    dvc, name = root / ".dvc", shlex.quote(os.path.relpath(path, root))
    config = "".join(
        file.read_text(encoding="utf-8", errors="replace")
        for file in (dvc / "config", dvc / "config.local")
        if file.is_file()
    )
    is_elsewhere = re.search(r"(?m)^\s*dir\s*=", config) is not None
    if is_elsewhere or (dvc / "cache/files/md5" / pinned[:2] / pinned[2:]).exists():
        return f"dvc checkout {name}"
    return f"dvc pull {name}" if re.search(r"(?m)^\s*remote\s*=", config) else None
