"""Projects in which the pages are run: copies of this one, with a small study."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import Block, run_page

_ROOT = Path(__file__).parents[2]


def copy_project(to: Path) -> Path:
    """All files of the repository, in a repository of their own, as if just installed."""
    listing = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listing, cwd=_ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if (_ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_ROOT / name, to / name)
    _install(to)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "as it is"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *words], cwd=to, check=True)
    return to


def _install(project: Path) -> None:
    """What ``make install`` leaves behind, of the environment that these tests run in."""
    scripts = project / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("dagster", "dvc", "paretoscope"):
        (scripts / name).symlink_to(Path(sys.executable).parent / name)
    activate = (
        f"export VIRTUAL_ENV={project}/.venv\n"
        f"export PATH={scripts}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}$PATH\n"
    )
    activate += (_ROOT / "scripts/activation.sh").read_text("utf-8")
    (scripts / "activate").write_text(activate, encoding="utf-8")
    (project / ".venv" / ".installed").touch()


@pytest.fixture
def new_project(tmp_path) -> Path:
    """A project as it is cloned and installed."""
    return copy_project(tmp_path / "project")


@pytest.fixture
def small_project(new_project, small_params) -> Path:
    """The same with a study of seconds."""
    text = yaml.safe_dump(small_params, sort_keys=False)
    (new_project / "params.yaml").write_text(text, encoding="utf-8")
    return new_project


@pytest.fixture
def finished_project(small_project, materialised_study) -> Path:
    """The same with the small study finished."""
    shutil.copytree(materialised_study / "data", small_project / "data", dirs_exist_ok=True)
    shutil.copy(materialised_study / "dvc.lock", small_project)
    return small_project


@pytest.fixture(scope="session")
def materialised_study(tmp_path_factory, small_params) -> Path:
    """A small study from the log to the report, made once."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    text = yaml.safe_dump(small_params, sort_keys=False)
    (project / "params.yaml").write_text(text, encoding="utf-8")
    run_page(project, [Block("the finished study", 1, "sh", "dvc repro study\n", None)])
    return project


@pytest.fixture
def generated_log() -> Callable[[Path], None]:
    """Write the synthetic shop's log in a project, and pin it."""
    generate = Block("the shop's log", 1, "sh", "dvc repro raw_events\n", None)
    return lambda project: run_page(project, [generate])
