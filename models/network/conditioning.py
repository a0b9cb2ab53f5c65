"""Conditioning of the network on a preference, at its input and after each layer.

Each conditioning is an affine map of the hidden states whose weights depend on π alone. For a fixed
π it folds into constant weights (:class:`FixedPreference`), one small set per test group.
"""

from typing import Protocol, assert_never

import torch
from torch import Tensor, nn

from models.network.configuration import Conditioning, ModelConfig

_INITIAL_SCALE = 0.1


class Condition(Protocol):
    """What a backbone calls after each of its layers: ``x_BTD = condition(layer, x_BTD)``."""

    def __call__(self, layer: int, x_BTD: Tensor, /) -> Tensor:
        """Condition the output of a layer, numbered from 0, on the preference."""
        ...


class FixedPreference(nn.Module):
    """The conditioning for one preference: ``x ↦ W x + b`` at the input and after each layer.

    A diagonal W is stored as its diagonal, the identity as None.
    """

    def __init__(self, maps: list[tuple[Tensor | None, Tensor | None]]) -> None:
        """Store weight and bias of the input map, then of every layer's."""
        super().__init__()
        for number, (weight, bias) in enumerate(maps):
            self.register_buffer(f"weight_{number}", weight)
            self.register_buffer(f"bias_{number}", bias)

    def condition_input(self, x_BTD: Tensor, _preference_BO: Tensor) -> Tensor:
        """Map the input; the preference argument is ignored."""
        return self._map(0, x_BTD)

    def condition_layer(self, layer: int, x_BTD: Tensor, _preference_BO: Tensor) -> Tensor:
        """Map the output of a layer; the preference argument is ignored."""
        return self._map(layer + 1, x_BTD)

    def _map(self, number: int, x_BTD: Tensor) -> Tensor:
        weight: Tensor | None = getattr(self, f"weight_{number}")
        bias: Tensor | None = getattr(self, f"bias_{number}")
        if weight is not None:
            x_BTD = x_BTD * weight if weight.dim() == 1 else x_BTD @ weight.T
        return x_BTD if bias is None else x_BTD + bias


class Concatenation(nn.Module):
    """The paper's: the preference is concatenated to every position, then a linear layer (section 4.1).

    A linear layer of concatenated vectors is the sum of a linear layer of each.
    """

    def __init__(self, config: ModelConfig, n_objectives: int) -> None:
        super().__init__()
        self.layers = config.layers
        self.from_item = nn.Linear(config.hidden_size, config.hidden_size)
        self.from_preference = nn.Linear(n_objectives, config.hidden_size, bias=False)
        # Initialised as parts of one layer: alone, so few inputs would outweigh the items'.
        bound = (config.hidden_size + n_objectives) ** -0.5
        for weight in (self.from_item.weight, self.from_preference.weight):
            nn.init.uniform_(weight, -bound, bound)

    def condition_input(self, x_BTD: Tensor, preference_BO: Tensor) -> Tensor:
        """Combine item embeddings and preference."""
        return self.from_item(x_BTD) + self.from_preference(preference_BO)[:, None, :]

    def condition_layer(self, _layer: int, x_BTD: Tensor, _preference_BO: Tensor) -> Tensor:
        """The identity."""
        return x_BTD

    def fold(self, preference_O: Tensor) -> FixedPreference:
        """The maps for one preference."""
        bias = self.from_item.bias + self.from_preference(preference_O)
        return FixedPreference([(self.from_item.weight, bias), *[(None, None)] * self.layers])


class FiLM(nn.Module):
    """Feature-wise linear modulation: x ↦ (1 + γ(π)) ∘ x + β(π), with γ and β linear in π.

    Source: Perez et al., "FiLM: visual reasoning with a general conditioning layer", AAAI 2018.
    """

    def __init__(self, config: ModelConfig, n_objectives: int) -> None:
        super().__init__()
        modulations = [
            nn.Linear(n_objectives, 2 * config.hidden_size) for _ in range(config.layers + 1)
        ]
        for modulation in modulations:
            nn.init.normal_(modulation.weight, std=_INITIAL_SCALE)
            nn.init.zeros_(modulation.bias)
        self.modulations = nn.ModuleList(modulations)

    def condition_input(self, x_BTD: Tensor, preference_BO: Tensor) -> Tensor:
        """Modulate the item embeddings."""
        return self.condition_layer(-1, x_BTD, preference_BO)

    def condition_layer(self, layer: int, x_BTD: Tensor, preference_BO: Tensor) -> Tensor:
        """Modulate the output of a layer."""
        scale_BD, shift_BD = self.modulations[layer + 1](preference_BO).chunk(2, dim=-1)
        return (1 + scale_BD)[:, None, :] * x_BTD + shift_BD[:, None, :]

    def fold(self, preference_O: Tensor) -> FixedPreference:
        """The maps for one preference."""
        pairs = [modulation(preference_O).chunk(2) for modulation in self.modulations]
        return FixedPreference([(1 + scale_D, shift_D) for scale_D, shift_D in pairs])


class LowRankMixture(nn.Module):
    """One adapter per objective, mixed by the preference: x ↦ x + Σ_k π_k B_k A_k x.

    Source: Dimitriadis et al., "Pareto low-rank adapters", ICLR 2025, with A_k (rank × D) and B_k
    (D × rank); at the input the mixture also has a bias Σ_k π_k b_k.
    """

    def __init__(self, config: ModelConfig, n_objectives: int) -> None:
        super().__init__()
        shape = (config.layers + 1, n_objectives, config.rank, config.hidden_size)
        self.down_LORD = nn.Parameter(torch.randn(shape) / config.hidden_size**0.5)
        self.up_LORD = nn.Parameter(torch.randn(shape) * _INITIAL_SCALE)
        self.bias_OD = nn.Parameter(torch.zeros(n_objectives, config.hidden_size))

    def condition_input(self, x_BTD: Tensor, preference_BO: Tensor) -> Tensor:
        """Adapt the item embeddings."""
        return (
            self.condition_layer(-1, x_BTD, preference_BO)
            + (preference_BO @ self.bias_OD)[:, None, :]
        )

    def condition_layer(self, layer: int, x_BTD: Tensor, preference_BO: Tensor) -> Tensor:
        """Adapt the output of a layer."""
        down_ORD, up_ORD = self.down_LORD[layer + 1], self.up_LORD[layer + 1]
        inner_BTX = x_BTD @ down_ORD.flatten(0, 1).T
        weight_BX = preference_BO.repeat_interleave(down_ORD.shape[1], dim=1)
        return x_BTD + (inner_BTX * weight_BX[:, None, :]) @ up_ORD.flatten(0, 1)

    def fold(self, preference_O: Tensor) -> FixedPreference:
        """The maps for one preference."""
        sums_LDD = torch.einsum("o,lord,lore->led", preference_O, self.down_LORD, self.up_LORD)
        weights_LDD = sums_LDD + torch.eye(sums_LDD.shape[1], device=sums_LDD.device)
        bias_D = preference_O @ self.bias_OD
        return FixedPreference(
            [(weights_LDD[0], bias_D), *((weight, None) for weight in weights_LDD[1:])]
        )


PreferenceConditioning = Concatenation | FiLM | LowRankMixture


def build_conditioning(config: ModelConfig, n_objectives: int) -> PreferenceConditioning:
    """Build the conditioning named by the configuration."""
    match config.conditioning:
        case Conditioning.CONCATENATION:
            return Concatenation(config, n_objectives)
        case Conditioning.FILM:
            return FiLM(config, n_objectives)
        case Conditioning.LOW_RANK_MIXTURE:
            return LowRankMixture(config, n_objectives)
        case _:
            assert_never(config.conditioning)
