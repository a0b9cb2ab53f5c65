"""Distributed training with ``torchrun`` or Ray Train: each process computes a part of every batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from models.errors import ModelError


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """The processes that train together.

    Attributes:
        rank: Rank of this process; 0 writes.
        number: Number of processes.
        device: Device of this process.
    """

    rank: int
    number: int
    device: torch.device

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module, averaging its gradients over the processes."""
        return DistributedDataParallel(module) if self.number > 1 else module

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of ``values`` over the processes."""
        if self.number > 1:
            dist.all_reduce(values)
        return values


@contextmanager
def distributed_context(device: str) -> Iterator[ProcessGroup]:
    """Join the processes that train together, if there are several; gloo on CPU, NCCL on GPUs.

    A process group that exists, as in Ray Train, is used and left as it is. ``torchrun`` sets
    environment variables only: then the group is made here, and ends here.

    Args:
        device: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one.

    Raises:
        ModelError: if ``cuda`` is requested but no GPU is available.
    """
    if device == "cuda" and not torch.cuda.is_available():
        msg = "training.device = cuda, but torch finds no GPU; set it to auto or cpu"
        raise ModelError(msg)
    on_gpu = device != "cpu" and torch.cuda.is_available()
    local = _from_environment("LOCAL_RANK", 0)
    place = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if dist.is_initialized():
        yield ProcessGroup(rank=dist.get_rank(), number=dist.get_world_size(), device=place)
        return
    if _from_environment("WORLD_SIZE", 1) == 1:
        yield ProcessGroup(rank=0, number=1, device=place)
        return
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield ProcessGroup(rank=dist.get_rank(), number=dist.get_world_size(), device=place)
    finally:
        dist.destroy_process_group()


def is_first_process() -> bool:
    """Whether this process writes results; true if there is no other."""
    return (dist.get_rank() if dist.is_initialized() else _from_environment("RANK", 0)) == 0


def _from_environment(variable: str, alone: int) -> int:
    """An environment variable set by ``torchrun`` and Ray Train; ``alone`` if it is not set."""
    return int(os.environ.get(variable, alone))
