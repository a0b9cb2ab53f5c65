"""A session transformer whose weights are made from the preference, as a custom backbone.

Source: Navon et al., "Learning the Pareto front with hypernetworks", ICLR 2021: a small network
maps the preference to the weights of the target network, here the linear maps of every block. A
backbone does not see the preference; under FiLM, the conditioning of a zero state is a linear map
of it, which is the hypernetwork's input. All sessions of a batch have one preference, as there.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.network.conditioning import Condition
from models.network.configuration import ModelConfig

_HIDDEN = 64
_SPREAD = 0.01
"""Initial size of what the preference adds to the target network's initial weights."""


class HyperTransformer(nn.Module):
    """Pre-norm causal blocks as those of ``tron``, with generated weights."""

    def __init__(self, config: ModelConfig) -> None:
        """With the size of the target network as configured."""
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        width, inner = config.hidden_size, config.feedforward_multiplier * config.hidden_size
        shapes = [(3 * width, width), (width, width), (inner, width), (width, inner)]
        self.trunk = nn.Sequential(
            nn.Linear(width, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU()
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(_Generated(shape) for shape in shapes) for _ in range(config.layers)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.LayerNorm(width) for _ in range(2)) for _ in range(config.layers)
        )

    def forward(self, x_BTD: Tensor, condition: Condition) -> Tensor:
        """States of the sessions; B × T × D."""
        for layer, (maps, norms) in enumerate(zip(self.blocks, self.norms, strict=True)):
            preference_BD = condition(layer, torch.zeros_like(x_BTD[:, :1]))[:, 0]
            if not torch.equal(preference_BD, preference_BD[:1].expand_as(preference_BD)):
                msg = "a batch has one preference; set training.preference_sampling: batch"
                raise ValueError(msg)
            inner_H = self.trunk(preference_BD[0])
            attention, out, up, down = (one(inner_H) for one in maps)
            x_BTD = x_BTD + self._attend(norms[0](x_BTD) @ attention.T) @ out.T
            fed_BTF = functional.gelu(norms[1](x_BTD) @ up.T)
            x_BTD = x_BTD + functional.dropout(fed_BTF @ down.T, self.dropout, self.training)
        return x_BTD

    def _attend(self, projected_BTX: Tensor) -> Tensor:
        batch, length, width = projected_BTX.shape
        parts = projected_BTX.view(batch, length, 3, self.heads, width // 3 // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, dropout_p=self.dropout if self.training else 0.0
        )
        return attended.transpose(1, 2).reshape(batch, length, width // 3)


class _Generated(nn.Module):
    """A matrix that is a linear map of the hypernetwork's state, around an initial one."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.head = nn.Linear(_HIDDEN, shape[0] * shape[1])
        nn.init.normal_(self.head.weight, std=_SPREAD)
        bound = 1 / math.sqrt(shape[1])
        nn.init.uniform_(self.head.bias, -bound, bound)

    def forward(self, inner_H: Tensor) -> Tensor:
        return self.head(inner_H).view(self.shape)
