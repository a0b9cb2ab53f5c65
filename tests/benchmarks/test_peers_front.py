"""The other ways to a front in ``benchmarks/peers.py --parts front``."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.network.configuration import Conditioning, ModelConfig
from models.network.model import build_model
from models.preferences import draw_preferences
from models.training.configuration import TrainingConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def front(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("equal_search.front")


@pytest.fixture
def hypernetwork(front):
    config = ModelConfig(
        backbone=front.METHODS["front: hypernetwork"].changes["model.backbone"],
        conditioning=Conditioning.FILM,
        hidden_size=16,
        max_length=5,
    )
    return build_model(config, n_items=30, n_objectives=2, seed=3).eval()


def test_the_preference_makes_the_weights_of_the_hypernetwork(hypernetwork):
    inputs_BT, lengths_B = torch.arange(8).view(2, 4), torch.tensor([4, 4])
    made = []
    for module in hypernetwork.backbone.modules():
        if type(module).__name__ == "_Generated":
            module.register_forward_hook(lambda _, __, weight: made.append(weight.detach()))
    for preference in ([1.0, 0.0], [0.0, 1.0]):
        hypernetwork(inputs_BT, lengths_B, torch.tensor([preference] * 2))

    clicks, orders = made[:8], made[8:]
    assert [tuple(one.shape) for one in clicks[:4]] == [(48, 16), (16, 16), (32, 16), (16, 32)]
    assert all(not torch.equal(a, b) for a, b in zip(clicks, orders, strict=True))


def test_a_hypernetwork_has_one_preference_per_batch(hypernetwork):
    with pytest.raises(ValueError, match="preference_sampling: batch"):
        hypernetwork(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 3]), torch.eye(2))


def test_a_separate_network_is_trained_under_its_preference_alone(front):
    config = front.for_preference(TrainingConfig(), [0.25, 0.75])

    drawn = draw_preferences(
        1000, config.concentrations, config.preference_sampling, generator=torch.Generator()
    )

    assert torch.allclose(drawn, torch.tensor([0.25, 0.75]), atol=0.03)
    assert config.regulariser == "none"


def test_every_method_tries_as_many_rates_and_the_share_is_of_separate_networks(front):
    runs = {name: front.runs_of(name, 0.1, 2, 9.0) for name in front.METHODS}

    separate = runs.pop(front.SEPARATE)
    assert [run.setting["preference"] for run in separate] == [0, 1, 2, 3, 4]
    assert {len(some) for some in runs.values()} == {1}
    assert {run.seconds for some in runs.values() for run in [*some, *separate]} == {9.0}
    points = np.array([[0.2 + 0.1 * row, 0.9 - 0.2 * row, 4.0, 1.0] for row in range(5)])
    bound = front.Front(points, 100, 45.0)
    half = replace(bound, points_GX=points * [0.5, 1, 1, 1], seconds=9.0)
    lines = front.table({front.CONDITIONED: [half] * 3, front.SEPARATE: [bound] * 3})
    conditioned, separate_row = lines[-3], lines[-2]
    assert "| 0.3000 ± 0.0000 (50%) | 0.2000 ± 0.0000 (50%) |" in conditioned
    assert separate_row.count("(100%)") == 4
