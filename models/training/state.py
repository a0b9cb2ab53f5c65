"""The state from which a run resumes: one safetensors file, replaced atomically."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.errors import CheckpointError
from models.fronts import FrontQuality
from models.tokens import SessionTokens
from models.training.configuration import TrainingConfig
from models.training.result import CurvePoint
from models.training.validation import Validation

_KEY = "state"
_ITEMS = "items"
_FORMAT = 3
"""Format of the file; a state in another format is not resumed."""
_DAMAGES = (OSError, SafetensorError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestEpoch:
    """The best epoch so far.

    Attributes:
        epoch: Its number, from 1.
        front: Its validation front; the largest hypervolume is the best.
        scalarised: Its mean scalarised validation loss, which decides ties; lower is better.
        weights: Weights of the network.
    """

    epoch: int
    front: FrontQuality
    scalarised: float
    weights: dict[str, Tensor]

    def is_better_than(self, other: "BestEpoch | None") -> bool:
        """Whether this epoch is better; if equal, the earlier one is kept."""
        mine = (self.front.hypervolume, -self.scalarised)
        return other is None or mine > (other.front.hypervolume, -other.scalarised)


@dataclass(slots=True, kw_only=True)
class Progress:
    """Progress of a run.

    Attributes:
        epoch: The current epoch, from 1.
        step: Its completed steps.
        loss_sums_O: Sums of the unscaled losses over the positions of these steps, float64.
        positions: Number of these positions.
        curves: Learning curves of earlier epochs.
        best: The best epoch so far; None in the first epoch.
    """

    epoch: int = 1
    step: int = 0
    loss_sums_O: Tensor = field(default_factory=lambda: torch.zeros(0))
    positions: int = 0
    curves: list[CurvePoint] = field(default_factory=list)
    best: BestEpoch | None = None

    def is_stale(self, patience: int | None) -> bool:
        """Whether the front has not improved for ``patience`` epochs."""
        best = self.best
        return patience is not None and best is not None and self.epoch - 1 - best.epoch >= patience

    def close_epoch(
        self,
        train_O: Tensor,
        validation: Validation,
        names: Sequence[str],
        weights: dict[str, Tensor],
    ) -> None:
        """Keep the epoch if it is the best, and start the next one."""
        for split, losses_O in (("train", train_O), ("validation", validation.losses_O)):
            pairs = zip(names, losses_O.tolist(), strict=True)
            self.curves += [CurvePoint(self.epoch, split, name, value) for name, value in pairs]
        front = validation.front
        point = CurvePoint(self.epoch, "validation", "hypervolume", front.hypervolume)
        self.curves.append(point)
        found = BestEpoch(
            epoch=self.epoch, front=front, scalarised=validation.scalarised, weights=weights
        )
        if found.is_better_than(self.best):
            self.best = found
        self.epoch, self.step, self.positions = self.epoch + 1, 0, 0
        self.loss_sums_O = torch.zeros_like(self.loss_sums_O)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """What a run began with, and what a later run needs to continue from it.

    Attributes:
        source: Digest of the state the run continues from; None if it trains from scratch.
        model: The section ``model``.
        objectives: ``training.objectives``, in the order of the preference's weights.
        items: The shop's ids of the items, in index order; None if no run is to continue.
    """

    source: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    objectives: tuple[dict[str, Any], ...] = ()
    items: tuple[str, ...] | None = None


def run_fingerprint(  # noqa: PLR0913 - everything a run depends on
    training: TrainingConfig,
    lineage: Lineage,
    *,
    n_items: int,
    seed: int,
    data: tuple[SessionTokens, ...],
    item_values: NDArray | None = None,
) -> str:
    """Fingerprint of configuration, seed, data and lineage (with the network), which must match to resume a run."""
    digest = hashlib.blake2b(digest_size=16)
    facts = [_FORMAT, asdict(training), n_items, seed, asdict(lineage)]
    digest.update(json.dumps(facts).encode())
    for tokens in data:
        for array in (tokens.items, tokens.ordered, tokens.carted, tokens.offsets):
            digest.update(np.ascontiguousarray(array).data)
    if item_values is not None:
        digest.update(np.ascontiguousarray(item_values).data)
    return digest.hexdigest()


def save_state(  # noqa: PLR0913 - everything needed to resume
    file: Path,
    fingerprint: str,
    progress: Progress,
    *,
    lineage: Lineage,
    weights: dict[str, Tensor],
    optimizers: dict[str, Tensor],
    scaler: dict[str, Any],
) -> None:
    """Write the run's state atomically."""
    best = progress.best
    tensors = {
        "loss_sums": progress.loss_sums_O,
        **{f"weights/{name}": value for name, value in weights.items()},
        **{f"optimizers/{name}": value for name, value in optimizers.items()},
        **{f"best/{name}": value for name, value in (best.weights if best else {}).items()},
    }
    if lineage.items is not None:
        tensors[_ITEMS] = torch.frombuffer(
            bytearray(json.dumps(lineage.items).encode()), dtype=torch.uint8
        )
    facts = {
        "fingerprint": fingerprint,
        "source": lineage.source,
        "model": lineage.model,
        "objectives": lineage.objectives,
        "scaler": scaler,
        "epoch": progress.epoch,
        "step": progress.step,
        "positions": progress.positions,
        "curves": [asdict(point) for point in progress.curves],
        "best": best
        and {"epoch": best.epoch, "front": asdict(best.front), "scalarised": best.scalarised},
    }
    temporary = file.with_name(f".{file.name}.new")
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    facts["digest"] = _digest(facts, contiguous)
    try:
        save_file(contiguous, temporary, metadata={_KEY: json.dumps(facts)})
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _digest(facts: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """A digest that detects damage; safetensors checks lengths only."""
    digest = hashlib.blake2b(json.dumps(facts).encode(), digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """A saved state, with the fingerprint of its run and the digest of its content."""

    fingerprint: str
    digest: str
    lineage: Lineage
    progress: Progress
    weights: dict[str, Tensor]
    optimizers: dict[str, Tensor]
    scaler: dict[str, Any]


def load_state(file: Path, fingerprint: str) -> SavedState | None:
    """The state in a file; None if it is missing, damaged or of another run."""
    try:
        return _read(file, fingerprint)
    except _DAMAGES:
        return None


def read_state(file: Path) -> SavedState:
    """The state in a file, of whatever run.

    Raises:
        CheckpointError: if it is damaged.
    """
    try:
        saved = _read(file)
    except _DAMAGES as error:
        msg = f"{file} is not a readable state: {error}. Delete it to train the model from scratch"
        raise CheckpointError(msg) from error
    assert saved is not None, "a state of any run is read"
    return saved


def _read(file: Path, fingerprint: str | None = None) -> SavedState | None:
    with safe_open(file, framework="pt") as opened:
        facts = json.loads(opened.metadata()[_KEY])
        if fingerprint not in {None, facts["fingerprint"]}:
            return None
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    digest = facts.pop("digest")
    if digest != _digest(facts, tensors):
        msg = "its content does not have its digest"
        raise ValueError(msg)
    items = tensors.pop(_ITEMS, None)
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizers": {}, "best": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition("/")
        if part in parts:
            parts[part][rest] = value
    progress = Progress(
        epoch=facts["epoch"],
        step=facts["step"],
        loss_sums_O=tensors["loss_sums"],
        positions=facts["positions"],
        curves=[CurvePoint(**point) for point in facts["curves"]],
        best=facts["best"] and _best(facts["best"], parts["best"]),
    )
    return SavedState(
        fingerprint=facts["fingerprint"],
        digest=digest,
        lineage=Lineage(
            source=facts["source"],
            model=facts["model"],
            objectives=tuple(facts["objectives"]),
            items=None if items is None else tuple(json.loads(items.numpy().tobytes())),
        ),
        progress=progress,
        weights=parts["weights"],
        optimizers=parts["optimizers"],
        scaler=facts["scaler"],
    )


def _best(facts: dict[str, Any], weights: dict[str, Tensor]) -> BestEpoch:
    """The best epoch from JSON, which has no tuples."""
    front: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in facts["front"].items()
    }
    return BestEpoch(
        epoch=facts["epoch"],
        front=FrontQuality(**front),
        scalarised=facts["scalarised"],
        weights=weights,
    )
