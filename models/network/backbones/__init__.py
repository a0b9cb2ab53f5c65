"""Backbones, which encode a session: embedded clicks in, one hidden state per position out.

A backbone is a ``torch.nn.Module`` built from a :class:`~models.network.configuration.ModelConfig`.
Its ``forward`` takes the embedded session (B × T × D, padding after the real positions) and a
:class:`~models.network.conditioning.Condition`, and returns hidden states of the same shape. State
t may depend on positions up to t only. It calls ``x = condition(layer, x)`` after each of its
``config.layers`` layers; with the conditioning ``concatenation`` this is the identity and may be
omitted, because the preference is already in the embedded session.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import ModelError
from models.extensions import ExtensionPoint
from models.network.backbones.attention import Transformer
from models.network.backbones.gated import GatedBlock
from models.network.backbones.recurrent import GRU4Rec
from models.network.backbones.transformer import Block
from models.network.configuration import Conditioning, ModelConfig

BACKBONES: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "tron": partial(Transformer, Block),
    "ligr": partial(Transformer, GatedBlock),
    "gru4rec": GRU4Rec,
}


def build_backbone(config: ModelConfig) -> nn.Module:
    """Build the backbone named by ``config.backbone``; a custom one is tried on a small session.

    Raises:
        ModelError: if the name is unknown, or a custom backbone violates the contract above.
    """
    if config.backbone in BACKBONES:
        return BACKBONES[config.backbone](config)
    made = ExtensionPoint.BACKBONES.load(config.backbone, key="model.backbone", built_in=BACKBONES)
    try:
        backbone = made(config)
    except Exception as error:  # the class may raise anything
        msg = f"model.backbone = {config.backbone!r} cannot be built: {_describe(error)}"
        raise ModelError(msg) from error
    if not isinstance(backbone, nn.Module):
        msg = f"model.backbone = {config.backbone!r} is not a torch.nn.Module; derive its class from one"
        raise ModelError(msg)
    _try_out(backbone, config)
    return backbone


@torch.no_grad()
def _try_out(backbone: nn.Module, config: ModelConfig) -> None:
    """Check shape and causality, and that the backbone is conditioned on the preference."""
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
        msg = f"model.backbone = {config.backbone!r} fails on a session: {_describe(error)}"
        raise ModelError(msg) from error
    backbone.train(was_training)
    _check_states(hidden_BTD, x_BTD, config)
    _check_states(first_BTD, x_BTD[:, :1], config)
    if not torch.allclose(hidden_BTD[:, :1], first_BTD, atol=1e-4):
        msg = (
            f"model.backbone = {config.backbone!r} is not causal: the first state depends on later "
            "clicks, which it must predict; mask them"
        )
        raise ModelError(msg)
    if config.conditioning is not Conditioning.CONCATENATION and (
        sorted(set(seen)) != list(range(config.layers))
    ):
        msg = (
            f"model.backbone = {config.backbone!r} calls condition for layers {sorted(set(seen))}, "
            f"but model.conditioning = {config.conditioning} acts after each of model.layers = "
            f"{config.layers}; call x = condition(layer, x), or set conditioning: concatenation"
        )
        raise ModelError(msg)


def _check_states(hidden_BTD: Any, x_BTD: Tensor, config: ModelConfig) -> None:
    got = tuple(hidden_BTD.shape) if isinstance(hidden_BTD, Tensor) else type(hidden_BTD).__name__
    if got != tuple(x_BTD.shape):
        msg = (
            f"model.backbone = {config.backbone!r} returns {got} for sessions of shape "
            f"{tuple(x_BTD.shape)}; expected one state of model.hidden_size = {config.hidden_size} "
            "per position"
        )
        raise ModelError(msg)
    if not bool(torch.isfinite(hidden_BTD).all()):
        msg = (
            f"model.backbone = {config.backbone!r} returns states that are not finite, as a mask "
            "does that leaves a position without input"
        )
        raise ModelError(msg)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
