"""R(x, π): what reaches a state and what does not, positions, scores, seeds, and folding."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.errors import ModelError
from models.network.backbones import BACKBONES
from models.network.configuration import Conditioning, ModelConfig, Positions
from models.network.model import ConditionedSessionModel, build_model, forked_rng

ITEMS, WIDTH, WINDOW, LAYERS = 11, 8, 6, 2
CONFIG = {"hidden_size": WIDTH, "layers": LAYERS, "heads": 2, "dropout": 0.0, "max_length": WINDOW}
items = st.integers(0, ITEMS - 1)
clicks = st.lists(items, min_size=1, max_size=WINDOW)
first_weights = st.floats(0, 1, width=32)
quick = settings(max_examples=10)


def lively_model(backbone="tron", conditioning=Conditioning.CONCATENATION, **changes):
    """A model whose weights are all far from 0, so that nothing can hide."""
    config = ModelConfig(**CONFIG | changes, backbone=backbone, conditioning=conditioning)
    model = build_model(config, n_items=ITEMS, n_objectives=2, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return model.eval().requires_grad_(requires_grad=False)


MODELS = {both: lively_model(*both) for both in product(sorted(BACKBONES), Conditioning)}
MODEL = MODELS["tron", Conditioning.CONCATENATION]
FROM_END = lively_model(positions=Positions.END)
every_model = pytest.mark.parametrize("both", MODELS, ids="-".join)
each_and_from_end = pytest.mark.parametrize(
    "model", [*MODELS.values(), FROM_END], ids=[*map("-".join, MODELS), "from-end"]
)


def states(model, sessions, preferences):
    """Hidden states of sessions of one length; B × T × D."""
    lengths_B = torch.tensor([len(session) for session in sessions])
    return model(torch.tensor(sessions), lengths_B, torch.tensor(preferences))


def hidden(session, preference=(0.3, 0.7), model=MODEL):
    """Hidden states of one session alone; T × D."""
    return states(model, [session], [preference])[0]


def equal_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_two_ways_to_score_agree_with_explicit_loops():
    hidden_PD = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(2))
    each = [7, 0, 10, 7]
    loops = [
        [
            sum(float(h * e) for h, e in zip(row, MODEL.item_embedding.weight[n], strict=True))
            for n in range(ITEMS)
        ]
        for row in hidden_PD
    ]
    expected_PI = torch.tensor(loops)

    torch.testing.assert_close(MODEL.score_all(hidden_PD), expected_PI)
    torch.testing.assert_close(
        MODEL.score_each(hidden_PD, torch.tensor(each)), expected_PI[range(4), each]
    )


@quick
@each_and_from_end
@given(session=clicks, padding=st.lists(items, min_size=WINDOW, max_size=WINDOW))
def test_padding_never_reaches_real_positions(model, session, padding):
    padded = (session + padding)[:WINDOW]
    inputs_BT = torch.tensor([padding, padded])  # the other session is as long as the window
    lengths_B = torch.tensor([WINDOW, len(session)])
    preference_BO = torch.tensor([[1.0, 0.0], [0.3, 0.7]])

    together = model(inputs_BT, lengths_B, preference_BO)[1, : len(session)]
    torch.testing.assert_close(together, hidden(session, model=model))


@quick
@each_and_from_end
@given(session=clicks, place=st.integers(0, WINDOW - 1), item=items)
def test_a_later_click_does_not_change_an_earlier_state(model, session, place, item):
    place = min(place, len(session) - 1)
    changed = [*session[:place], item, *session[place + 1 :]]

    before, after = hidden(session, model=model), hidden(changed, model=model)
    torch.testing.assert_close(after[:place], before[:place])
    assert torch.allclose(after[place], before[place]) == (item == session[place])


@quick
@every_model
@given(session=clicks, cut=st.integers(1, WINDOW))
def test_state_of_a_prefix_is_the_prefix_of_the_states(both, session, cut):
    model = MODELS[both]

    torch.testing.assert_close(
        hidden(session, model=model)[:cut], hidden(session[:cut], model=model)
    )


@every_model
def test_every_earlier_click_and_their_order_reach_the_last_state(both):
    session = [1, 2, 3, 4]
    last = hidden(session, model=MODELS[both])[-1]

    for other in ([9, 2, 3, 4], [1, 9, 3, 4], [1, 2, 9, 4], [2, 1, 3, 4]):
        assert not torch.allclose(hidden(other, model=MODELS[both])[-1], last, atol=1e-3)


@every_model
def test_each_session_is_read_under_its_own_preference(both):
    preferences = [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]

    together = states(MODELS[both], [[1, 2, 3]] * 3, preferences)

    for preference, state in zip(preferences, together, strict=True):
        torch.testing.assert_close(state, hidden([1, 2, 3], preference, MODELS[both]))
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert not torch.allclose(together[one], together[other], atol=1e-3)
        scores = [MODELS[both].score_all(together[row]) for row in (one, other)]
        assert not torch.allclose(*scores, atol=1e-3)


class Reading(nn.Module):
    """A backbone that makes nothing of what it reads; the preference acts behind its layers."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x_BTD, condition):
        for layer in self.layers:
            x_BTD = condition(layer, x_BTD)
        return x_BTD


def bare_model(positions, *, layers=(), dropout=0.0):
    """A model whose states are entrance plus position: item i is 100 i + 1, position p is p."""
    model = lively_model(conditioning=Conditioning.FILM, positions=positions, dropout=dropout)
    model.backbone, model.norm = Reading(layers), nn.Identity()
    model.item_embedding.weight.copy_(100 * torch.arange(ITEMS)[:, None] + 1)
    model.position_embedding.weight.copy_(torch.arange(WINDOW)[:, None])
    entrance = model.conditioning.modulations[0]
    entrance.weight.copy_(torch.tensor([[1.0, 0.0]]))  # 1 + γ = 1 + π₁ and β = π₁
    entrance.bias.zero_()
    return model


def test_positions_are_counted_from_the_start_and_added_behind_the_entrance():
    model, preference = bare_model(Positions.START), (0.5, 0.5)

    (state_TD,) = states(model, [[2, 0, 2]], [preference])

    assert state_TD[:, 0].tolist() == [201 * 1.5 + 0.5 + 0, 1 * 1.5 + 0.5 + 1, 201 * 1.5 + 0.5 + 2]
    assert (state_TD == state_TD[:, :1]).all()


def test_positions_counted_from_the_end_are_0_at_the_last_click_whatever_the_padding():
    model = bare_model(Positions.END)
    inputs_BT = torch.zeros(3, 5, dtype=torch.int64)

    state_BTD = model(inputs_BT, torch.tensor([5, 3, 1]), torch.tensor([[0.0, 1.0]] * 3))

    places_BT = state_BTD[:, :, 0] - 1
    assert places_BT.tolist() == [[4, 3, 2, 1, 0], [2, 1, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_the_preference_acts_behind_the_layer_that_the_backbone_names():
    model = bare_model(Positions.START, layers=[1])
    modulation = model.conditioning.modulations[2]
    modulation.weight.copy_(torch.tensor([[0.0, 1.0]]))  # 1 + γ = 1 + π₂ and β = π₂
    modulation.bias.zero_()

    (state_TD,) = states(model, [[2, 0]], [(0.25, 0.75)])

    entered = 201 * 1.25 + 0.25 + 0, 1 * 1.25 + 0.25 + 1
    assert state_TD[:, 0].tolist() == [x * 1.75 + 0.75 for x in entered]


def test_dropout_drops_what_enters_the_backbone_in_training_only():
    model, session = bare_model(Positions.START, dropout=0.5), [2, 3, 4, 5, 6, 7]
    plain_TD = hidden(session, model=model)

    with forked_rng(0):
        dropped_TD = hidden(session, model=model.train())

    assert torch.equal(plain_TD, hidden(session, model=bare_model(Positions.START)))
    kept_TD = dropped_TD != 0
    assert 10 < int(kept_TD.sum()) < 38  # of 48, half on average
    torch.testing.assert_close(dropped_TD[kept_TD], 2 * plain_TD[kept_TD])


@every_model
def test_seed_decides_the_initial_weights_bit_for_bit(both):
    config = ModelConfig(hidden_size=8, backbone=both[0], conditioning=both[1])
    first, again, other = (
        build_model(config, n_items=5, n_objectives=2, seed=seed) for seed in (3, 3, 4)
    )

    assert equal_weights(first, again)
    for one, twin in zip(first.parameters(), other.parameters(), strict=True):
        constant = len(one.unique()) == 1  # norms begin at 1, biases at 0
        assert torch.equal(one, twin) == constant


@pytest.mark.parametrize("sparse", [True, False])
def test_sparse_items_give_gradients_of_the_rows_used_only(sparse):
    config = ModelConfig(hidden_size=8, dropout=0.0)
    model = build_model(config, n_items=50, n_objectives=2, seed=3, sparse_items=sparse)
    inputs_BT, preference_BO = torch.tensor([[7, 3, 7]]), torch.tensor([[0.5, 0.5]])

    model(inputs_BT, torch.tensor([3]), preference_BO)[..., 0].sum().backward()

    gradient = model.item_embedding.weight.grad
    rows = gradient.coalesce().indices()[0] if sparse else gradient.any(dim=1).nonzero()[:, 0]
    assert gradient.is_sparse is sparse
    assert rows.tolist() == [3, 7]


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()

    build_model(ModelConfig(hidden_size=8), n_items=5, n_objectives=2, seed=3)

    assert torch.equal(torch.get_rng_state(), before)


def test_forked_generator_is_restored_even_after_an_error():
    def fail():
        with forked_rng(3):
            torch.rand(1)
            raise RuntimeError("inside")

    before = torch.get_rng_state()

    with pytest.raises(RuntimeError, match="inside"):
        fail()

    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_without_items_is_refused():
    with pytest.raises(ModelError, match="at least one item, got 0"):
        ConditionedSessionModel(ModelConfig(hidden_size=4), n_items=0, n_objectives=2)


@quick
@every_model
@given(session=clicks, first=first_weights, called_with=first_weights)
def test_a_folded_model_is_the_model_under_its_preference(both, session, first, called_with):
    model, preference = MODELS[both], (first, 1 - first)

    folded = model.folded(torch.tensor(preference))

    got = hidden(session, (called_with, 1 - called_with), folded)  # which it does not look at
    torch.testing.assert_close(got, hidden(session, preference, model), atol=1e-5, rtol=1e-5)


@every_model
def test_folding_leaves_the_model_as_it_was(both):
    model, session = lively_model(*both), [1, 2, 3]
    before = hidden(session, (0.9, 0.1), model)
    names = list(model.state_dict())

    model.folded(torch.tensor([0.2, 0.8]))

    assert torch.equal(hidden(session, (0.9, 0.1), model), before)
    assert list(model.state_dict()) == names


@every_model
def test_a_folded_model_shares_all_weights_but_the_conditioning(both):
    model = lively_model(*both)

    folded = model.folded(torch.tensor([0.2, 0.8]))

    shared, all_names = dict(folded.named_parameters()), dict(model.named_parameters())
    assert set(shared) == {name for name in all_names if not name.startswith("conditioning.")}
    assert all(weight is all_names[name] for name, weight in shared.items())
    model.item_embedding.weight[3] += 1.0  # say, by training on
    torch.testing.assert_close(
        hidden([3, 3], (0.5, 0.5), folded), hidden([3, 3], (0.2, 0.8), model), atol=1e-5, rtol=1e-5
    )


@every_model
def test_a_folded_model_is_not_folded_again(both):
    folded = MODELS[both].folded(torch.tensor([0.2, 0.8]))

    with pytest.raises(ModelError, match="already folded; fold the original one"):
        folded.folded(torch.tensor([0.2, 0.8]))


@pytest.mark.parametrize(
    ("preference", "words"),
    [([0.5, 0.6], "not a point of the simplex"), ([0.2, 0.3, 0.5], "3 weights, the model 2")],
)
def test_an_invalid_preference_is_not_folded(preference, words):
    with pytest.raises(ModelError, match=words):
        MODEL.folded(torch.tensor(preference))
