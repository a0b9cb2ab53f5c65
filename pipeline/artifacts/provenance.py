"""Provenance of a result: code version, packages, processor and input data."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.artifacts.raw_data import require_dataset
from pipeline.artifacts.storage import StudyPaths, md5
from pipeline.study import Study

PACKAGES = ("torch", "numpy", "polars", "duckdb", "statsmodels", "scipy", "moocore", "dagster")
_GIT_SECONDS = 10


def provenance(study: Study, root: Path) -> dict[str, Any]:
    """The provenance of a study's numbers, as printed in the report."""
    return {
        "code": code_version(root),
        **environment_info(),
        "dataset": {"path": study.dataset.path, "md5": require_dataset(study, root)},
    }


def variants_provenance(study: Study, root: Path, log: Mapping[str, str]) -> dict[str, Any]:
    """The provenance of an analysis of external variants.

    ``log`` maps each file of the experiment's log to its md5.
    """
    variants = study.experiment.variants
    table = {"path": variants, "md5": md5(root / variants)} if isinstance(variants, str) else None
    return {
        "code": code_version(root),
        **environment_info(),
        "variants": table,
        "log": dict(log),
    }


def environment_info() -> dict[str, Any]:
    """Package versions, Python version and processor type."""
    return {
        "packages": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def code_version(root: Path) -> str:
    """The git commit, marked if there are local changes; outside git, the package version."""
    commit = git(root, "rev-parse", "HEAD")
    if commit is None:
        return f"paretoscope {version('paretoscope')}"
    changed = git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit} with local changes" if changed else commit


def output_md5s(paths: StudyPaths) -> dict[str, str]:
    """The md5 of every file of a study, without its manifest and unfinished artifacts."""
    files = sorted(file for file in paths.folder.rglob("*") if file.is_file())
    names = {file: file.relative_to(paths.folder) for file in files}
    return {
        name.as_posix(): md5(file)
        for file, name in names.items()
        if name != Path("manifest.json") and not any(part.startswith(".") for part in name.parts)
    }


def git(root: Path, *arguments: str) -> str | None:
    """The output of a git command in the project at ``root``; None if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(root), *arguments],  # noqa: S607 - git from the PATH
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
