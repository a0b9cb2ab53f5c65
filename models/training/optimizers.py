"""AdamW for the network; for a large item table, Adam on the rows used in a step."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from models.network.model import ConditionedSessionModel
from models.training.configuration import TrainingConfig

Optimizers = list[torch.optim.Optimizer]


def build_optimizers(model: ConditionedSessionModel, config: TrainingConfig) -> Optimizers:
    """AdamW (Loshchilov & Hutter 2019), decaying matrices only; with ``sparse_items`` SparseAdam."""
    table = model.item_embedding.weight
    dense = [one for one in model.parameters() if not (config.sparse_items and one is table)]
    groups = [
        {"params": [one for one in dense if one.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [one for one in dense if one.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizers: Optimizers = [torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)]
    if config.sparse_items:
        optimizers.append(torch.optim.SparseAdam([table], lr=config.learning_rate))
    return optimizers


def table_state(config: TrainingConfig) -> str:
    """The prefix of the item table's names in :func:`optimizer_tensors`: it is the first parameter."""
    return "1.0." if config.sparse_items else "0.0."


def set_learning_rate(optimizers: Optimizers, rate: float) -> None:
    """Set the learning rate of all parameter groups."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def learning_rate_share(step: int, steps: int, warmup_ratio: float) -> float:
    """Share of the peak rate in a step, from 0: linear warm-up, then cosine decay to 0."""
    warm_up = max(1, round(warmup_ratio * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


@torch.no_grad()
def clip_gradient(model: nn.Module, largest: float) -> None:
    """Scale all gradients down if their joint norm exceeds ``largest``."""
    dense: list[Tensor] = []
    for one in model.parameters():
        if one.grad is None:
            continue
        if one.grad.is_sparse:
            one.grad = one.grad.coalesce()
            dense.append(one.grad.values())
        else:
            dense.append(one.grad)
    norm = nn.utils.get_total_norm(dense)
    share = (largest / (norm + 1e-6)).clamp(max=1)
    for gradient in dense:
        gradient.mul_(share)


def optimizer_tensors(optimizers: Optimizers) -> dict[str, Tensor]:
    """The optimisers' state as flat tensors, by name."""
    return {
        f"{number}.{index}.{name}": torch.as_tensor(value)
        for number, optimizer in enumerate(optimizers)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizers(optimizers: Optimizers, tensors: dict[str, Tensor]) -> None:
    """Restore the state returned by :func:`optimizer_tensors`."""
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            of, index, name = key.split(".")
            if int(of) == number:
                counts = not value.is_floating_point()  # SparseAdam's step counts are not tensors
                state.setdefault(int(index), {})[name] = value.item() if counts else value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
