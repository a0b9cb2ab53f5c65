"""Exploration: which requests are answered by a random list, and which list.

A salted hash of the impression's id decides both, so that every explored list can be drawn again from its
id and the scores of its candidates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple, Self

import numpy as np

from pipeline.experiment.design.assignment import N_BUCKETS, bucket_of
from pipeline.recommender.plackett_luce import Floats, Ints, draw_list, log_conditionals
from pipeline.study import ServingConfig


class ExploredList(NamedTuple):
    """A drawn list.

    Attributes:
        indices: The candidates by position.
        propensities: P(item | the items above it) of each position.
    """

    indices: Ints
    propensities: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """Plackett–Luce lists for a share of the impressions.

    Attributes:
        share: Of the impressions, in (0, 1].
        temperature: Of the draw, in units of the scores.
        candidates: Number of best items that lists are drawn from, unless a list is longer.
        salt: Salt of the hash.
    """

    share: float
    temperature: float
    candidates: int
    salt: str

    @classmethod
    def of(cls, section: ServingConfig, experiment_salt: str) -> Self | None:
        """The exploration of a study; None if it has none."""
        if section.exploration is None:
            return None
        return cls(
            share=section.exploration.share,
            temperature=section.exploration.temperature,
            candidates=section.candidates,
            salt=f"exploration {experiment_salt}",
        )

    def explores(self, impression: str) -> bool:
        """Whether an impression is answered by a random list."""
        return bucket_of(impression, self.salt) < round(self.share * N_BUCKETS)

    def pool(self, k: int) -> int:
        """Number of best items that a list of k is drawn from."""
        return max(self.candidates, k)

    def draw(self, impression: str, score_C: Floats, k: int) -> ExploredList:
        """The list of an explored impression: k of the candidates with these scores.

        The candidates are the best :meth:`pool` items, without those that filters remove.
        """
        seed = blake2b(f"{self.salt} {impression}".encode(), digest_size=16).digest()
        rng = np.random.default_rng(int.from_bytes(seed, "little"))
        z_C = score_C.astype(np.float64) / self.temperature
        indices = draw_list(z_C, k, rng)
        return ExploredList(indices, np.exp(log_conditionals(z_C[None], indices[None])[0]))

    def logged(self, propensities: Sequence[float], k: int) -> dict[str, Any]:
        """The columns that the log has of a drawn list of at most k items."""
        return {
            "propensity": math.prod(propensities),
            "position_propensities": list(propensities),
            "temperature": self.temperature,
            "candidates": self.pool(k),
        }
