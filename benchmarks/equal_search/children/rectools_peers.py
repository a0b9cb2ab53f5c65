"""RecTools' SASRec and BERT4Rec (MTS), with its own data set, loss and trainer.

Every session is a user. Both count positions from the end of the session, so every prefix is a
session of its own when scored, as in RecTools' own recommendations.
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, SASRecModel

from equal_search.children.protocol import (
    VALIDATION_TARGETS,
    Budget,
    Sessions,
    Task,
    Vectors,
    seed_everything,
)

MODELS = {"SASRec": SASRecModel, "BERT4Rec": BERT4RecModel}
_ROWS = 1024
_PADDING = 0
_UNKNOWN = -1e6
"""Bias of an item that RecTools dropped from train, as it keeps the last clicks of long sessions."""


class _Deadline(Callback):
    """Stops the trainer when the time is up."""

    def __init__(self, begin: Callable[[Any], Budget]) -> None:
        self.begin = begin
        self.budget: Budget | None = None

    def on_train_start(self, trainer, module) -> None:  # noqa: ANN001, ARG002
        self.budget = self.begin(module)

    def on_train_batch_end(self, trainer, *_, **__) -> None:  # noqa: ANN001, ANN002, ANN003
        if self.budget.is_spent():
            trainer.should_stop = True


def train(task: Task):  # noqa: ANN201
    """Train for the time; returns the budget, and the function of the vectors."""
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(task.seed)
    settings = dict(task.setting)
    sessions, validation = task.split("train"), task.split("validation").first(VALIDATION_TARGETS)

    def begin(module) -> Budget:  # noqa: ANN001
        network = module.torch_model
        budget = Budget(
            task.seconds,
            lambda: vectors_of(model, network, validation, task).recall(validation.targets()),
            network.state_dict,
        )
        budget.start()
        return budget

    model = MODELS[task.program](
        n_factors=64,
        n_blocks=2,
        session_max_len=task.window + (task.program == "BERT4Rec"),  # its last one is the mask
        lr=settings.pop("learning_rate"),
        get_trainer_func=lambda: Trainer(
            max_epochs=-1, accelerator="cpu", devices=1, callbacks=[_Deadline(begin)], logger=False,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        ),
        **settings,
    )  # fmt: skip
    model.fit(_dataset(sessions))
    budget = next(one.budget for one in model.fit_trainer.callbacks if isinstance(one, _Deadline))
    network = model.lightning_model.torch_model
    network.load_state_dict(budget.best)
    return budget, lambda some: vectors_of(model, network, some, task)


def _dataset(sessions: Sessions) -> Dataset:
    columns = {
        Columns.User: np.repeat(np.arange(sessions.number), np.diff(sessions.offsets)),
        Columns.Item: sessions.items,
        Columns.Weight: 1.0,
        Columns.Datetime: pd.to_datetime(np.arange(len(sessions.items)), unit="s"),
    }
    return Dataset.construct(pd.DataFrame(columns))


@torch.no_grad()
def vectors_of(model, network, sessions: Sessions, task: Task) -> Vectors:  # noqa: ANN001
    """States of the last position of every prefix, and the item table in the log's order."""
    was_training = network.training
    network.eval()
    preparator = model.data_preparator
    known = preparator.get_known_item_ids().astype(np.int64)
    internal = np.full(task.n_items, -1)
    internal[known] = preparator.get_known_items_sorted_internal_ids()
    items_ID = network.item_model.get_all_embeddings()
    clicks = [
        [one for one in internal[prefix].tolist() if one >= 0] or [_PADDING]
        for prefix in sessions.prefixes()
    ]
    states = []
    for start in range(0, len(clicks), _ROWS):
        rows = [(one, [1.0] * len(one), {}) for one in clicks[start : start + _ROWS]]
        batch = preparator._collate_fn_recommend(rows)  # noqa: SLF001 - how its own lists are made
        states.append(network.encode_sessions(batch, items_ID)[:, -1])
    network.train(was_training)
    hidden_PD = torch.cat(states)
    table_ID = torch.zeros(task.n_items, hidden_PD.shape[1] + 1)
    table_ID[:, -1] = _UNKNOWN
    table_ID[known, :-1] = items_ID[internal[known]]
    table_ID[known, -1] = 0
    return Vectors(torch.cat([hidden_PD, torch.ones(len(hidden_PD), 1)], dim=1), table_ID)
