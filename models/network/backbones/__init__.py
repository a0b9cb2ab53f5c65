"""Backbones: what reads a session. Sessions and preference in, one hidden state a position out.

A backbone is a module made from a :class:`~models.network.configuration.ModelConfig`, whose ``forward``
takes the embedded session (B × T × D, padding behind the real positions) and a
:class:`~models.network.conditioning.Condition`, and gives hidden states of the same shape. State t may
depend on positions up to t only. It calls ``x = condition(layer, x)`` behind each of its
``config.layers`` layers; with the conditioning ``concatenation`` that does nothing and may be left
out, because the preference is then in the embedded session.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.extensions import ExtensionPoint
from models.network.backbones.gated import GatedTransformer
from models.network.backbones.recurrent import GRU4Rec
from models.network.backbones.transformer import SessionTransformer
from models.network.configuration import Conditioning, ModelConfig

BACKBONES: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "tron": SessionTransformer,
    "ligr": GatedTransformer,
    "gru4rec": GRU4Rec,
}


def build_backbone(config: ModelConfig) -> nn.Module:
    """The backbone ``config.backbone`` names, tried out on a small session.

    Raises:
        ModelError: if there is none, or a user's own breaks the contract above.
    """
    if config.backbone in BACKBONES:
        return BACKBONES[config.backbone](config)
    made = ExtensionPoint.BACKBONES.load(config.backbone, key="model.backbone", built_in=BACKBONES)
    try:
        backbone = made(config)
    except Exception as error:  # the class may raise anything
        msg = f"model.backbone = {config.backbone!r} cannot be made: {_words(error)}"
        raise ModelError(msg) from error
    if not isinstance(backbone, nn.Module):
        msg = f"model.backbone = {config.backbone!r} is no torch.nn.Module; derive it from one"
        raise ModelError(msg)
    _try_out(backbone, config)
    return backbone


@torch.no_grad()
def _try_out(backbone: nn.Module, config: ModelConfig) -> None:
    """Check the shape, that nothing reads ahead, and that the preference can get in."""
    x_BTD = torch.randn(2, min(4, config.max_length), config.hidden_size)
    seen: list[int] = []

    def condition(layer: int, x: Tensor) -> Tensor:
        seen.append(layer)
        return x

    was_training = backbone.training
    backbone.eval()
    try:
        hidden_BTD: Any = backbone(x_BTD, condition)
        first_BTD: Any = backbone(x_BTD[:, :1], lambda _, x: x)
    except Exception as error:  # the module may raise anything
        msg = f"model.backbone = {config.backbone!r} fails on a session: {_words(error)}"
        raise ModelError(msg) from error
    backbone.train(was_training)
    _check_states(hidden_BTD, x_BTD, config)
    _check_states(first_BTD, x_BTD[:, :1], config)
    if not torch.allclose(hidden_BTD[:, :1], first_BTD, atol=1e-4):
        msg = (
            f"model.backbone = {config.backbone!r} reads ahead: the first state changes with the "
            "clicks behind it, which are what it must predict; mask them"
        )
        raise ModelError(msg)
    if config.conditioning is not Conditioning.CONCATENATION and (
        sorted(set(seen)) != list(range(config.layers))
    ):
        msg = (
            f"model.backbone = {config.backbone!r} calls condition for layers {sorted(set(seen))}, "
            f"but model.conditioning = {config.conditioning} acts behind each of model.layers = "
            f"{config.layers}; call x = condition(layer, x), or take conditioning: concatenation"
        )
        raise ModelError(msg)


def _check_states(hidden_BTD: Any, x_BTD: Tensor, config: ModelConfig) -> None:
    got = tuple(hidden_BTD.shape) if isinstance(hidden_BTD, Tensor) else type(hidden_BTD).__name__
    if got != tuple(x_BTD.shape):
        msg = (
            f"model.backbone = {config.backbone!r} gives {got} for sessions of shape "
            f"{tuple(x_BTD.shape)}; it must give one state of model.hidden_size = {config.hidden_size} for "
            "every position"
        )
        raise ModelError(msg)
    if not bool(torch.isfinite(hidden_BTD).all()):
        msg = (
            f"model.backbone = {config.backbone!r} gives states that are not finite numbers, as "
            "a mask does that leaves a position nothing to read"
        )
        raise ModelError(msg)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
