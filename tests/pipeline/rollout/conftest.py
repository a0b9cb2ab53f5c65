"""A study's folder for rollouts."""

import numpy as np
import pytest

from pipeline.artifacts.storage import StudyPaths


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "params.yaml").write_text("study: {name: shop}\n", encoding="utf-8")
    return StudyPaths(tmp_path, "shop")


@pytest.fixture
def rng():
    return np.random.default_rng(20)
