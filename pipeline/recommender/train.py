"""Training of a study's network, and its checkpoint."""

from dataclasses import asdict

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.checkpoint import CheckpointFacts, catalogue_fingerprint, save_checkpoint
from models.objectives.configuration import Loss
from models.training.distributed import is_first_process
from models.training.loop import train
from models.training.result import TrainedModel
from pipeline.artifacts.storage import StudyPaths, atomic_folder
from pipeline.core.contracts import LEARNING_CURVES, Split
from pipeline.datasets.item_attributes import read_item_attributes, relative_values
from pipeline.sessions.catalogue import item_ids, read_catalogue
from pipeline.sessions.token_store import open_tokens
from pipeline.study import Study

MODEL = "conditioned_model"


def fit_study(study: Study, paths: StudyPaths) -> TrainedModel:
    """Train the study's network and publish its checkpoint and learning curves.

    An interrupted run resumes from the state file in the study's folder. Of several processes
    started by ``torchrun``, the first one publishes.

    Raises:
        ParetoscopeError, ModelError: if an artifact is missing, or parameters and data do not fit.
    """
    store = paths.require("sessions", "tokens.safetensors")
    catalogue = read_catalogue(paths)
    items = item_ids(catalogue)
    state = paths.artifact(f"{MODEL}.state.safetensors")
    trained = train(
        open_tokens(store, Split.TRAIN),
        open_tokens(store, Split.VALIDATION),
        n_items=len(items),
        model_config=study.model,
        config=study.training,
        seed=study.study.seed,
        item_values=_item_values(study, paths, catalogue),
        state_file=state,
    )
    if is_first_process():
        _publish(trained, items, study, paths)
        state.unlink(missing_ok=True)
    return trained


def _item_values(
    study: Study, paths: StudyPaths, items: pl.DataFrame
) -> NDArray[np.float64] | None:
    """The relative value of each item; None if no objective needs it or the shop has none."""
    needed = any(objective.loss == Loss.REVENUE for objective in study.training.objectives)
    if not needed or study.dataset.item_attributes is None:
        return None
    file = paths.root / study.dataset.item_attributes
    clicks_I = items["train_clicks"].to_numpy()
    return relative_values(file, read_item_attributes(file, items), clicks_I)


def learning_curves(trained: TrainedModel) -> pl.DataFrame:
    """The curves as a table."""
    rows = [asdict(point) for point in trained.curves]
    return LEARNING_CURVES.validate(pl.DataFrame(rows, schema=LEARNING_CURVES.schema))


def _publish(trained: TrainedModel, items: list[str], study: Study, paths: StudyPaths) -> None:
    facts = CheckpointFacts(
        catalogue=catalogue_fingerprint(items),
        best_epoch=trained.best_epoch,
        training=study.training,
        reference=trained.reference,
        hypervolume=trained.front.hypervolume,
        seed=study.study.seed,
    )
    with atomic_folder(paths.artifact(MODEL)) as folder:
        save_checkpoint(trained.model, facts, folder)
        learning_curves(trained).write_parquet(folder / "learning_curves.parquet")
