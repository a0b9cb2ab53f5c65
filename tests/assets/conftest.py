"""A small study in a folder of its own: the real chain, in seconds."""

from pathlib import Path

import pytest
import yaml

from pipeline.study import PARAMS_FILE, load_study
from pipeline.world.generation import generate_log


@pytest.fixture
def project(tmp_path, monkeypatch, small_params) -> Path:
    """A project folder with the small study's params.yaml and raw data; the working directory."""
    (tmp_path / PARAMS_FILE).write_text(yaml.safe_dump(small_params), encoding="utf-8")
    study = load_study(tmp_path / PARAMS_FILE)
    generate_log(study.world, tmp_path / study.dataset.path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
