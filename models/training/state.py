"""What a run needs to go on where it was: one safetensors file, replaced whole."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.fronts import FrontQuality
from models.network.configuration import ModelConfig
from models.tokens import SessionTokens
from models.training.configuration import TrainingConfig
from models.training.result import CurvePoint

_KEY = "state"
_FORMAT = 2
"""Of the file; a run does not go on from a state that was written in another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestEpoch:
    """The epoch that is kept.

    Attributes:
        epoch: Its number, from 1.
        front: Its front on validation; the largest hypervolume is the best.
        scalarised: Its mean scalarised loss on validation, which decides ties; lower is better.
        weights: The network's.
    """

    epoch: int
    front: FrontQuality
    scalarised: float
    weights: dict[str, Tensor]

    def is_better_than(self, other: "BestEpoch | None") -> bool:
        """Whether this one is to be kept; of equal ones the earlier is."""
        mine = (self.front.hypervolume, -self.scalarised)
        return other is None or mine > (other.front.hypervolume, -other.scalarised)


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run has come.

    Attributes:
        epoch: The epoch it is in, from 1.
        step: Steps of it that are done.
        loss_sums_O: Sums of the unscaled losses over the positions of those steps, float64.
        positions: How many positions that were.
        curves: All epochs before it.
        best: The epoch with the best validation front; None before the first has ended.
    """

    epoch: int = 1
    step: int = 0
    loss_sums_O: Tensor = field(default_factory=lambda: torch.zeros(0))
    positions: int = 0
    curves: list[CurvePoint] = field(default_factory=list)
    best: BestEpoch | None = None


def run_fingerprint(  # noqa: PLR0913 - all that makes a run
    model: ModelConfig,
    training: TrainingConfig,
    *,
    n_items: int,
    seed: int,
    data: tuple[SessionTokens, ...],
    item_values: NDArray | None = None,
) -> str:
    """What must be the same for a run to be resumed: configuration, seed and data."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([_FORMAT, asdict(model), asdict(training), n_items, seed]).encode())
    for tokens in data:
        for array in (tokens.items, tokens.ordered, tokens.carted, tokens.offsets):
            digest.update(np.ascontiguousarray(array).data)
    if item_values is not None:
        digest.update(np.ascontiguousarray(item_values).data)
    return digest.hexdigest()


def save_state(  # noqa: PLR0913 - all that is needed to go on
    file: Path,
    fingerprint: str,
    progress: Progress,
    *,
    weights: dict[str, Tensor],
    optimizers: dict[str, Tensor],
    scaler: dict[str, Any],
) -> None:
    """Write the run's state; the file is the old one or the new one, whenever it is looked at."""
    best = progress.best
    tensors = {
        "loss_sums": progress.loss_sums_O,
        **{f"weights/{name}": value for name, value in weights.items()},
        **{f"optimizers/{name}": value for name, value in optimizers.items()},
        **{f"best/{name}": value for name, value in (best.weights if best else {}).items()},
    }
    words = {
        "fingerprint": fingerprint,
        "scaler": scaler,
        "epoch": progress.epoch,
        "step": progress.step,
        "positions": progress.positions,
        "curves": [asdict(point) for point in progress.curves],
        "best": best
        and {"epoch": best.epoch, "front": asdict(best.front), "scalarised": best.scalarised},
    }
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    words["digest"] = _digest(words, contiguous)
    save_file(contiguous, beside, metadata={_KEY: json.dumps(words)})
    beside.replace(file)


def _digest(words: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """What tells a damaged file: safetensors checks lengths only."""
    digest = hashlib.blake2b(json.dumps(words).encode(), digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state as it was saved."""

    progress: Progress
    weights: dict[str, Tensor]
    optimizers: dict[str, Tensor]
    scaler: dict[str, Any]


def load_state(file: Path, fingerprint: str) -> SavedState | None:
    """The state in a file; None if there is none, or it belongs to another run or is damaged."""
    try:
        with safe_open(file, framework="pt") as opened:
            words = json.loads(opened.metadata()[_KEY])
            if words["fingerprint"] != fingerprint:
                return None
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if words.pop("digest") != _digest(words, tensors):
            return None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizers": {}, "best": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition("/")
        if part in parts:
            parts[part][rest] = value
    progress = Progress(
        epoch=words["epoch"],
        step=words["step"],
        loss_sums_O=tensors["loss_sums"],
        positions=words["positions"],
        curves=[CurvePoint(**point) for point in words["curves"]],
        best=words["best"] and _best(words["best"], parts["best"]),
    )
    return SavedState(progress, parts["weights"], parts["optimizers"], words["scaler"])


def _best(words: dict[str, Any], weights: dict[str, Tensor]) -> BestEpoch:
    """From JSON, which knows no tuples."""
    front: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in words["front"].items()
    }
    return BestEpoch(
        epoch=words["epoch"],
        front=FrontQuality(**front),
        scalarised=words["scalarised"],
        weights=weights,
    )
