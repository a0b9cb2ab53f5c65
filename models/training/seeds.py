"""One seed for every purpose, epoch and step, derived from the study's.

What is drawn in a step depends on nothing that was drawn before it, so that a resumed run needs no
state of any generator, and several processes draw the same.
"""

from enum import IntEnum

import numpy as np
import torch


class SeedPurpose(IntEnum):
    """What a seed is for."""

    WEIGHTS = 0
    ORDER = 1
    STEP = 2
    DROPOUT = 3
    VALIDATION = 4


def derived_seed(seed: int, purpose: SeedPurpose, *place: int) -> int:
    """A seed for a purpose at a place, such as an epoch and a step."""
    words = np.random.SeedSequence((seed, purpose, *place)).generate_state(2, np.uint32)
    return int(words[0]) << 31 | int(words[1]) >> 1


def generator_for(seed: int, purpose: SeedPurpose, *place: int) -> torch.Generator:
    """A generator with that seed."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose, *place))
