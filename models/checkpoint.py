"""Checkpoints: weights as safetensors, everything else as JSON; nothing is unpickled."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.errors import CheckpointError, ModelError
from models.network.conditioning import FixedPreference
from models.network.configuration import ModelConfig
from models.network.model import ConditionedSessionModel
from models.training.configuration import TrainingConfig

WEIGHTS = "weights.safetensors"
DESCRIPTION = "model.json"
_FORMAT = 2
_CONFIG = TypeAdapter(ModelConfig)
_DAMAGES = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, ModelError)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """Metadata of a checkpoint.

    Attributes:
        catalogue: Fingerprint of the items, in index order; see :func:`catalogue_fingerprint`.
        best_epoch: The epoch of the weights.
        training: The training configuration.
        reference: Reference point of the hypervolume in loss space, one loss per objective.
        hypervolume: Hypervolume of the validation front, in the space ``training.hypervolume_of``.
        seed: Seed of initialisation and training.
    """

    catalogue: str
    best_epoch: int
    training: TrainingConfig
    reference: tuple[float, ...]
    hypervolume: float
    seed: int


def catalogue_fingerprint(items: list[str]) -> str:
    """SHA-256 over the shop's item ids in index order."""
    return hashlib.sha256("\n".join(items).encode()).hexdigest()


def checkpoint_fingerprint(folder: Path) -> str:
    """SHA-256 over a checkpoint's files: the version of the model.

    Raises:
        CheckpointError: if one is missing.
    """
    digest = hashlib.sha256()
    for name in (DESCRIPTION, WEIGHTS):
        try:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            msg = f"{folder} is not a checkpoint: {error}. Materialise 'conditioned_model' again"
            raise CheckpointError(msg) from error
    return digest.hexdigest()


def save_checkpoint(model: ConditionedSessionModel, facts: CheckpointFacts, folder: Path) -> None:
    """Write a checkpoint into ``folder``, which exists.

    Raises:
        CheckpointError: if the model is folded to one preference.
    """
    if isinstance(model.conditioning, FixedPreference):
        msg = "a folded model has one preference only; save the original model"
        raise CheckpointError(msg)
    save_file({name: w.contiguous() for name, w in model.state_dict().items()}, folder / WEIGHTS)
    description = {
        "format": _FORMAT,
        "n_items": model.n_items,
        "n_objectives": model.n_objectives,
        "model": asdict(model.config),
        **asdict(facts),
    }
    text = json.dumps(description, indent=2) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def load_checkpoint(folder: Path, *, items: list[str]) -> ConditionedSessionModel:
    """Load a model for the catalogue ``items``.

    Raises:
        CheckpointError: if a file is damaged, or the model was trained on another catalogue.
    """
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        if (got := description["format"]) != _FORMAT:
            msg = f"its format is {got}, this version reads {_FORMAT}"
            raise ValueError(msg)
        config = _CONFIG.validate_json(json.dumps(description["model"]))
        found = description["catalogue"]
        model = ConditionedSessionModel(
            config, n_items=description["n_items"], n_objectives=description["n_objectives"]
        )
        weights = load_file(folder / WEIGHTS)
        model.load_state_dict(weights)
    except _DAMAGES as error:
        msg = (
            f"{folder} is not a readable checkpoint: {error}. Materialise 'conditioned_model' again"
        )
        raise CheckpointError(msg) from error
    if found != catalogue_fingerprint(items):
        msg = (
            f"the checkpoint in {folder} has {model.n_items} items of another catalogue than the "
            f"{len(items)} given; materialise 'conditioned_model' again after 'sessions'"
        )
        raise CheckpointError(msg)
    return model.eval()
