"""Derived seeds: one for every purpose and place, the same on every machine."""

from itertools import product

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.training.seeds import SeedPurpose, derived_seed, generator_for

LARGEST = 2**63 - 1
"""What torch takes as a seed, and a study as its own."""


def test_a_seed_is_the_same_on_every_machine():
    # written down once; whoever changes them changes every published model
    assert derived_seed(7, SeedPurpose.WEIGHTS) == 4474668368857168768
    assert derived_seed(7, SeedPurpose.DROPOUT, 3, 250, 1) == 8264317210154556073


def test_every_purpose_and_place_has_its_own_seed():
    places = [
        (purpose, *place) for purpose in SeedPurpose for place in product(range(1, 5), range(50))
    ]
    seeds = {derived_seed(seed, *place) for seed in (0, 1, 2**40) for place in places}

    assert len(seeds) == 3 * len(SeedPurpose) * 4 * 50


def test_epoch_and_step_are_not_interchangeable():
    assert derived_seed(7, SeedPurpose.STEP, 1, 2) != derived_seed(7, SeedPurpose.STEP, 2, 1)


@given(
    seed=st.integers(0, LARGEST),
    purpose=st.sampled_from(SeedPurpose),
    place=st.lists(st.integers(0, 10**9), max_size=3),
)
def test_any_study_at_any_place_has_a_seed_that_torch_takes(seed, purpose, place):
    derived = derived_seed(seed, purpose, *place)

    assert 0 <= derived <= LARGEST
    assert generator_for(seed, purpose, *place).initial_seed() == derived


def test_a_generator_draws_the_same_whatever_was_drawn_before():
    def draws(*place):
        return torch.rand(5, generator=generator_for(7, SeedPurpose.STEP, *place)).tolist()

    alone = draws(2, 9)
    draws(2, 8)

    assert draws(2, 9) == alone
    assert draws(2, 8) != alone


def test_torchs_global_generator_is_left_alone():
    before = torch.get_rng_state()

    torch.rand(5, generator=generator_for(7, SeedPurpose.ORDER, 1))

    assert torch.equal(torch.get_rng_state(), before)
