"""Our losses against the reference implementation's own functions, on the same tensors."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from models.batching import SessionBatch
from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.objectives.configuration import Objective
from models.objectives.negatives import CandidateSampler, Negatives
from models.objectives.objectives import Objectives
from models.training.configuration import TrainingConfig

_CHECKOUT = "PARETOSCOPE_MULTITRON"
ITEMS = 20
SESSIONS, LENGTH, WIDTH = 3, 4, 8
TARGETS = range(8)
REAL = [[True] * 4, [True] * 3 + [False], [True] + [False] * 3]


def load(folder, name):
    """A module of theirs, under the name their own imports use."""
    spec = importlib.util.spec_from_file_location(f"src.{name}", folder / "src" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"src.{name}"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def multitron():
    """Their losses; nothing of theirs can be imported afterwards."""
    folder = os.environ.get(_CHECKOUT)
    if not folder:
        pytest.skip(f"no reference; set {_CHECKOUT} to a checkout of otto-de/MultiTRON")
    names = ("src", "src.logits_computation", "src.loss")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setitem(sys.modules, name, ModuleType(name))
        load(Path(folder), "logits_computation")
        module = load(Path(folder), "loss")
    assert not set(names) & set(sys.modules)
    return module


@pytest.fixture
def case():
    """Hidden states, targets and labels, padded as B × T, and a table to score them with."""
    rng = torch.Generator().manual_seed(5)
    model = build_model(
        ModelConfig(hidden_size=WIDTH, layers=1, heads=1), n_items=ITEMS, n_objectives=2, seed=1
    )
    nn.init.normal_(model.item_embedding.weight, generator=rng)
    shape = (SESSIONS, LENGTH)
    return SimpleNamespace(
        model=model,
        hidden_BTD=torch.randn(*shape, WIDTH, generator=rng).requires_grad_(),
        targets_BT=torch.randint(len(TARGETS), shape, generator=rng),
        ordered_BT=torch.randint(2, shape, generator=rng).float(),
        real_BT=torch.tensor(REAL),
    )


def theirs(multitron, case, loss, *, drawn, top=None):
    """The mean over real positions of both their losses, and each position's."""
    return multitron.calc_loss(
        loss,
        case.hidden_BTD,
        case.targets_BT,
        case.ordered_BT,
        torch.tensor(drawn),
        torch.zeros(SESSIONS, 0, dtype=torch.long),
        case.real_BT.float(),
        case.model.item_embedding,
        "batchwise",
        nn.Identity(),
        topk_sampling=top is not None,
        topk_sampling_k=top,
    )


def ours(case, second, *, drawn, top=None):
    """Click and second loss of every real position; P × 2."""
    # their draws as targets of a batch: merged as any draws are
    candidates = CandidateSampler(
        Negatives(uniform=0, in_batch=True), n_items=ITEMS, popularity_I=torch.ones(ITEMS)
    ).draw(torch.tensor(drawn), torch.Generator())
    config = TrainingConfig(
        objectives=(Objective(loss="click"), Objective(loss=second)),
        negatives=Negatives(uniform=len(drawn), top=top),
    )
    batch = SessionBatch(
        inputs_BT=case.targets_BT,
        targets_BT=case.targets_BT,
        ordered_BT=case.ordered_BT,
        carted_BT=case.ordered_BT,
        real_BT=case.real_BT,
        sessions=torch.arange(SESSIONS).numpy(),
    )
    return Objectives(config, n_items=ITEMS).losses(
        case.model, batch, case.hidden_BTD[case.real_BT], candidates
    )


def assert_same(case, ours_PO, theirs):
    """Losses, their means, and the gradients of both means."""
    click, click_BT, second, second_BT = theirs
    each_PO = torch.stack([click_BT[case.real_BT], second_BT[case.real_BT]], dim=1)
    torch.testing.assert_close(ours_PO, each_PO)
    torch.testing.assert_close(ours_PO.mean(dim=0), torch.stack([click, second]))
    weights = (case.hidden_BTD, case.model.item_embedding.weight)
    for our_loss, their_loss in zip(ours_PO.mean(dim=0), (click, second), strict=True):
        torch.testing.assert_close(
            torch.autograd.grad(our_loss, weights, retain_graph=True),
            torch.autograd.grad(their_loss, weights, retain_graph=True),
            rtol=1e-4,
            atol=1e-6,
        )


# their draws may hold a position's own target, ours leave it out: so none is drawn here
DISTINCT = [9, 17, 8, 12, 19, 10]
TWICE = [9, 17, 9, 12, 19, 9, 12]


@pytest.mark.parametrize("drawn", [DISTINCT, TWICE], ids=["distinct", "drawn-twice"])
def test_softmax_and_order_loss_are_theirs(multitron, case, drawn):
    reference = theirs(multitron, case, multitron.click_ssm_order_be_loss, drawn=drawn)

    assert_same(case, ours(case, "order", drawn=drawn), reference)


def test_distortion_loss_is_theirs(multitron, case):
    reference = theirs(multitron, case, multitron.click_ssm_distortion_loss, drawn=DISTINCT)

    assert_same(case, ours(case, "distortion", drawn=DISTINCT), reference)


@pytest.mark.parametrize("top", [1, 3, 6])
@pytest.mark.parametrize("second", ["order", "distortion"])
def test_losses_of_the_highest_negatives_are_theirs(multitron, case, second, top):
    loss = {
        "order": multitron.click_ssm_order_be_loss,
        "distortion": multitron.click_ssm_distortion_loss,
    }[second]

    reference = theirs(multitron, case, loss, drawn=DISTINCT, top=top)

    assert_same(case, ours(case, second, drawn=DISTINCT, top=top), reference)
