"""What decisions are made from: per-user sums of both arms by stage. The monitor computes them from the log.

Suffixes of names are shapes: S stages of the plan, U users of an arm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.core.contracts import Kpi
from pipeline.experiment.log.log_files import ArmName

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UserSums:
    """Per-user sufficient statistics of one KPI of one arm.

    In stage s, user u has m_us trials and y_us successes (or their amount). One user may have trials in
    several stages, so there are products of two stages; the diagonals are the sums of one stage.

    Attributes:
        users: Users with a trial in any stage.
        users_S: Users with a trial in the stage.
        m_S: Σ m_us.
        y_S: Σ y_us.
        mm_SS: Σ m_us m_ut.
        my_SS: Σ m_us y_ut: row s is the stage of the trials.
        yy_SS: Σ y_us y_ut.
    """

    users: int
    users_S: Floats
    m_S: Floats
    y_S: Floats
    mm_SS: Floats
    my_SS: Floats
    yy_SS: Floats

    @classmethod
    def of(cls, m_US: Floats, y_US: Floats) -> Self:
        """The sums of these users' trials and successes."""
        m_US, y_US = np.asarray(m_US, dtype=np.float64), np.asarray(y_US, dtype=np.float64)
        return cls(
            users=int((m_US > 0).any(axis=1).sum()),
            users_S=(m_US > 0).sum(axis=0).astype(np.float64),
            m_S=m_US.sum(axis=0),
            y_S=y_US.sum(axis=0),
            mm_SS=m_US.T @ m_US,
            my_SS=m_US.T @ y_US,
            yy_SS=y_US.T @ y_US,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiSums:
    """One KPI, or one share of requests, of both arms.

    Attributes:
        candidate: Of the candidate's users, without those who switched back.
        incumbent: Of the incumbent's, likewise.
        until: Impressions before this time are counted; see :func:`counted_until`.
    """

    candidate: UserSums
    incumbent: UserSums
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutSums:
    """Everything that a decision needs from the log.

    Attributes:
        release: The release.
        newest: Time of the newest row of the log.
        users: Users of each arm since the start of the first stage.
        kpis: By :class:`~pipeline.core.contracts.Kpi` and share of requests (of which trials are a user's
            requests, successes those answered by an error, and so on); a KPI that cannot be computed is missing.
        sample_ratio: e-value of the numbers of users in the current stage against its share; large values
            contradict it, at any time. None if it cannot be computed.
    """

    release: str
    newest: datetime
    users: Mapping[ArmName, int]
    kpis: Mapping[str, KpiSums]
    sample_ratio: float | None


def counted_until(name: str, newest: datetime, attribution_hours: float) -> datetime:
    """Which impressions a KPI counts: those of orders once their attribution window has passed."""
    waits = name in set(Kpi) and Kpi(name).needs_orders
    return newest - timedelta(hours=attribution_hours) if waits else newest
