"""A small study in a folder of its own: the real chain, in seconds."""

import sys
from dataclasses import fields
from pathlib import Path
from shutil import copytree

import dagster as dg
import pytest
import yaml

from assets.definitions import defs
from assets.durations import AssetTimer
from assets.resources import StudyResource
from pipeline.study import PARAMS_FILE, Study, load_study
from pipeline.synthetic.generate_log import generate_log


@pytest.fixture(scope="session")
def shop(tmp_path_factory, small_params) -> Path:
    """A folder with the small study's params.yaml and raw data; read only."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / PARAMS_FILE).write_text(yaml.safe_dump(small_params), encoding="utf-8")
    study = load_study(folder / PARAMS_FILE)
    generate_log(study.synthetic, folder / study.dataset.path)
    return folder


@pytest.fixture
def project(shop, tmp_path, monkeypatch) -> Path:
    """A project of that shop; the working directory."""
    copytree(shop, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def parameters_read() -> dict[str, set[str]]:
    """The parameters that each asset of the finished study read, by its function's name."""
    return {}


@pytest.fixture(scope="session")
def finished(shop, tmp_path_factory, parameters_read) -> tuple[Path, dg.ExecuteInProcessResult]:
    """A project with a finished study, read only, and the run that finished it."""
    folder = copytree(shop, tmp_path_factory.mktemp("finished"), dirs_exist_ok=True)
    loaded = StudyResource.load

    def unread(*_):
        """In place of the code version, which reads all parameters."""
        return "unread"

    class Timer(AssetTimer):
        """Predicts from a study of its own: what a prediction reads does not change an artifact."""

        def __post_init__(self):
            self.study, _ = loaded(StudyResource())
            super().__post_init__()

    def without_urls(*_):
        """In place of downloads: where the data is does not change an artifact, what it is does."""

    def load(resource):
        study, paths = loaded(resource)
        if sys._getframe(1).f_code.co_name == "yield_for_execution":  # the lock of the study
            return study, paths
        step = dg.AssetExecutionContext.get().op_handle.name
        return watched(study, parameters_read.setdefault(step, set())), paths

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(StudyResource, "load", load)
        patch.setattr("assets.materialization.code_version", unread)
        patch.setattr("pipeline.steps.storage.download_data", without_urls)
        patch.setattr("assets.materialization.AssetTimer", Timer)
        patch.setattr("assets.chain.AssetTimer", Timer)
        return folder, dg.materialize(
            list(defs.assets or []),
            selection="*regression_report",
            instance=dg.DagsterInstance.ephemeral(),
            resources={"study": StudyResource()},
        )


def watched(study: Study, read: set[str]) -> Study:
    """The study, which records every key that is read of it, such as ``training.epochs``."""
    for section in fields(study):
        if (found := getattr(study, section.name)) is not None:  # a study may have no rollout
            _watch(found, section.name, read)
    return study


def _watch(section, name: str, read: set[str]) -> None:
    kind = type(section)
    keys = {key.name for key in fields(section)}

    def get(self, key):
        if key in keys:
            read.add(f"{name}.{key}")
        return kind.__getattribute__(self, key)

    watching = type(kind.__name__, (kind,), {"__slots__": (), "__getattribute__": get})
    object.__setattr__(section, "__class__", watching)
