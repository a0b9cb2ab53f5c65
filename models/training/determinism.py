"""Deterministic training: the same numbers from the same seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import deterministic as fillings


@contextmanager
def deterministic(threads: int, device: torch.device) -> Iterator[None]:
    """Fix the thread count and, on CPUs, forbid nondeterministic kernels inside the block."""
    threads_before = torch.get_num_threads()
    mode_before = torch.are_deterministic_algorithms_enabled()
    fill_before = fillings.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=device.type == "cpu")
    # No tensor is read before it is written; filling uninitialised ones takes a tenth of the time.
    fillings.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.use_deterministic_algorithms(mode=mode_before)
        fillings.fill_uninitialized_memory = fill_before  # pyright: ignore[reportAttributeAccessIssue]
