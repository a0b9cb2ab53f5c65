"""Whether an experiment may be read at all."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import stats

from pipeline.inference.family import Floats
from pipeline.schemas import Kpi

BLOCKED_BELOW = 5e-4
"""P-value of the sample-ratio test below which nothing is estimated (Fabijan et al., KDD 2019)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Whether as many users came to each group as the plan says.

    Attributes:
        users: Of each group.
        expected: By the plan's shares.
        p_value: Of Pearson's χ² test.
    """

    users: tuple[int, ...]
    expected: tuple[float, ...]
    p_value: float

    @property
    def healthy(self) -> bool:
        """Whether the test lets the experiment be read."""
        return self.p_value >= BLOCKED_BELOW


def sample_ratio_of(group_kpis: pl.DataFrame, shares: Mapping[str, float]) -> SampleRatio:
    """Test the users who had an exposure, by group, against the plan's shares."""
    users = dict(group_kpis.filter(kpi=Kpi.CTR.value).select("group", "users").iter_rows())
    return sample_ratio(
        np.array([users[name] for name in shares], dtype=np.float64),
        np.array(list(shares.values())),
    )


def sample_ratio(users: Floats, shares: Floats) -> SampleRatio:
    """Test the users of the groups (never their exposures) against the plan's shares.

    A mismatch says that users were lost, or counted twice, by group: then groups differ for reasons
    no regression can mend. Without any user, the p-value is 0.
    """
    expected = users.sum() * shares / shares.sum()
    p_value = float(stats.chisquare(users, expected).pvalue) if users.sum() else 0.0
    return SampleRatio(
        users=tuple(int(count) for count in users),
        expected=tuple(float(count) for count in expected),
        p_value=p_value,
    )
