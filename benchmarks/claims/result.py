"""A claim, and the numbers that were measured of it."""

from dataclasses import dataclass

import numpy as np

from pipeline.results.family import Floats

LEVEL, ALPHA = 0.95, 0.05
GROUPS, TAUS, RELIABILITIES = (5, 10), (0.0, 0.016, 0.03, 0.05, 0.1), (1.0, 0.95, 0.7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured number with its standard error, and the range it should be in."""

    setting: str
    value: float
    error: float
    low: float = -np.inf
    high: float = np.inf

    @property
    def misses_by(self) -> float:
        """Standard errors outside the range; 0 inside."""
        outside = max(self.low - self.value, self.value - self.high, 0.0)
        return outside / self.error if outside else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim with its rows; ``limit`` says what cannot be reached, and why."""

    title: str
    rows: tuple[Row, ...]
    limit: str = ""


def share_row(setting: str, hits: Floats, **bounds: float) -> Row:
    """The share of hits; its standard error is that of at least one hit and one miss."""
    n, p = len(hits), float(np.mean(hits))
    smoothed = (p * n + 1) / (n + 2)
    error = float(np.sqrt(smoothed * (1 - smoothed) / n))
    return Row(setting=setting, value=p, error=error, **bounds)


def tails(*, heavy: bool) -> str:
    """The users' activity in words."""
    return "heavy-tailed users" if heavy else "light-tailed users"
