"""The block of a gated transformer: learned sigmoid gates scale the outputs of attention and SwiGLU.

Source: Borisyuk et al., "From features to transformers: redefining ranking for scalable impact"
(LiGR), 2025, as eSASRec uses it (Tikhonovich et al., RecSys 2025).
"""

from torch import Tensor, nn
from torch.nn import functional

from models.network.backbones.attention import CausalSelfAttention
from models.network.configuration import ModelConfig


class SwiGLU(nn.Module):
    """W₃(SiLU(W₁x) ∘ W₂x); source: Shazeer, "GLU variants improve transformer", 2020."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inner = config.feedforward_multiplier * config.hidden_size
        self.gate_and_value = nn.Linear(config.hidden_size, 2 * inner)
        self.out = nn.Linear(inner, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Output of the feed-forward network."""
        gate, value = self.gate_and_value(x_BTD).chunk(2, dim=-1)
        return self.dropout(self.out(functional.silu(gate) * value))


class GatedBlock(nn.Module):
    """x + σ(G₁x) ∘ attention(norm x), then x + σ(G₂x) ∘ SwiGLU(norm x)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size)
        self.attention = CausalSelfAttention(config)
        self.attention_gate = nn.Linear(config.hidden_size, config.hidden_size)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size)
        self.feed_forward = SwiGLU(config)
        self.feed_forward_gate = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Output of the block; B × T × D."""
        added = self.attention(self.attention_norm(x_BTD))
        x_BTD = x_BTD + self.attention_gate(x_BTD).sigmoid() * added
        added = self.feed_forward(self.feed_forward_norm(x_BTD))
        return x_BTD + self.feed_forward_gate(x_BTD).sigmoid() * added
