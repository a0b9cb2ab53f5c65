"""Negative sampling: the items a batch's targets are compared with."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.errors import ModelError
from models.objectives.configuration import Negatives


@dataclass(frozen=True, slots=True)
class Candidates:
    """Distinct items that all targets of a batch are compared with, in ascending order.

    Attributes:
        items_N: Their indices.
        log_weight_N: Added to the score of each before exponentiation: the logarithm of the number
            of its draws, minus, with the logQ correction, that of its expected number of draws.
    """

    items_N: Tensor
    log_weight_N: Tensor

    def to(self, device: torch.device) -> "Candidates":
        """The candidates on another device."""
        return Candidates(self.items_N.to(device), self.log_weight_N.to(device))


class CandidateSampler:
    """Draws the candidates of a batch.

    Uniform negatives are drawn with replacement and shared by the batch; in-batch negatives are
    the batch's targets, drawn in proportion to popularity (Hidasi et al., GRU4Rec). Draws of the
    same item are merged, which needs one product with its embedding for the same sum.

    With the logQ correction (Bengio & Senécal 2008; Yi et al., RecSys 2019) each draw of item i
    counts 1 / E[draws of i]: the sampled softmax then estimates the softmax over the catalogue.
    """

    def __init__(self, config: Negatives, *, n_items: int, popularity_I: Tensor) -> None:
        """``popularity_I`` is the number of train clicks of each item."""
        if config.uniform > n_items or (config.top or 0) > n_items:
            name = "top" if config.uniform <= n_items else "uniform"
            msg = (
                f"training.negatives.{name} = {getattr(config, name)} exceeds the catalogue of "
                f"{n_items} items; lower it"
            )
            raise ModelError(msg)
        self.config = config
        self.n_items = n_items
        share_I = popularity_I.double().clamp_min(1)
        self.log_share_I = (share_I / share_I.sum()).log()
        self._catalogue = Candidates(torch.arange(n_items), torch.zeros(n_items))

    def draw(self, targets_P: Tensor, generator: torch.Generator) -> Candidates:
        """Candidates for a batch with these targets."""
        if self.config.all:
            return self._catalogue
        drawn = torch.randint(self.n_items, (self.config.uniform,), generator=generator)
        if self.config.in_batch:
            drawn = torch.cat([drawn, targets_P])
        items_N, times_N = torch.unique(drawn, return_counts=True)
        log_weight_N = times_N.double().log()
        if self.config.log_q:
            log_weight_N -= self._log_expected(items_N, len(targets_P))
        return Candidates(items_N, log_weight_N.float())

    def _log_expected(self, items_N: Tensor, n_targets: int) -> Tensor:
        """Logarithm of the expected number of draws of each item."""
        uniform = math.log(self.config.uniform / self.n_items) if self.config.uniform else -math.inf
        expected_N = torch.full(items_N.shape, uniform, dtype=torch.float64)
        if self.config.in_batch:
            expected_N = torch.logaddexp(
                expected_N, math.log(n_targets) + self.log_share_I[items_N]
            )
        return expected_N
