"""The official GRU4Rec for PyTorch (Hidasi), whose checkout is an argument.

Its ``fit`` trains; the time and the validations are in its loss, which it calls once a step. The
settings are those of one of its own parameter files, at the width of the comparison.
"""

import runpy
import sys

import numpy as np
import pandas as pd
import torch

from equal_search.children.protocol import (
    VALIDATION_TARGETS,
    Budget,
    Sessions,
    Task,
    Vectors,
    seed_everything,
)

_WIDTH = 64
_SAMPLES = 1_000_000
"""Negatives it draws at once; ten times as many by default, for a GPU."""


class _TimeIsUp(Exception):  # noqa: N818
    """Ends ``fit``."""


def train(task: Task):  # noqa: ANN201
    """Train for the time; returns the budget, and the function of the vectors."""
    sys.path.insert(0, str(task.checkout))
    from gru4rec_pytorch import GRU4Rec  # noqa: PLC0415 - the checkout is an argument

    seed_everything(task.seed)
    parameters = runpy.run_path(str(task.checkout / "paramfiles" / task.setting["parameters"]))
    settings = dict(parameters["gru4rec_params"])
    settings |= {"layers": [_WIDTH], "learning_rate": task.setting["learning_rate"]}
    settings |= {"n_epochs": 1_000_000, "device": torch.device("cpu")}
    sessions = task.split("train")
    settings["batch_size"] = min(settings["batch_size"], sessions.number)
    network = GRU4Rec(**settings)
    validation = task.split("validation").first(VALIDATION_TARGETS)
    budget = Budget(
        task.seconds,
        lambda: vectors_of(network, validation).recall(validation.targets()),
        lambda: network.model.state_dict(),  # noqa: PLW0108 - there is none yet
    )
    loss = network.loss_function

    def timed_loss(*arguments):  # noqa: ANN002, ANN202
        if not budget.is_started:
            budget.start()  # what ``fit`` prepares does not count
        elif budget.is_spent():
            raise _TimeIsUp
        return loss(*arguments)

    network.loss_function = timed_loss
    lengths = np.diff(sessions.offsets)
    data = pd.DataFrame(
        {
            "SessionId": np.repeat(np.arange(sessions.number), lengths),
            "ItemId": sessions.items,
            "Time": np.arange(len(sessions.items)),
        }
    )
    try:
        network.fit(data, sample_cache_max_size=_SAMPLES, compatibility_mode=False)
    except _TimeIsUp:
        network.model.load_state_dict(budget.best)
    return budget, lambda some: vectors_of(network, some)


@torch.no_grad()
def vectors_of(network, sessions: Sessions) -> Vectors:  # noqa: ANN001
    """States after every click but the last of each session, with a 1 for the items' bias."""
    index = network.data_iterator.itemidmap
    lengths = np.diff(sessions.offsets)
    steps = int(lengths.max()) - 1
    padded = np.zeros((sessions.number, steps), dtype=np.int64)
    real = np.arange(steps) < (lengths - 1)[:, None]
    inputs = np.ones(len(sessions.items), dtype=bool)
    inputs[sessions.offsets[1:] - 1] = False
    padded[real] = index[sessions.items[inputs]].to_numpy()
    state = [torch.zeros(sessions.number, _WIDTH)]
    states = []
    for step in range(steps):
        embedded, *_ = network.model.embed(torch.from_numpy(padded[:, step]), state)
        states.append(network.model.hidden_step(embedded, state))
    hidden_PD = torch.stack(states, dim=1)[torch.from_numpy(real)]
    place = torch.from_numpy(index.sort_index().to_numpy().astype(np.int64))
    table_ID = torch.cat([network.model.Wy.weight, network.model.By.weight], dim=1)[place]
    return Vectors(torch.cat([hidden_PD, torch.ones(len(hidden_PD), 1)], dim=1), table_ID)
