"""What every test shares: the slow mark, and where real data lies."""

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

_REAL_DATA = "PARETOSCOPE_REAL_DATA"
_ROOT = Path(__file__).parents[1]

# Threads cost more than they save in models this small, twenty times as much beside other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("untimed", settings.default, deadline=None)  # slow machines do not fail
settings.load_profile("untimed")

SMALL = {
    "synthetic": {"items": 200, "categories": 8, "users": 300, "sessions": 3000, "days": 12},
    "sessions": {"test_days": 3.0, "validation_days": 2.0},
    "model": {"hidden_size": 16, "layers": 1, "heads": 2, "max_length": 20},
    "training": {"epochs": 2, "negatives": {"uniform": 64}, "threads": 1},
    "experiment": {"groups": 3, "users": 600, "days": 7, "guardrails": {}},
    "simulator": {"truth_users": 100},
}
"""What makes the default study one of seconds."""


def pytest_addoption(parser):
    parser.addoption("--runslow", action="store_true", help="run tests marked slow, too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="slow; run with --runslow")
    for item in items:
        # the finished study takes 20 seconds to make
        if "slow" in item.keywords or "finished_study" in item.fixturenames:
            item.add_marker(skip)


def pytest_unconfigure():
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def known_to_be_no_garbage():
    """Hide what there is by now from the collector, which statsmodels calls in every Holm correction.

    It takes half a second to look through all that the modules before have imported.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def project_root() -> Path:
    return _ROOT


@pytest.fixture
def real_data() -> Path:
    """The folder of real samples; the test is skipped, saying so, where it is absent."""
    folder = Path(os.environ.get(_REAL_DATA, _ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set {_REAL_DATA} to its folder")
    return folder


@pytest.fixture(scope="session")
def small_params() -> dict:
    """The repository's params.yaml, made small."""
    values = yaml.safe_load((_ROOT / "params.yaml").read_text("utf-8"))
    for section, changes in SMALL.items():
        values[section].update(changes)
    return values


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory, small_params) -> Path:
    """The project of a small study that has run without Dagster; read only."""
    from paretoscope import open_study  # noqa: PLC0415 - torch, which few tests need

    folder = tmp_path_factory.mktemp("finished-study")
    (folder / "params.yaml").write_text(yaml.safe_dump(small_params), encoding="utf-8")
    study = open_study(folder)
    study.generate_log()
    study.run()
    return folder


@pytest.fixture(scope="session")
def docs_site(tmp_path_factory) -> Path:
    """The documentation, built as ``make docs`` does, in a folder of its own."""
    root = tmp_path_factory.mktemp("site")
    ignored = shutil.ignore_patterns("_build", "reference", "measured", "__pycache__")
    shutil.copytree(_ROOT / "docs", root / "docs", ignore=ignored)
    shutil.copytree(_ROOT / "benchmarks/results", root / "benchmarks/results")
    (root / "pipeline").symlink_to(_ROOT / "pipeline")
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    recipe = (_ROOT / "Makefile").read_text("utf-8").split("\ndocs: install\n\t")[1].split("\n")[0]
    words = recipe.removeprefix("$(ACTIVATE) && ")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    built = subprocess.run(
        ["bash", "-c", words],
        cwd=root,
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return root / "docs/_build/html"
