"""The block of the paper's backbone, a pre-norm session transformer.

Source: Wilm et al., "Scaling session-based transformer recommendations using optimized negative
sampling and loss functions" (TRON), RecSys 2023.
"""

from torch import Tensor, nn

from models.network.backbones.attention import CausalSelfAttention
from models.network.configuration import Activation, ModelConfig


class Block(nn.Module):
    """Causal self-attention, then a feed-forward network, each with a residual connection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size)
        self.attention = CausalSelfAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.hidden_size)
        self.feed_forward = nn.Sequential(
            nn.Linear(config.hidden_size, config.feedforward_multiplier * config.hidden_size),
            nn.GELU() if config.activation is Activation.GELU else nn.ReLU(),
            nn.Linear(config.feedforward_multiplier * config.hidden_size, config.hidden_size),
            nn.Dropout(config.dropout),
        )

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Output of the block; B × T × D."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD))
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))
