"""Backbones: causal, conditioned behind each layer, and each by hand on one layer."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from models.errors import ModelError
from models.network.backbones import BACKBONES, build_backbone
from models.network.backbones.attention import CausalSelfAttention
from models.network.backbones.gated import GatedBlock, SwiGLU
from models.network.backbones.transformer import Block
from models.network.configuration import ModelConfig
from models.network.model import forked_rng

WIDTH, LAYERS, LONGEST = 4, 2, 6
CONFIG = {"hidden_size": WIDTH, "layers": LAYERS, "heads": 2, "dropout": 0.0, "max_length": LONGEST}
SHIFT_LD = torch.tensor([[0.3, -0.2, 0.1, 0.4], [-0.5, 0.2, 0.6, -0.1]])
quick = settings(max_examples=20)
known = pytest.mark.parametrize("name", sorted(BACKBONES))


def lively(module):
    """The module with all weights far from 0, so that nothing can hide, outside training."""
    generator = torch.Generator().manual_seed(1)
    for weight in module.requires_grad_(requires_grad=False).parameters():
        weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return module.eval()


def backbone(name, **changes):
    return lively(build_backbone(ModelConfig(**CONFIG | changes, backbone=name)))


def shifted(layer, x_BTD):
    return 1.1 * x_BTD + SHIFT_LD[layer]


def unconditioned(_layer, x_BTD):
    return x_BTD


def sessions(n=2, length=LONGEST, seed=0):
    return torch.randn(n, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def attended(module, x_TD, heads):
    """What each position gathers, head by head and position by position."""
    weight_DX, bias_X = module.query_key_value.weight, module.query_key_value.bias
    query_TD, key_TD, value_TD = functional.linear(x_TD, weight_DX, bias_X).split(WIDTH, dim=1)
    rows = []
    for t in range(len(x_TD)):
        joined = []
        for part in torch.arange(WIDTH).chunk(heads):
            scores = [float(query_TD[t, part] @ key_TD[u, part]) for u in range(t + 1)]
            shares = [math.exp(score / math.sqrt(WIDTH / heads)) for score in scores]
            read = sum(share * value_TD[u, part] for u, share in enumerate(shares))
            joined.append(read / sum(shares))
        rows.append(module.out(torch.cat(joined)))
    return torch.stack(rows)


def normalised(x_TD, norm):
    mean = x_TD.mean(dim=1, keepdim=True)
    variance = (x_TD - mean).square().mean(dim=1, keepdim=True)
    return (x_TD - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


@known
@quick
@given(length=st.integers(1, LONGEST), kept=st.integers(1, LONGEST))
def test_states_do_not_depend_on_what_follows(name, length, kept):
    made, x_BTD, others_BTD = backbone(name), sessions(length=length), sessions(seed=1)
    changed_BTD = torch.cat([x_BTD[:, :kept], others_BTD], dim=1)[:, :LONGEST]

    states, changed = made(x_BTD, shifted), made(changed_BTD, shifted)

    assert states.shape == x_BTD.shape
    torch.testing.assert_close(changed[:, : min(kept, length)], states[:, :kept])


@known
@pytest.mark.parametrize("place", range(LONGEST))
def test_every_earlier_click_reaches_the_last_state(name, place):
    made, x_BTD = backbone(name), sessions()
    changed_BTD = x_BTD.clone()
    changed_BTD[:, place] = sessions(seed=1)[:, place]

    last, changed = (made(one, unconditioned)[:, -1] for one in (x_BTD, changed_BTD))

    assert not torch.allclose(last, changed, atol=1e-3)


@known
def test_sessions_of_a_batch_do_not_see_each_other(name):
    made, x_BTD = backbone(name), sessions(3)

    together = made(x_BTD, shifted)

    alone = [made(x_BTD[row : row + 1], shifted) for row in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


@known
def test_a_process_without_a_session_gets_no_state(name):
    assert backbone(name)(sessions(0), unconditioned).shape == (0, LONGEST, WIDTH)


@known
def test_condition_acts_behind_each_layer_and_the_next_one_reads_it(name):
    made, x_BTD = backbone(name), sessions()
    seen = []

    def condition(layer, x):
        seen.append((layer, x))
        return shifted(layer, x)

    states = made(x_BTD, condition)

    first, second = getattr(made, "cells", None) or made.blocks
    after_first = first(x_BTD)[0] if name == "gru4rec" else first(x_BTD)
    after_second = second(shifted(0, after_first))
    after_second = after_second[0] if name == "gru4rec" else after_second
    assert [layer for layer, _ in seen] == [0, 1]
    torch.testing.assert_close(seen[0][1], after_first)
    torch.testing.assert_close(seen[1][1], after_second)
    torch.testing.assert_close(states, shifted(1, after_second))


@known
def test_dropout_acts_in_training_only(name):
    x_BTD = sessions()
    plain, dropping = backbone(name), backbone(name, dropout=0.5)

    assert torch.equal(dropping(x_BTD, shifted), plain(x_BTD, shifted))
    assert torch.equal(plain.train()(x_BTD, shifted), plain.eval()(x_BTD, shifted))
    with forked_rng(0):
        draws = [dropping.train()(x_BTD, shifted) for _ in range(2)]
    assert not torch.allclose(*draws)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_a_softmax_over_the_past_in_each_head(heads):
    module = lively(CausalSelfAttention(ModelConfig(**CONFIG | {"heads": heads})))
    x_BTD = sessions()

    expected = torch.stack([attended(module, x_TD, heads) for x_TD in x_BTD])

    torch.testing.assert_close(module(x_BTD), expected, atol=1e-5, rtol=1e-5)


def test_a_block_of_tron_by_its_formula():
    block, x_TD = lively(Block(ModelConfig(**CONFIG))), sessions(1)[0]
    into, _, out, _ = block.feed_forward

    read_TD = x_TD + attended(block.attention, normalised(x_TD, block.attention_norm), heads=2)
    inner = into(normalised(read_TD, block.feed_forward_norm))
    expected = read_TD + out(inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2))))  # GELU

    torch.testing.assert_close(block(x_TD[None])[0], expected, atol=1e-5, rtol=1e-5)


def test_a_block_of_ligr_by_its_formula():
    block, x_TD = lively(GatedBlock(ModelConfig(**CONFIG))), sessions(1)[0]
    swiglu = block.feed_forward
    gate_XD, value_XD = swiglu.gate_and_value.weight.split(2 * WIDTH)
    gate_X, value_X = swiglu.gate_and_value.bias.split(2 * WIDTH)

    added = attended(block.attention, normalised(x_TD, block.attention_norm), heads=2)
    read_TD = x_TD + sigmoid(block.attention_gate(x_TD)) * added
    inner_TD = normalised(read_TD, block.feed_forward_norm)
    gate = inner_TD @ gate_XD.T + gate_X
    added = swiglu.out(gate * sigmoid(gate) * (inner_TD @ value_XD.T + value_X))
    expected = read_TD + sigmoid(block.feed_forward_gate(read_TD)) * added

    torch.testing.assert_close(block(x_TD[None])[0], expected, atol=1e-5, rtol=1e-5)


def test_closed_gates_let_nothing_through():
    block, x_BTD = lively(GatedBlock(ModelConfig(**CONFIG))), sessions()
    for gate in (block.attention_gate, block.feed_forward_gate):
        gate.weight.zero_()
        gate.bias.fill_(-100.0)

    assert torch.equal(block(x_BTD), x_BTD)


def test_swiglu_of_small_numbers():
    module = lively(
        SwiGLU(ModelConfig(hidden_size=1, heads=1, feedforward_multiplier=1, dropout=0.0))
    )
    for weight, value in (
        (module.gate_and_value.weight, [[2.0], [3.0]]),
        (module.gate_and_value.bias, [0.5, -1.0]),
        (module.out.weight, [[10.0]]),
        (module.out.bias, [0.25]),
    ):
        weight.copy_(torch.tensor(value))

    gate, value = 2 * 1.5 + 0.5, 3 * 1.5 - 1
    expected = 10 * gate / (1 + math.exp(-gate)) * value + 0.25
    assert module(torch.tensor([[[1.5]]])).item() == pytest.approx(expected, rel=1e-6)


def test_a_layer_of_gru4rec_by_its_formula():
    made, x_TD = backbone("gru4rec", layers=1), sessions(1)[0]
    cell = made.cells[0]
    expected, state = [], torch.zeros(WIDTH)
    for x in x_TD:
        of_x = (cell.weight_ih_l0 @ x + cell.bias_ih_l0).split(WIDTH)
        of_state = (cell.weight_hh_l0 @ state + cell.bias_hh_l0).split(WIDTH)
        reset, update = sigmoid(of_x[0] + of_state[0]), sigmoid(of_x[1] + of_state[1])
        new = torch.tanh(of_x[2] + reset * of_state[2])
        state = (1 - update) * new + update * state
        expected.append(state)

    states = made(x_TD[None], unconditioned)[0]

    torch.testing.assert_close(states, torch.stack(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("block", "factor"), [(Block, 1), (GatedBlock, 2)])
@pytest.mark.parametrize("feedforward_multiplier", [1, 3])
def test_feedforward_multiplier_is_the_inner_width_of_a_block(
    block, factor, feedforward_multiplier
):
    made = block(
        ModelConfig(**CONFIG | {"feedforward_multiplier": feedforward_multiplier})
    ).feed_forward

    inner = [layer for layer in made.modules() if isinstance(layer, nn.Linear)]

    assert inner[0].out_features == factor * feedforward_multiplier * WIDTH  # a gated one makes two
    assert inner[1].in_features == feedforward_multiplier * WIDTH


def test_an_unknown_backbone_is_refused_with_the_accepted_ones():
    words = "'bert' is unknown; built-in: tron, ligr, gru4rec; installed as paretoscope.backbones"

    with pytest.raises(ModelError, match=words):
        build_backbone(ModelConfig(backbone="bert"))
