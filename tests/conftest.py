"""What every test shares: the slow mark, and where real data lies."""

import os
from pathlib import Path

import pytest

_REAL_DATA = "PARETOSCOPE_REAL_DATA"
_ROOT = Path(__file__).parents[1]


def pytest_addoption(parser):
    parser.addoption("--runslow", action="store_true", help="run tests marked slow, too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="slow; run with --runslow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


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
