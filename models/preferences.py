"""Preference vectors π: points of the simplex that weigh the objectives."""

import torch
from torch import Tensor

from models.errors import ModelError

_TOLERANCE = 1e-6


def sample_preferences(
    n: int, concentration: tuple[float, ...], *, generator: torch.Generator
) -> Tensor:
    """Draw ``n`` preferences from Dir(β), one a row; n × O (Eq. 1 of the paper)."""
    beta_O = torch.tensor(concentration, dtype=torch.float64)
    # torch.distributions knows no generator; this is what it calls.
    gamma_BO = torch._standard_gamma(  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        beta_O.expand(n, -1), generator=generator
    )
    gamma_BO = gamma_BO.clamp_min(torch.finfo(torch.float64).tiny)
    return (gamma_BO / gamma_BO.sum(dim=1, keepdim=True)).float()


def preference_grid(points: int) -> Tensor:
    """``points`` preferences over two objectives, from all weight on the second to all on the first.

    Row i is (i / (points - 1), 1 - i / (points - 1)).
    """
    first = torch.arange(points, dtype=torch.float64) / (points - 1)
    return torch.stack([first, 1 - first], dim=1).float()


def check_preference(preference: Tensor, n_objectives: int) -> None:
    """Raise :class:`ModelError` unless every row is a point of the simplex."""
    if preference.shape[-1] != n_objectives:
        msg = (
            f"a preference has {preference.shape[-1]} weights, the model {n_objectives} objectives"
        )
        raise ModelError(msg)
    sums = preference.sum(dim=-1)
    on_simplex = (preference >= 0).all() & ((sums - 1).abs() <= _TOLERANCE * 10).all()
    if not bool(on_simplex):
        msg = f"preference {preference.tolist()} is not a point of the simplex (weights ≥ 0, sum 1)"
        raise ModelError(msg)
