"""Real processes in a project folder of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

COPIED = (
    *("assets", "models", "paretoscope", "pipeline"),
    *("constraints.txt", "dvc.yaml", ".dvcignore", ".gitignore"),
)


@pytest.fixture
def small_project(tmp_path, project_root, small_params) -> Path:
    """A copy of the project whose study is small, as a fresh git and DVC repository."""
    for name in COPIED:
        source = project_root / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(small_params), encoding="utf-8")
    (tmp_path / ".dagster").mkdir()
    return tmp_path


@pytest.fixture
def run(small_project) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in the small project with what activation sets."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(small_project),
        "DAGSTER_HOME": str(small_project / ".dagster"),
        "DAGSTER_MODULE_NAME": "assets.definitions",
        "DVC_NO_ANALYTICS": "1",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=small_project, env=environment, capture_output=True, text=True, check=False
        )

    return command
