"""Training, ranks and lists on a device other than the processor give what they give there.

No GPU is needed: :mod:`tests.models.training.own_device` refuses what CUDA refuses. It has no kernels for GRU4Rec's
cells and for sparse gradients, and nothing here says how fast a GPU is, or that CUDA's own kernels are right.
"""

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from models.network.configuration import Conditioning, ModelConfig, Positions
from models.objectives.configuration import ClickLoss, Negatives, Objective
from models.preferences import preference_grid
from models.scoring.recommend import top_items
from models.scoring.target_scores import score_targets
from models.tokens import SessionTokens
from models.training.configuration import (
    HypervolumeOf,
    ItemVectors,
    Regulariser,
    Scalarisation,
    TrainingConfig,
)
from models.training.distributed import ProcessGroup
from models.training.loop import train
from models.training.warm_start import WarmStart

pytestmark = pytest.mark.slow
ITEMS = 40
MODEL = {"hidden_size": 8, "layers": 1, "dropout": 0.1, "max_length": 6}
TRAINING = {
    "epochs": 2,
    "batch_size": 16,
    "negatives": Negatives(uniform=8),
    "threads": 1,
    "device": "cpu",
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "FiLM, positions from the end": (
        {"conditioning": Conditioning.FILM, "positions": Positions.END},
        {"scalarisation": Scalarisation.SMOOTH_TCHEBYCHEFF, "regulariser": Regulariser.ANGLE},
    ),
    "TRON, concatenation": (
        {"backbone": "tron", "conditioning": Conditioning.CONCATENATION},
        {"initial_items": ItemVectors.RANDOM, "hypervolume_of": HypervolumeOf.METRICS},
    ),
    "all negatives": ({}, {"negatives": Negatives(all=True, uniform=0)}),
    "gBCE, in-batch negatives": (
        {},
        {
            "click_loss": ClickLoss.GBCE,
            "negatives": Negatives(uniform=8, in_batch=True, log_q=True),
        },
    ),
    "revenue": (
        {},
        {"objectives": tuple(Objective(loss=one) for one in ("click", "order", "revenue"))},
    ),
}


def sessions(number, seed):
    """Random sessions, with an order for a fifth of the clicks."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 8, number)
    return SessionTokens.from_lists(
        [
            [(int(item), int(rng.random() < 0.2)) for item in rng.integers(0, ITEMS, n)]
            for n in lengths
        ]
    )


def trained_on(device, model, training):
    """Results of a model trained on a device from scratch, and again from its saved state; ranked there, too."""

    @contextmanager
    def processes(_):
        yield ProcessGroup(rank=0, number=1, device=device)

    config = TrainingConfig(**TRAINING | training)
    with (
        TemporaryDirectory() as folder,
        patch("models.training.loop.distributed_context", processes),
    ):
        start = WarmStart(file=Path(folder) / "none", items=tuple(map(str, range(ITEMS))))
        for seed, name in ((3, "first"), (4, "second")):
            trained = train(
                sessions(60, seed=seed),
                sessions(20, seed=2),
                n_items=ITEMS,
                model_config=ModelConfig(**MODEL | model),
                config=config,
                seed=seed,
                item_values=np.linspace(0.5, 1.5, ITEMS),
                state_file=Path(folder) / name,
                warm_start=start,
            )
            start = replace(start, file=Path(folder) / name)
    there = trained.model.to(device)
    grid_GO = preference_grid(3, len(config.objectives))
    test = sessions(20, seed=5)
    clicks = [test.items[first:last] for first, last in pairwise(test.offsets)]
    return {
        "losses": [point.loss for point in trained.curves],
        "ranks": [scores.rank.tolist() for scores in score_targets(there, test, grid_GO)],
        "lists": [
            top_items(there, clicks, one.expand(len(clicks), -1), 5).tolist() for one in grid_GO
        ],
    }


@pytest.fixture(scope="module")
def results():
    """Of every case: on the processor and on the other device, from one process."""
    command = [sys.executable, "-m", __spec__.name]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout)


@pytest.mark.parametrize("name", CASES)
def test_training_ranks_and_lists_are_those_of_the_processor(results, name):
    here, there = results[name]

    assert there["losses"] == pytest.approx(here["losses"], rel=1e-4)
    assert np.mean(np.array(there["ranks"]) == np.array(here["ranks"])) > 0.99
    assert np.mean(np.array(there["lists"]) == np.array(here["lists"])) > 0.99


def test_a_tensor_that_was_left_on_the_processor_is_refused(results):
    assert "on the processor" in results["refusal"]


def main():
    """Print the results of every case on the processor and on a device of its own."""
    from tests.models.training.own_device import NAME, register  # noqa: PLC0415 - not in a test's process

    register()
    devices = torch.device("cpu"), torch.device(NAME, 0)
    found = {
        name: [trained_on(device, *case) for device in devices] for name, case in CASES.items()
    }
    there = torch.ones(2, device=devices[1])
    try:
        torch.where(there > 0, there, torch.ones(2))
    except RuntimeError as error:
        found["refusal"] = str(error)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
