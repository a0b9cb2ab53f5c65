import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.configuration import ModelConfig
from models.errors import ModelError
from models.network import ConditionedSessionModel, build_model, forked_rng

ITEMS = 11
WINDOW = 6
items = st.integers(0, ITEMS - 1)
clicks = st.lists(items, min_size=1, max_size=WINDOW)
quick = settings(max_examples=30, deadline=None)


def lively_model(*, heads=2, layers=2, dropout=0.0):
    """A model whose weights are all far from 0, so that nothing can hide."""
    config = ModelConfig(width=8, layers=layers, heads=heads, dropout=dropout, max_length=WINDOW)
    model = build_model(config, n_items=ITEMS, n_objectives=2, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return model.eval().requires_grad_(requires_grad=False)


MODEL = lively_model()


def hidden(session, preference=(0.3, 0.7), model=MODEL):
    """Hidden states of one session alone; T × (D + O)."""
    return model(torch.tensor([session]), torch.tensor([preference]))[0]


def equal_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_three_ways_to_score_agree_with_explicit_loops():
    generator = torch.Generator().manual_seed(2)
    hidden_PD = torch.randn(4, 8, generator=generator)
    shared, each = [3, 3, 0, 10], [7, 0, 10, 7]
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
        MODEL.score_shared(hidden_PD, torch.tensor(shared)), expected_PI[:, shared]
    )
    torch.testing.assert_close(
        MODEL.score_each(hidden_PD, torch.tensor(each)), expected_PI[range(4), each]
    )


@quick
@given(session=clicks, padding=st.lists(items, min_size=WINDOW, max_size=WINDOW))
def test_padding_never_reaches_real_positions(session, padding):
    longest = padding  # another session of the batch is as long as the window
    padded = (session + padding)[:WINDOW]
    inputs_BT = torch.tensor([longest, padded])

    together = MODEL(inputs_BT, torch.tensor([[1.0, 0.0], [0.3, 0.7]]))[1, : len(session)]

    torch.testing.assert_close(together, hidden(session))


@quick
@given(session=clicks, place=st.integers(0, WINDOW - 1), item=items)
def test_a_later_click_does_not_change_an_earlier_state(session, place, item):
    place = min(place, len(session) - 1)
    changed = [*session[:place], item, *session[place + 1 :]]

    before, after = hidden(session), hidden(changed)

    torch.testing.assert_close(after[:place], before[:place])
    assert torch.allclose(after[place], before[place]) == (item == session[place])


@quick
@given(session=clicks, cut=st.integers(1, WINDOW))
def test_state_of_a_prefix_is_the_prefix_of_the_states(session, cut):
    torch.testing.assert_close(hidden(session)[:cut], hidden(session[:cut]))


def test_every_earlier_click_and_their_order_reach_the_last_state():
    session = [1, 2, 3, 4]
    last = hidden(session)[-1]

    for other in ([9, 2, 3, 4], [1, 9, 3, 4], [1, 2, 9, 4], [2, 1, 3, 4]):
        assert not torch.allclose(hidden(other)[-1], last, atol=1e-3)


def test_the_place_of_a_click_reaches_its_state():
    first, second, third = hidden([3, 3, 3])  # without places all three would be the same

    assert not torch.allclose(first, second, atol=1e-3)
    assert not torch.allclose(second, third, atol=1e-3)


def test_preference_changes_the_session_state_and_the_scores():
    session = [1, 2, 3]
    states = [hidden(session, preference) for preference in ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))]

    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert not torch.allclose(states[one], states[other], atol=1e-3)
        scores = MODEL.score_all(states[one]), MODEL.score_all(states[other])
        assert not torch.allclose(*scores, atol=1e-3)


def test_sessions_of_a_batch_do_not_see_each_others_preference():
    inputs_BT = torch.tensor([[1, 2, 3], [1, 2, 3]])

    together = MODEL(inputs_BT, torch.tensor([[0.9, 0.1], [0.2, 0.8]]))

    torch.testing.assert_close(together[0], hidden([1, 2, 3], (0.9, 0.1)))
    torch.testing.assert_close(together[1], hidden([1, 2, 3], (0.2, 0.8)))


def test_heads_change_the_result_of_the_same_weights():
    one, two = lively_model(heads=1), lively_model(heads=2)

    assert equal_weights(one, two)
    assert not torch.allclose(hidden([1, 2, 3], model=one), hidden([1, 2, 3], model=two), atol=1e-3)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_every_layer_takes_part(number):
    model = lively_model(layers=3)
    before = hidden([1, 2, 3], model=model)

    model.blocks[number].query_key_value.weight.add_(0.3)

    assert not torch.allclose(hidden([1, 2, 3], model=model), before, atol=1e-3)


def test_dropout_acts_in_training_only():
    inputs_BT, preference_BO = torch.tensor([[1, 2, 3]]), torch.tensor([[0.5, 0.5]])
    plain, dropped = lively_model(dropout=0.0), lively_model(dropout=0.5)
    expected = plain(inputs_BT, preference_BO)

    assert torch.equal(dropped(inputs_BT, preference_BO), expected)
    assert torch.equal(plain.train()(inputs_BT, preference_BO), expected)
    with forked_rng(0):
        dropped.train()
        draws = [dropped(inputs_BT, preference_BO) for _ in range(2)]
    assert not torch.allclose(draws[0], draws[1])


def test_seed_decides_the_initial_weights_bit_for_bit():
    config = ModelConfig(width=8)
    first, again, other = (
        build_model(config, n_items=5, n_objectives=2, seed=seed) for seed in (3, 3, 4)
    )

    assert equal_weights(first, again)
    assert not torch.equal(first.item_embedding.weight, other.item_embedding.weight)
    assert not torch.equal(first.conditioning.weight, other.conditioning.weight)


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()

    build_model(ModelConfig(width=8), n_items=5, n_objectives=2, seed=3)

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
        ConditionedSessionModel(ModelConfig(width=4), n_items=0, n_objectives=2)
