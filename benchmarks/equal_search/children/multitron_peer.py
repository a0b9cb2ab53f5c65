"""MultiTRON, through its one door (``benchmarks/multitron.py``); its click endpoint is scored."""

import tempfile
from pathlib import Path

import multitron
import torch

from equal_search.children.protocol import (
    VALIDATION_TARGETS,
    Budget,
    Sessions,
    Task,
    Vectors,
)

_CLICKS = torch.tensor([1.0, 0.0])
_ROWS = 256


def train(task: Task):  # noqa: ANN201
    """Train for the time; returns the budget, and the function of the vectors."""
    sessions = task.split("train")
    model = multitron.build(
        task.checkout,
        n_items=task.n_items,
        width=64,
        layers=2,
        top=min(100, task.n_items // 4),
        loss="ssm_and_be" if sessions.ordered.any() else "ssm_and_distortion",
        learning_rate=task.setting["learning_rate"],
        seed=task.seed,
        max_length=task.window,
    )
    validation = task.split("validation").first(VALIDATION_TARGETS)
    budget = Budget(
        task.seconds,
        lambda: vectors_of(model, validation).recall(validation.targets()),
        model.state_dict,
    )
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        multitron.write_sessions(sessions, Path(file.name))
        loader = multitron.batches(
            Path(file.name),
            sessions.number,
            n_items=task.n_items,
            negatives=min(task.setting["negatives"], task.n_items // 2),
            max_length=task.window,
        )
        budget.start()
        for _ in multitron.train_steps(model, loader):
            if budget.is_spent():
                break
    model.load_state_dict(budget.best)
    return budget, lambda some: vectors_of(model, some)


@torch.no_grad()
def vectors_of(model, sessions: Sessions) -> Vectors:  # noqa: ANN001
    """States of all targets of every session at the click endpoint."""
    was_training = model.training
    model.eval()
    window = model.max_len
    rows = [row for session in sessions for row in windows(session[:-1], window)]
    lengths = torch.tensor([len(clicks) for clicks, _ in rows])
    padded = torch.zeros(len(rows), window, dtype=torch.int64)
    scored = torch.zeros(len(rows), window, dtype=torch.bool)
    for number, (clicks, first) in enumerate(rows):
        padded[number, : len(clicks)] = torch.tensor(clicks)
        scored[number, first : len(clicks)] = True
    states = [
        multitron.hidden_states(model, padded[some], lengths[some], _CLICKS)[scored[some]]
        for some in torch.arange(len(rows)).split(_ROWS)
    ]
    model.train(was_training)
    return Vectors(torch.cat(states), multitron.item_table(model).detach())


def windows(clicks: list[int], window: int) -> list[tuple[list[int], int]]:
    """What the network reads so that every click has a state, and the first place that is scored.

    A session as a whole up to the window, as in its training; then every later click as the last
    one of a window.
    """
    later = range(window + 1, len(clicks) + 1)
    return [(clicks[:window], 0), *((clicks[end - window : end], window - 1) for end in later)]
