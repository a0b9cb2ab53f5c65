"""What both transformers share: causal self-attention, and the stack of blocks."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from models.network.conditioning import Condition
from models.network.configuration import ModelConfig


class CausalSelfAttention(nn.Module):
    """Multi-head attention of each position to the positions up to itself."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Attention output of each position; B × T × D."""
        batch, length, width = x_BTD.shape
        shape = (batch, length, 3, self.heads, width // self.heads)
        query, key, value = self.query_key_value(x_BTD).view(shape).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, dropout_p=self.dropout if self.training else 0.0
        )
        joined = mixed.transpose(1, 2).reshape(batch, length, width)
        return functional.dropout(self.out(joined), p=self.dropout, training=self.training)


class Transformer(nn.Module):
    """A stack of blocks."""

    def __init__(self, block: Callable[[ModelConfig], nn.Module], config: ModelConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block(config) for _ in range(config.layers))

    def forward(self, x_BTD: Tensor, condition: Condition) -> Tensor:
        """Hidden states; B × T × D."""
        for layer, block in enumerate(self.blocks):
            x_BTD = condition(layer, block(x_BTD))
        return x_BTD
