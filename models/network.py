"""R(x, π): a session transformer conditioned on a preference (section 4.1 of the paper).

Items are embedded, the preference is joined to every position, causal transformer blocks read the
session, and the hidden state scores items by its product with their embeddings.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.configuration import ModelConfig
from models.errors import ModelError

_INITIAL_SCALE = 0.1
_EXPANSION = 2


class Block(nn.Module):
    """A pre-norm transformer block: causal self-attention, then a feed-forward network."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.attention_out = nn.Linear(config.width, config.width)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.feed_forward = nn.Sequential(
            nn.Linear(config.width, _EXPANSION * config.width),
            nn.GELU(),
            nn.Linear(_EXPANSION * config.width, config.width),
            nn.Dropout(config.dropout),
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Let every position read the positions up to itself."""
        x_BTD = x_BTD + self._attend(self.attention_norm(x_BTD))
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))

    def _attend(self, x_BTD: Tensor) -> Tensor:
        batch, length, width = x_BTD.shape
        shape = (batch, length, 3, self.heads, width // self.heads)
        query, key, value = self.query_key_value(x_BTD).view(shape).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, dropout_p=self.dropout if self.training else 0.0
        )
        joined = mixed.transpose(1, 2).reshape(batch, length, width)
        return functional.dropout(
            self.attention_out(joined), p=self.dropout, training=self.training
        )


class ConditionedSessionModel(nn.Module):
    """One network for the whole Pareto front."""

    def __init__(self, config: ModelConfig, *, n_items: int, n_objectives: int) -> None:
        if n_items < 1:
            msg = f"a model needs at least one item, got {n_items}"
            raise ModelError(msg)
        super().__init__()
        self.config = config
        self.n_items = n_items
        self.n_objectives = n_objectives
        self.item_embedding = nn.Embedding(n_items, config.width)
        self.position_embedding = nn.Embedding(config.max_length, config.width)
        self.conditioning = nn.Linear(config.width + n_objectives, config.width)
        self.input_dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.item_embedding.weight, std=_INITIAL_SCALE)
        nn.init.normal_(self.position_embedding.weight, std=_INITIAL_SCALE)

    def forward(self, inputs_BT: Tensor, preference_BO: Tensor) -> Tensor:
        """Hidden states for sessions and preferences, one preference a session; B × T × D.

        Positions count from the first click of the window. Padding must follow the real
        positions; causality then keeps it from reaching them.
        """
        length = inputs_BT.shape[1]
        positions_T = torch.arange(length, device=inputs_BT.device)
        preference_BTO = preference_BO[:, None, :].expand(-1, length, -1)
        x_BTD = self.conditioning(
            torch.cat([self.item_embedding(inputs_BT), preference_BTO], dim=-1)
        )
        x_BTD = self.input_dropout(x_BTD + self.position_embedding(positions_T))
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return self.norm(x_BTD)

    def score_all(self, hidden_PD: Tensor) -> Tensor:
        """Scores of every item; P × I."""
        return hidden_PD @ self.item_embedding.weight.T

    def score_shared(self, hidden_PD: Tensor, items_N: Tensor) -> Tensor:
        """Scores of the same ``items_N`` for every hidden state; P × N."""
        return hidden_PD @ self.item_embedding(items_N).T

    def score_each(self, hidden_PD: Tensor, items_P: Tensor) -> Tensor:
        """Score of one item for each hidden state; P."""
        return (hidden_PD * self.item_embedding(items_P)).sum(dim=-1)


def build_model(
    config: ModelConfig, *, n_items: int, n_objectives: int, seed: int
) -> ConditionedSessionModel:
    """A freshly initialised model; the same weights for the same seed."""
    with forked_rng(seed):
        return ConditionedSessionModel(config, n_items=n_items, n_objectives=n_objectives)


@contextmanager
def forked_rng(seed: int) -> Iterator[None]:
    """Seed torch's global generator inside the block only.

    Weight initialisation and dropout know no generator argument; this is their one door.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
