"""Preferences π: points of the simplex that weigh the objectives."""

from itertools import product

import torch
from torch import Tensor

from models.errors import ModelError
from models.training.configuration import PreferenceSampling

_TOLERANCE = 1e-6


def sample_preferences(
    n: int, concentration: tuple[float, ...], *, generator: torch.Generator
) -> Tensor:
    """Draw ``n`` preferences from Dir(β), one per row; n × O (Eq. 1 of the paper)."""
    beta_O = torch.tensor(concentration, dtype=torch.float64)
    # torch.distributions accepts no generator; it calls this function.
    gamma_BO = torch._standard_gamma(  # noqa: SLF001 # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        beta_O.expand(n, -1), generator=generator
    )
    gamma_BO = gamma_BO.clamp_min(torch.finfo(torch.float64).tiny)
    return (gamma_BO / gamma_BO.sum(dim=1, keepdim=True)).float()


def draw_preferences(
    n_sessions: int,
    concentration: tuple[float, ...],
    sampling: PreferenceSampling,
    *,
    generator: torch.Generator,
) -> Tensor:
    """A preference for each session of a batch; B × O."""
    if sampling is PreferenceSampling.SESSION:
        return sample_preferences(n_sessions, concentration, generator=generator)
    return sample_preferences(1, concentration, generator=generator).repeat(n_sessions, 1)


def preference_grid(points: int, n_objectives: int = 2) -> Tensor:
    """Evenly spaced preferences, ``points`` along each edge of the simplex; G × O.

    All weights are multiples of 1 / (points - 1) (Das & Dennis 1998). The first objective's weight
    rises from row to row; of two objectives, row i is (i / (points - 1), 1 - i / (points - 1)).
    """
    steps = points - 1
    rows = [
        (*weights, steps - sum(weights))
        for weights in product(range(points), repeat=n_objectives - 1)
        if sum(weights) <= steps
    ]
    return (torch.tensor(rows, dtype=torch.float64) / steps).float()


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
