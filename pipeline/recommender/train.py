"""Training of a study's network, and its checkpoint."""

from dataclasses import asdict

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.checkpoint import CheckpointFacts, catalogue_fingerprint, save_checkpoint
from models.objectives.configuration import DISTORTION_SCALE, Loss
from models.tokens import SessionTokens
from models.training.distributed import is_first_process
from models.training.loop import train
from models.training.result import TrainedModel
from models.training.warm_start import WarmStart
from pipeline.artifacts.storage import StudyPaths, atomic_folder, storage_errors
from pipeline.core.contracts import LEARNING_CURVES, Split
from pipeline.core.errors import DataError
from pipeline.core.object_urls import local_copy
from pipeline.datasets.item_attributes import read_item_attributes, relative_values
from pipeline.sessions.catalogue import item_ids, read_catalogue
from pipeline.sessions.token_store import open_tokens
from pipeline.study import Study

MODEL = "conditioned_model"
FINISHED = f"{MODEL}.finished.safetensors"
"""The finished state from which the next training continues."""


def fit_study(study: Study, paths: StudyPaths) -> TrainedModel:
    """Train the study's network and publish its checkpoint and learning curves.

    An interrupted run resumes from the state file in the study's folder. With
    ``training.warm_start_epochs``, the finished state is kept, and the next run continues from it; a
    run on the same data and parameters as the last one changes nothing. Without it, no state is kept. Of several processes started
    by ``torchrun``, the first one publishes.

    Raises:
        ParetoscopeError, ModelError: if an artifact is missing, or parameters and data do not fit.
    """
    store = paths.require("sessions", "tokens.safetensors")
    catalogue = read_catalogue(paths)
    items = item_ids(catalogue)
    state = paths.artifact(f"{MODEL}.state.safetensors")
    finished = paths.artifact(FINISHED)
    is_continued = study.training.warm_start_epochs is not None
    tokens = open_tokens(store, Split.TRAIN)
    _check_labels(study, tokens)
    with storage_errors(state):
        trained = train(
            tokens,
            open_tokens(store, Split.VALIDATION),
            n_items=len(items),
            model_config=study.model,
            config=study.training,
            seed=study.study.seed,
            item_values=_item_values(study, paths, catalogue),
            state_file=state,
            warm_start=WarmStart(file=finished, items=tuple(items)) if is_continued else None,
        )
    if is_first_process():
        _publish(trained, items, study, paths)
        if not is_continued:
            finished.unlink(missing_ok=True)
            state.unlink(missing_ok=True)
        elif state.exists():
            state.replace(finished)
    return trained


def _check_labels(study: Study, tokens: SessionTokens) -> None:
    """Raise :class:`DataError` if an objective's labels are all negative: nothing can be learnt."""
    labels = {Loss.ORDER.value: tokens.ordered, Loss.CART.value: tokens.carted}
    for loss in study.training.losses:
        if loss in labels and not labels[loss].any():
            others = [other for other in study.training.losses if other not in labels] or ["click"]
            kept = "".join(f"{{loss: {other}}}, " for other in others)
            msg = (
                f"training.objectives: the objective {loss} needs clicks that are followed by "
                f"{'an order' if loss == Loss.ORDER else 'a cart'} of the item, but none of the "
                f"{len(tokens.items):,} train clicks is. For a log without them, train against the "
                f"distortion loss: objectives: [{kept}{{loss: distortion, scale: "
                f"{DISTORTION_SCALE}}}], and leave hypotheses on orders out (regression.hypotheses: "
                "[]); see docs/how-to/clicks-only.md"
            )
            raise DataError(msg)


def _item_values(
    study: Study, paths: StudyPaths, items: pl.DataFrame
) -> NDArray[np.float64] | None:
    """The relative value of each item; None if no objective needs it or the shop has none."""
    needed = any(objective.loss == Loss.REVENUE for objective in study.training.objectives)
    if not needed or study.dataset.item_attributes is None:
        return None
    file = paths.root / local_copy(study.dataset.item_attributes)
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
