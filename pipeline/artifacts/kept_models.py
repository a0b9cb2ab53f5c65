"""Models that a plan or a rollout names, kept when the study is trained again.

A kept model is a hidden folder ``.models/<fingerprint>`` in the study's folder, with what was made with it under the
usual names. Its files are hard links: they take space only once the study has others.
"""

import os
import re
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.storage import KEPT_MODELS, StudyPaths, atomic_folder
from pipeline.core.asset_graph import OF_MODEL

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_CHECKPOINT = "conditioned_model"


def keep_model(paths: StudyPaths) -> str:
    """Keep the study's current model, with its catalogue, metrics and front; returns its fingerprint.

    Raises:
        MissingArtifact: if there is none.
        StorageError: if it cannot be written.
    """
    fingerprint = checkpoint_fingerprint(paths.require(_CHECKPOINT))
    target = _folder(paths) / fingerprint
    if not target.exists():
        with atomic_folder(target) as folder:
            for name in OF_MODEL:
                if paths.artifact(name).is_dir():
                    shutil.copytree(paths.artifact(name), folder / name, copy_function=_link)
    return fingerprint


def paths_of_model(paths: StudyPaths, fingerprint: str) -> StudyPaths | None:
    """The study's paths with this model: its current one or a kept one; None if it has neither."""
    current = paths.artifact(_CHECKPOINT)
    if current.is_dir() and checkpoint_fingerprint(current) == fingerprint:
        return paths
    kept = replace(paths, model=fingerprint)
    is_kept = _FINGERPRINT.fullmatch(fingerprint) and kept.artifact(_CHECKPOINT).is_dir()
    return kept if is_kept else None


def remove_unused_models(paths: StudyPaths, used: Collection[str]) -> None:
    """Remove the kept models whose fingerprints are not among the used ones."""
    folder = _folder(paths)
    for kept in folder.iterdir() if folder.is_dir() else ():
        if _FINGERPRINT.fullmatch(kept.name) and kept.name not in used:
            shutil.rmtree(kept)


def _folder(paths: StudyPaths) -> Path:
    return paths.folder / KEPT_MODELS


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
