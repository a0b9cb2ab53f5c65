"""A small study in a folder of its own: the real chain, in seconds."""

from pathlib import Path
from shutil import copytree

import pytest
import yaml

from pipeline.study import PARAMS_FILE, load_study
from pipeline.world.generation import generate_log


@pytest.fixture(scope="session")
def shop(tmp_path_factory, small_params) -> Path:
    """A folder with the small study's params.yaml and raw data; not to be changed."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(small_params), encoding="utf-8")
    study = load_study(folder / PARAMS_FILE)
    generate_log(study.world, folder / study.dataset.path)
    return folder


@pytest.fixture
def project(shop, tmp_path, monkeypatch) -> Path:
    """A project of that shop; the working directory."""
    copytree(shop, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
