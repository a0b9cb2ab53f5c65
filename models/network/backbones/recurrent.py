"""The recurrent backbone, of gated recurrent units.

Source: Hidasi et al., "Session-based recommendations with recurrent neural networks" (GRU4Rec),
ICLR 2016.
"""

from torch import Tensor, nn

from models.network.conditioning import Condition
from models.network.configuration import ModelConfig


class GRU4Rec(nn.Module):
    """A stack of gated recurrent units."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.cells = nn.ModuleList(
            nn.GRU(config.hidden_size, config.hidden_size, batch_first=True)
            for _ in range(config.layers)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTD: Tensor, condition: Condition) -> Tensor:
        """Hidden states; B × T × D."""
        for layer, cell in enumerate(self.cells):
            x_BTD = condition(layer, self.dropout(cell(x_BTD)[0]))
        return x_BTD
