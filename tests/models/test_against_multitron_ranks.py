"""Our ranks against the reference's test loop, on the same weights and sessions.

Its encoder is torch's: pre-norm, one head, ReLU, a feed-forward network as wide as the model, a norm
behind the last layer; positions count from the end of a window that is padded in front. All of that
ours can be, so its weights are copied, and what is left to differ is the evaluation.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from models.network.configuration import Activation, Conditioning, ModelConfig, Positions
from models.network.model import ConditionedSessionModel
from models.scoring.target_scores import score_targets
from models.tokens import SessionTokens

_CHECKOUT = "PARETOSCOPE_MULTITRON"
ITEMS, WIDTH, LAYERS, WINDOW, BATCH = 60, 16, 2, 12, 4
CONFIG = ModelConfig(
    conditioning=Conditioning.CONCATENATION,
    hidden_size=WIDTH,
    layers=LAYERS,
    heads=1,
    feedforward_multiplier=1,
    activation=Activation.RELU,
    max_length=WINDOW,
    positions=Positions.END,
)
PREFERENCES = [(1.0, 0.0), (0.3, 0.7)]
LENGTHS = [3, 9, 2, 14, 5, 2, 2, 12, 30, 2]  # two full batches, and two sessions over


class Lightning(nn.Module):
    """What their network uses of pytorch-lightning."""

    device = torch.device("cpu")

    def save_hyperparameters(self):
        """Nothing is kept."""

    def log(self, name, value):
        self.logged = {**getattr(self, "logged", {}), name: float(value)}


@pytest.fixture(scope="module")
def reference():
    """Their network with random weights."""
    folder = os.environ.get(_CHECKOUT)
    if not folder:
        pytest.skip(f"no reference; set {_CHECKOUT} to a checkout of otto-de/MultiTRON")
    names = ("logits_computation", "loss", "evaluate", "model")
    with pytest.MonkeyPatch.context() as patch:
        lightning = ModuleType("pytorch_lightning")
        lightning.LightningModule = Lightning
        patch.setitem(sys.modules, "pytorch_lightning", lightning)
        patch.setitem(sys.modules, "src", ModuleType("src"))
        for name in names:
            file = Path(folder) / "src" / f"{name}.py"
            spec = importlib.util.spec_from_file_location(f"src.{name}", file)
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, f"src.{name}", module)
            spec.loader.exec_module(module)
    settings = {"sampling_style": "batchwise", "dropout_rate": 0.1, "num_layers": LAYERS}
    with pytest.warns(UserWarning, match="enable_nested_tensor"):
        model = module.MultiTron(
            WIDTH, max_len=WINDOW, num_items=ITEMS, batch_size=BATCH, **settings
        )
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=rng))
    return model.eval()


@pytest.fixture(scope="module")
def ours(reference):
    """Our network with their weights."""
    theirs = dict(reference.state_dict())
    scale = (WIDTH / 2) ** 0.5  # they scale what enters, we do not
    enter = scale * theirs["linear.weight"]
    weights = {
        "item_embedding.weight": theirs["item_embedding.weight"][1:],  # theirs begins with padding
        "position_embedding.weight": theirs["positional_embedding_layer.embedding.weight"].flip(0),
        "conditioning.from_item.weight": enter[:, :WIDTH],
        "conditioning.from_preference.weight": enter[:, WIDTH:],
        "conditioning.from_item.bias": scale * theirs["linear.bias"],
        "norm.weight": theirs["norm.weight"],
        "norm.bias": theirs["norm.bias"],
    }
    parts = {
        "norm1": "attention_norm",
        "self_attn.in_proj_": "attention.query_key_value.",
        "self_attn.out_proj": "attention.out",
        "norm2": "feed_forward_norm",
        "linear1": "feed_forward.0",
        "linear2": "feed_forward.2",
    }
    for name, weight in theirs.items():
        if name.startswith("encoder.layers."):
            layer, part = name.removeprefix("encoder.layers.").split(".", 1)
            own = next(part.replace(a, b) for a, b in parts.items() if part.startswith(a))
            weights[f"backbone.blocks.{layer}.{own}"] = weight
    model = ConditionedSessionModel(CONFIG, n_items=ITEMS, n_objectives=2)
    model.load_state_dict(weights)
    return model.eval()


def sessions():
    rng = np.random.default_rng(4)
    return [
        [(int(rng.integers(ITEMS)), int(rng.random() < 0.3)) for _ in range(length)]
        for length in LENGTHS
    ]


def their_batch(written):
    """Sessions as their collate function makes them: items from 1, padding in front."""
    rows = []
    for session in written:
        recent = session[-(WINDOW + 1) :]
        padding = [0] * (WINDOW + 1 - len(recent))
        rows.append(
            (
                padding + [item + 1 for item, _ in recent[:-1]],
                padding + [item + 1 for item, _ in recent[1:]],
                padding + [ordered for _, ordered in recent[1:]],
                padding + [1] * (len(recent) - 1),
            )
        )
    clicks, labels, ordered, mask = (torch.tensor(column) for column in zip(*rows, strict=True))
    drawn = torch.arange(1, 9)
    return {
        "clicks": clicks, "click_labels": labels, "order_labels": ordered.float(),
        "mask": mask.float(), "uniform_negatives": drawn, "in_batch_negatives": drawn[:0],
    }  # fmt: skip


def their_step(reference, written, preference):
    """What their test step logs for one batch."""
    reference.fixed_beta = list(preference)
    with torch.no_grad():
        reference.test_step(their_batch(written), 0)
    return reference.logged


def our_scores(model, written, preference):
    (scores,) = score_targets(model, SessionTokens.from_lists(written), torch.tensor([preference]))
    return scores


@pytest.mark.parametrize("preference", PREFERENCES)
def test_hidden_states_are_theirs(reference, ours, preference):
    written = sessions()[:BATCH]
    batch = their_batch(written)
    with torch.no_grad():
        theirs = reference(batch["clicks"], torch.tensor([preference]), batch["mask"])
    real = [min(len(session) - 1, WINDOW) for session in written]
    inputs = torch.zeros(BATCH, max(real), dtype=torch.int64)
    for row, (session, length) in enumerate(zip(written, real, strict=True)):
        inputs[row, :length] = torch.tensor([item for item, _ in session[-length - 1 : -1]])

    with torch.no_grad():
        states = ours(inputs, torch.tensor(real), torch.tensor([preference]).expand(BATCH, -1))

    for row, length in enumerate(real):
        torch.testing.assert_close(states[row, :length], theirs[row, WINDOW - length :])


@pytest.mark.parametrize("preference", PREFERENCES)
@pytest.mark.parametrize("start", [0, BATCH])
def test_metrics_of_a_full_batch_are_theirs(reference, ours, preference, start):
    written = sessions()[start : start + BATCH]

    logged = their_step(reference, written, preference)
    scores = our_scores(ours, written, preference)
    recall, density = scores.recall_and_order_density(20)

    assert 0 < recall < 1
    assert logged["test_click_recall"] == pytest.approx(recall, rel=1e-6)
    assert logged["test_order_density"] == pytest.approx(density, rel=1e-6)
    order_recall = (scores.rank[scores.ordered] <= 20).mean()
    assert logged["test_order_recall"] == pytest.approx(order_recall, rel=1e-6)


def test_they_drop_the_last_sessions_and_average_batches_where_we_count(reference, ours):
    written, preference = sessions(), PREFERENCES[1]
    full = len(written) // BATCH * BATCH
    steps = [
        their_step(reference, written[start : start + BATCH], preference)
        for start in range(0, full, BATCH)
    ]
    scores = our_scores(ours, written, preference)
    hit, batch = scores.rank <= 20, scores.session // BATCH

    # ten sessions are two batches of four: the last two are never looked at
    theirs = np.mean([step["test_click_recall"] for step in steps])
    assert set(batch.tolist()) == {0, 1, 2}
    # every batch weighs the same, however many targets it has
    assert np.bincount(batch).tolist() == [23, 17, 13]
    assert theirs == pytest.approx((hit[batch == 0].mean() + hit[batch == 1].mean()) / 2, rel=1e-6)
    # ours is the share of all targets that are hit
    recall, _ = scores.recall_and_order_density(20)
    assert recall == hit.sum() / (23 + 17 + 13)
    assert recall != pytest.approx(theirs, rel=1e-3)
