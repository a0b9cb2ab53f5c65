"""R(x, π): a session model conditioned on a preference (section 4.1 of the paper).

Clicked items are embedded and conditioned on the preference, a backbone encodes the session, and
items are scored by the product of their embeddings with the hidden state.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.network.backbones import build_backbone
from models.network.conditioning import FixedPreference, PreferenceConditioning, build_conditioning
from models.network.configuration import ModelConfig, Positions
from models.preferences import check_preference

_INITIAL_SCALE = 0.1


class ConditionedSessionModel(nn.Module):
    """One network for the whole Pareto front."""

    def __init__(
        self, config: ModelConfig, *, n_items: int, n_objectives: int, sparse_items: bool = False
    ) -> None:
        """With ``sparse_items``, the item table has sparse gradients, of the rows used in a step."""
        if n_items < 1:
            msg = f"a model needs at least one item, got {n_items}"
            raise ModelError(msg)
        super().__init__()
        self.config = config
        self.n_items = n_items
        self.n_objectives = n_objectives
        self.item_embedding = nn.Embedding(n_items, config.hidden_size, sparse=sparse_items)
        self.position_embedding = nn.Embedding(config.max_length, config.hidden_size)
        self.conditioning: PreferenceConditioning | FixedPreference = build_conditioning(
            config, n_objectives
        )
        self.input_dropout = nn.Dropout(config.dropout)
        self.backbone = build_backbone(config)
        self.norm = nn.LayerNorm(config.hidden_size)
        nn.init.normal_(self.item_embedding.weight, std=_INITIAL_SCALE)
        nn.init.normal_(self.position_embedding.weight, std=_INITIAL_SCALE)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.item_embedding.weight.device

    def forward(self, inputs_BT: Tensor, lengths_B: Tensor, preference_BO: Tensor) -> Tensor:
        """Hidden states for sessions, one preference per session; B × T × D.

        Args:
            inputs_BT: Clicked items; padding must follow the real positions, which it then cannot
                influence, by causality.
            lengths_B: Real positions of each session.
            preference_BO: Points of the simplex.
        """
        x_BTD = self.conditioning.condition_input(self.item_embedding(inputs_BT), preference_BO)
        x_BTD = x_BTD + self._positions(inputs_BT.shape[1], lengths_B)

        def condition(layer: int, x: Tensor) -> Tensor:
            return self.conditioning.condition_layer(layer, x, preference_BO)

        return self.norm(self.backbone(self.input_dropout(x_BTD), condition))

    def score_all(self, hidden_PD: Tensor) -> Tensor:
        """Scores of every item; P × I."""
        return hidden_PD @ self.item_embedding.weight.T

    def score_each(self, hidden_PD: Tensor, items_P: Tensor) -> Tensor:
        """Score of one item for each hidden state; P."""
        return (hidden_PD * self.item_embedding(items_P)).sum(dim=-1)

    @torch.no_grad()
    def folded(self, preference_O: Tensor) -> "ConditionedSessionModel":
        """The model for one fixed preference, with its conditioning as constant weights.

        It shares all other weights with this model, and ignores the preferences it is called with.
        """
        check_preference(preference_O, self.n_objectives)
        if isinstance(self.conditioning, FixedPreference):
            msg = "the model is already folded; fold the original one"
            raise ModelError(msg)
        folded = copy(self)
        folded._modules = {**self._modules, "conditioning": self.conditioning.fold(preference_O)}  # noqa: SLF001
        return folded

    def _positions(self, length: int, lengths_B: Tensor) -> Tensor:
        """Embeddings of the positions; T × D, or B × T × D where they count from the end."""
        place_T = torch.arange(length, device=lengths_B.device)
        if self.config.positions is Positions.START:
            return self.position_embedding(place_T)
        return self.position_embedding((lengths_B[:, None] - 1 - place_T).clamp_min(0))


def build_model(
    config: ModelConfig, *, n_items: int, n_objectives: int, seed: int, sparse_items: bool = False
) -> ConditionedSessionModel:
    """A newly initialised model, with the same weights for the same seed."""
    with forked_rng(seed):
        return ConditionedSessionModel(
            config, n_items=n_items, n_objectives=n_objectives, sparse_items=sparse_items
        )


@contextmanager
def forked_rng(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block only.

    For weight initialisation and dropout, which accept no generator argument.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251
        yield
