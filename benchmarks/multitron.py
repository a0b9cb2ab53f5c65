"""The one door to MultiTRON, the paper's own code, whose checkout is an argument of a benchmark.

Its network, losses, data set and collating are used as they are; its training step is called as
Lightning would call it, without Lightning's logging. It needs ``pytorch-lightning`` installed.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

_MAX_LENGTH = 50


class Sessions(Protocol):
    """Concatenated sessions, as in :class:`models.tokens.SessionTokens`."""

    items: np.ndarray
    ordered: np.ndarray
    offsets: np.ndarray


def write_sessions(tokens: Sessions, file: Path) -> None:
    """The reference's own format: clicks, then the orders of what was ordered; items from 1."""
    with file.open("w", encoding="utf-8") as stream:
        for start, end in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True):
            items = (tokens.items[start:end] + 1).tolist()
            ordered = np.unique(tokens.items[start:end][tokens.ordered[start:end] > 0] + 1).tolist()
            events = [(item, "clicks") for item in items] + [(item, "orders") for item in ordered]
            rows = [
                {"aid": item, "ts": place, "type": kind}
                for place, (item, kind) in enumerate(events)
            ]
            stream.write(json.dumps({"session": int(start), "events": rows}) + "\n")


def build(  # noqa: PLR0913 - the reference's own settings
    checkout: Path,
    *,
    n_items: int,
    width: int,
    layers: int,
    top: int,
    loss: str,
    learning_rate: float,
    seed: int,
    max_length: int = _MAX_LENGTH,
) -> Any:
    """Its network, initialised; ``loss`` is ssm_and_be or ssm_and_distortion."""
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    from src.model import MultiTron  # noqa: PLC0415 - the checkout is an argument

    torch.manual_seed(seed)  # noqa: TID251 - it knows no generator
    np.random.seed(seed)  # noqa: NPY002, TID251
    model = MultiTron(
        hidden_size=width,
        dropout_rate=0.05,
        max_len=max_length,
        num_items=n_items,
        batch_size=256,
        sampling_style="batchwise",
        topk_sampling=True,
        topk_sampling_k=top,
        learning_rate=learning_rate,
        num_layers=layers,
        loss=loss,
        optimizer="adam",
        beta=[0.5, 0.5],
        regularization_penalty=0.2,
    )
    model.log = lambda *_, **__: None
    return model


def batches(
    file: Path, n_sessions: int, *, n_items: int, negatives: int, max_length: int = _MAX_LENGTH
) -> Iterator[Any]:
    """Its batches, epoch after epoch without end, as its configurations for OTTO make them."""
    from src.dataset import MultiTronDataset  # noqa: PLC0415
    from torch.utils.data import DataLoader  # noqa: PLC0415

    dataset = MultiTronDataset(
        str(file),
        n_sessions,
        num_items=n_items,
        max_seqlen=max_length,
        num_in_batch_negatives=32,
        num_uniform_negatives=negatives,
        reject_uniform_session_items=False,
        reject_in_batch_items=True,
        sampling_style="batchwise",
        shuffling_style="no_shuffling",
    )
    loader = DataLoader(
        dataset, drop_last=True, batch_size=256, shuffle=False, collate_fn=dataset.dynamic_collate
    )
    while True:
        yield from loader


def train_for(
    model: Any, loader: Iterator[Any], *, seconds: float, steps: int | None = None
) -> tuple[int, int, float]:
    """Its training step until the time is up; steps, clicks and the seconds they took."""
    clicks, done, started = 0, 0, time.perf_counter()
    for some in train_steps(model, loader):
        clicks, done = clicks + some, done + 1
        if time.perf_counter() - started >= seconds or done == steps:
            break
    if next(model.parameters()).device.type == "cuda":
        torch.cuda.synchronize()
    return done, clicks, time.perf_counter() - started


def train_steps(model: Any, loader: Iterator[Any]) -> Iterator[int]:
    """Its training steps without end; the clicks of each."""
    device = next(model.parameters()).device
    optimizer = model.configure_optimizers()
    model.train()
    for number, batch in enumerate(loader):
        clicks = int(batch["mask"].sum())
        there = {name: tensor.to(device) for name, tensor in batch.items()}
        optimizer.zero_grad()
        model.training_step(there, number).backward()
        optimizer.step()
        yield clicks


def hidden_states(model: Any, inputs_BT: Tensor, lengths_B: Tensor, preference_O: Tensor) -> Tensor:
    """States of sessions that begin at position 0, as the reference reads them, from the end."""
    batch, length = inputs_BT.shape
    window = model.max_len
    place_T = torch.arange(length)
    shift_B1 = (window - lengths_B)[:, None]
    real_BT = place_T < lengths_B[:, None]
    columns_BT = (shift_B1 + place_T).clamp_max(window - 1)
    rows_BT = torch.arange(batch)[:, None].expand_as(columns_BT)
    padded = torch.zeros(batch, window, dtype=torch.int64)
    mask = torch.zeros(batch, window)
    padded[rows_BT[real_BT], columns_BT[real_BT]] = inputs_BT[real_BT] + 1
    mask[rows_BT[real_BT], columns_BT[real_BT]] = 1
    states = model(padded, preference_O[None], mask)
    return states[rows_BT, columns_BT]


def item_table(model: Any) -> Tensor:
    """Its item embeddings without the one of padding."""
    return model.output_embedding.weight[1:]
