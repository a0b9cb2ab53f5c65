"""Training on several processes that ``torchrun`` has started: each takes a part of every batch."""

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
        rank: This one's number; 0 writes.
        number: How many there are.
        device: Where this one computes.
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
    """Join the other processes, if ``torchrun`` started any; gloo on CPU, NCCL on GPUs.

    Args:
        device: ``cpu``, ``cuda``, or ``auto`` for a GPU if there is one.

    Raises:
        ModelError: if a GPU is asked for and none is there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        msg = "training.device = cuda, but torch sees no GPU; set it to auto or cpu"
        raise ModelError(msg)
    on_gpu = device != "cpu" and torch.cuda.is_available()
    number, local = _started("WORLD_SIZE", 1), _started("LOCAL_RANK", 0)
    place = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if number == 1:
        yield ProcessGroup(rank=0, number=1, device=place)
        return
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield ProcessGroup(rank=dist.get_rank(), number=number, device=place)
    finally:
        dist.destroy_process_group()


def is_first_process() -> bool:
    """Whether this process is the one that writes; a process alone is."""
    return _started("RANK", 0) == 0


def _started(variable: str, alone: int) -> int:
    """What ``torchrun`` told this process; ``alone`` if nothing did."""
    return int(os.environ.get(variable, alone))
