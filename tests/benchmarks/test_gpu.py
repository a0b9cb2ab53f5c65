"""``benchmarks/gpu.py`` on the processor, at a small size: what is measured is what the product computes."""

import importlib
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

SMALL = Namespace(items=900, sessions=300)
PROCESSOR = torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch):
    """The benchmark."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("gpu")


def test_ranks_are_places_among_the_scores(gpu):
    found = gpu.rank_row("OTTO's catalogue", PROCESSOR, SMALL)

    generator = torch.Generator().manual_seed(1)
    table_ID = torch.randn(900, gpu.WIDTH, generator=generator)
    scores_GPI = torch.randn(2, gpu.POSITIONS, gpu.WIDTH, generator=generator) @ table_ID.T
    target_GP = torch.randint(900, (gpu.POSITIONS,), generator=generator).expand(2, -1)
    above_GP = (scores_GPI > scores_GPI.gather(2, target_GP[..., None])).sum(dim=2)
    assert np.mean(np.array(found["ranks"]) == 1 + above_GP.flatten().numpy()) > 0.99


@pytest.mark.slow
def test_a_training_and_lists_are_timed(gpu):
    trained = gpu.train_row("float32, OTTO's catalogue, sparse table", PROCESSOR, SMALL)

    assert trained["rate"] > 0
    assert 0 < trained["loss"] < 2 * np.log(900)
    assert gpu.list_row("16", PROCESSOR, SMALL)["milliseconds"] > 0
