"""Seeds for every purpose, epoch and step, derived from the study's seed.

The random numbers of a step do not depend on earlier draws, so a resumed run needs no generator
state, and all processes draw the same numbers.
"""

from enum import IntEnum

import numpy as np
import torch


class SeedPurpose(IntEnum):
    """The purpose of a seed."""

    WEIGHTS = 0
    ORDER = 1
    STEP = 2
    DROPOUT = 3
    VALIDATION = 4
    CO_OCCURRENCE = 5


def derived_seed(seed: int, purpose: SeedPurpose, *place: int) -> int:
    """A seed for a purpose and a place, such as epoch and step."""
    words = np.random.SeedSequence((seed, purpose, *place)).generate_state(2, np.uint32)
    return int(words[0]) << 31 | int(words[1]) >> 1


def generator_for(seed: int, purpose: SeedPurpose, *place: int) -> torch.Generator:
    """A generator with the derived seed."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose, *place))
