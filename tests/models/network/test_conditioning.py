"""Each conditioning by hand, what it does to a session, and that it folds into plain weights."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.network.conditioning import build_conditioning
from models.network.configuration import Conditioning, ModelConfig
from models.network.model import forked_rng

WIDTH, RANK, LAYERS, OBJECTIVES = 5, 2, 3, 3
CONFIG = {"hidden_size": WIDTH, "heads": 1, "layers": LAYERS, "rank": RANK}
EVERYWHERE = range(-1, LAYERS)  # the entrance, then behind each layer
quick = settings(max_examples=20)
kinds = pytest.mark.parametrize("kind", list(Conditioning))
weights = st.tuples(*[st.floats(0, 1)] * OBJECTIVES).filter(lambda drawn: sum(drawn) > 0.01)


def fresh(kind, *, n_objectives=OBJECTIVES, **changes):
    with forked_rng(0):
        return build_conditioning(
            ModelConfig(**CONFIG | changes, conditioning=kind), n_objectives
        ).requires_grad_(requires_grad=False)


def lively(kind):
    """A conditioning whose weights are all far from 0."""
    made = fresh(kind)
    generator = torch.Generator().manual_seed(1)
    for weight in made.parameters():
        weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return made


def act(conditioning, place, x_BTD, preference_BO):
    if place < 0:
        return conditioning.condition_input(x_BTD, preference_BO)
    return conditioning.condition_layer(place, x_BTD, preference_BO)


def sessions(n=2, length=4, seed=0):
    return torch.randn(n, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def on_simplex(drawn):
    return torch.tensor(drawn) / sum(drawn)


PREFERENCES = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.1, 0.9]])


def test_concatenation_of_small_numbers():
    made = fresh(Conditioning.CONCATENATION, n_objectives=2, hidden_size=2)
    made.from_item.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    made.from_item.bias.copy_(torch.tensor([0.5, -0.5]))
    made.from_preference.weight.copy_(torch.tensor([[10.0, 0.0], [0.0, 20.0]]))

    entered = made.condition_input(torch.tensor([[[1.0, -1.0]]]), torch.tensor([[0.25, 0.75]]))

    assert entered.tolist() == [[[1 - 2 + 10 * 0.25 + 0.5, 3 - 4 + 20 * 0.75 - 0.5]]]


def test_concatenation_is_a_linear_layer_of_the_joined_vectors():
    made, x_BTD = lively(Conditioning.CONCATENATION), sessions()
    joined_BTX = torch.cat([x_BTD, PREFERENCES[:, None, :].expand(-1, 4, -1)], dim=2)
    weight_DX = torch.cat([made.from_item.weight, made.from_preference.weight], dim=1)

    expected = functional.linear(joined_BTX, weight_DX, made.from_item.bias)

    torch.testing.assert_close(made.condition_input(x_BTD, PREFERENCES), expected)


def test_concatenation_begins_as_one_layer_of_both_would():
    made = fresh(Conditioning.CONCATENATION, hidden_size=60)

    for weight in (made.from_item.weight, made.from_preference.weight):
        largest = float(weight.abs().max())
        assert 0.9 * (60 + OBJECTIVES) ** -0.5 < largest <= (60 + OBJECTIVES) ** -0.5


def test_concatenation_leaves_the_layers_alone():
    made, x_BTD = lively(Conditioning.CONCATENATION), sessions()

    assert all(made.condition_layer(layer, x_BTD, PREFERENCES) is x_BTD for layer in range(LAYERS))


def test_film_of_small_numbers():
    made = fresh(Conditioning.FILM, n_objectives=2, hidden_size=2, layers=1)
    entrance, behind = made.modulations
    entrance.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]))
    entrance.bias.copy_(torch.tensor([0.5, 0.0, 0.0, -0.5]))
    behind.weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    behind.bias.zero_()
    x_BTD, preference_BO = torch.tensor([[[10.0, 100.0]]]), torch.tensor([[0.25, 0.75]])

    # γ = (¼·1 + ¾·2 + ½, ¼·3 + ¾·4) = (2.25, 3.75), β = (¼·5 + ¾·6, ¼·7 + ¾·8 - ½) = (5.75, 7.25)
    assert made.condition_input(x_BTD, preference_BO).tolist() == [
        [[(1 + 2.25) * 10 + 5.75, (1 + 3.75) * 100 + 7.25]]
    ]
    assert made.condition_layer(0, x_BTD, preference_BO).tolist() == [[[10 + 0.25, 100 + 0.75]]]


@pytest.mark.parametrize("place", EVERYWHERE)
def test_low_rank_mixture_is_a_double_loop_over_objectives_and_ranks(place):
    made, x_BTD = lively(Conditioning.LOW_RANK_MIXTURE), sessions()
    down_ORD, up_ORD = made.down_LORD[place + 1], made.up_LORD[place + 1]

    expected = x_BTD.clone()
    for session, position in product(range(2), range(4)):
        x_D = x_BTD[session, position]
        for objective in range(OBJECTIVES):
            weight = PREFERENCES[session, objective]
            for row in range(RANK):
                inner = sum(down_ORD[objective, row] * x_D)
                expected[session, position] += weight * up_ORD[objective, row] * inner
            if place < 0:
                expected[session, position] += weight * made.bias_OD[objective]

    got = act(made, place, x_BTD, PREFERENCES)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("objective", range(OBJECTIVES))
def test_an_objective_that_has_all_weight_brings_an_adapter_of_its_rank(objective):
    preference_O = torch.eye(OBJECTIVES)[objective]

    folded = lively(Conditioning.LOW_RANK_MIXTURE).fold(preference_O)

    for place in EVERYWHERE:
        weight_DD = getattr(folded, f"weight_{place + 1}")
        assert torch.linalg.matrix_rank(weight_DD - torch.eye(WIDTH), atol=1e-5) == RANK


@kinds
@pytest.mark.parametrize("place", EVERYWHERE)
def test_each_session_is_acted_on_by_its_own_preference(kind, place):
    made = lively(kind)
    x_BTD = sessions(1).expand(2, -1, -1)
    acts = not (kind is Conditioning.CONCATENATION and place >= 0)

    together = act(made, place, x_BTD, PREFERENCES)
    alone = [act(made, place, x_BTD[:1], preference[None])[0] for preference in PREFERENCES]

    torch.testing.assert_close(together, torch.stack(alone))
    assert torch.allclose(alone[0], alone[1], atol=1e-2) != acts


@kinds
@pytest.mark.parametrize("place", EVERYWHERE)
def test_every_position_is_acted_on_by_itself(kind, place):
    made, x_BTD = lively(kind), sessions()

    together = act(made, place, x_BTD, PREFERENCES)
    apart = [act(made, place, x_BTD[:, t : t + 1], PREFERENCES) for t in range(4)]

    torch.testing.assert_close(together, torch.cat(apart, dim=1))


@kinds
@pytest.mark.parametrize("place", EVERYWHERE)
def test_every_conditioning_is_affine_in_the_hidden_states(kind, place):
    made, one, other = lively(kind), sessions(seed=1), sessions(seed=2)

    between = act(made, place, 0.3 * one + 0.7 * other, PREFERENCES)

    ends = [act(made, place, x_BTD, PREFERENCES) for x_BTD in (one, other)]
    torch.testing.assert_close(between, 0.3 * ends[0] + 0.7 * ends[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [Conditioning.FILM, Conditioning.LOW_RANK_MIXTURE])
def test_no_two_places_share_their_weights(kind):
    made, x_BTD = lively(kind), sessions()

    results = [act(made, place, x_BTD, PREFERENCES) for place in EVERYWHERE]

    for place, result in enumerate(results):
        assert not any(torch.allclose(result, other, atol=1e-2) for other in results[:place])


@quick
@kinds
@given(drawn=weights)
def test_folded_maps_equal_the_conditioning_under_that_preference(kind, drawn):
    made, x_BTD, preference_O = lively(kind), sessions(), on_simplex(drawn)

    folded = made.fold(preference_O)

    for place in EVERYWHERE:
        expected = act(made, place, x_BTD, preference_O.expand(2, -1))
        got = act(folded, place, x_BTD, PREFERENCES)  # which it does not look at
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (Conditioning.CONCATENATION, WIDTH),  # a bias; its matrix is the conditioning's own
        (Conditioning.FILM, (LAYERS + 1) * 2 * WIDTH),  # a scale and a shift at every place
        (Conditioning.LOW_RANK_MIXTURE, (LAYERS + 1) * WIDTH**2 + WIDTH),
    ],
)
def test_a_preference_is_folded_into_few_numbers_of_its_own(kind, numbers):
    made = lively(kind)
    shared = {weight.data_ptr() for weight in made.parameters()}

    held = list(made.fold(PREFERENCES[0]).buffers())

    assert sum(one.numel() for one in held if one.data_ptr() not in shared) == numbers


@kinds
def test_folded_maps_lie_where_the_weights_lie(kind):
    folded = fresh(kind).to("meta").fold(torch.ones(OBJECTIVES, device="meta"))

    assert {one.device.type for one in folded.buffers()} == {"meta"}
