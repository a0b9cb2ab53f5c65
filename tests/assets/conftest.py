"""A small study in a folder of its own: the real chain, in seconds."""

from pathlib import Path

import pytest
import yaml

from pipeline.study import PARAMS_FILE, load_study
from pipeline.world.generation import generate_log

SMALL = {
    "world": {"items": 200, "categories": 8, "users": 300, "sessions": 3000, "days": 12},
    "sessions": {"test_days": 3.0, "validation_days": 2.0},
    "model": {"width": 16, "layers": 1, "heads": 2, "max_length": 20},
    "training": {"epochs": 2, "negatives": 64},
    "evaluation": {"preferences": 5},
    "experiment": {"groups": 3, "users": 600, "days": 7},
}


@pytest.fixture(scope="session")
def small_params() -> dict:
    """The repository's params.yaml, made small."""
    values = yaml.safe_load((Path(__file__).parents[2] / PARAMS_FILE).read_text("utf-8"))
    for section, changes in SMALL.items():
        values[section].update(changes)
    return values


@pytest.fixture
def project(tmp_path, monkeypatch, small_params) -> Path:
    """A project folder with the small study's params.yaml and raw data; the working directory."""
    (tmp_path / PARAMS_FILE).write_text(yaml.safe_dump(small_params), encoding="utf-8")
    study = load_study(tmp_path / PARAMS_FILE)
    generate_log(study.world, tmp_path / study.dataset.path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
