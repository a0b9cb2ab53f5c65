"""The sums that decisions of a rollout are made from, out of the monitor's database.

Arms are slices of the log by release and stage. A user of several stages is one user: the sums of products of
two stages need the users themselves, which a temporary table has, one row per arm, stage and user.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.core.contracts import HOUR_MS, Kpi
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.experiment.log.log_files import ArmName
from pipeline.inference.diagnostics.sample_ratio import sample_ratio_e_value
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.follower import NEWEST
from pipeline.monitoring.following.ledger import Period
from pipeline.monitoring.following.rows import Slice
from pipeline.monitoring.following.sums import DATABASE
from pipeline.rollout.fold import Rollout
from pipeline.rollout.sums import KpiSums, RolloutSums, UserSums, counted_until

_REQUESTS = {"errors": "errors", "late": "late", "fallback": "fallbacks"}
"""The total that counts each share of requests."""

_TABLE = """
CREATE TEMP TABLE IF NOT EXISTS arm_users (
    arm TEXT, stage INTEGER, user BLOB, m INTEGER, y INTEGER, PRIMARY KEY (arm, user, stage)
) WITHOUT ROWID
"""

_PRODUCTS = """
SELECT a.stage, b.stage, count(*), sum(1.0 * a.m * b.m), sum(1.0 * a.m * b.y), sum(1.0 * a.y * b.y),
    sum(1.0 * a.m), sum(1.0 * a.y)
FROM arm_users a JOIN arm_users b ON a.arm = b.arm AND a.user = b.user
WHERE a.arm = ? GROUP BY a.stage, b.stage
"""


def read_rollout_sums(folder: Path, rollout: Rollout) -> RolloutSums | None:
    """The sums of a release; None before the monitor has read a list.

    Args:
        folder: The monitor's folder.
        rollout: The release, with its stages, guardrails and signals.

    Raises:
        DataError: if the database is damaged.
    """
    if not (folder / DATABASE).exists():
        return None
    with _opened(folder / DATABASE) as database:
        newest = int(database.get(NEWEST, 0))
        return _Reader(database, rollout, newest).sums() if newest else None


@contextmanager
def _opened(file: Path) -> Iterator[Database]:
    database = Database.open(file)
    try:
        with database.errors():
            database.connection.execute(_TABLE)
        with database.snapshot():
            yield database
    finally:
        database.close()


class _Reader:
    """Reads the sums of one release in one state of the database."""

    def __init__(self, database: Database, rollout: Rollout, newest: int) -> None:
        self._connection = database.connection
        self._rollout = rollout
        self._newest = newest
        self._slices = self._slices_of(rollout)

    def sums(self) -> RolloutSums:
        config = self._rollout.plan.config
        everybody = self._kpi("users", "impressions", self._newest)
        kpis = {kpi.value: self._of_kpi(kpi) for kpi in (*config.guardrails, *config.signals)}
        kpis |= {
            name: self._kpi("impressions", _REQUESTS[name], self._newest)
            for name in config.requests
        }
        return RolloutSums(
            release=self._rollout.release,
            newest=_time(self._newest),
            users={
                ArmName.CANDIDATE: everybody.candidate.users,
                ArmName.INCUMBENT: everybody.incumbent.users,
            },
            kpis=kpis,
            sample_ratio=self._sample_ratio(everybody),
        )

    def _slices_of(self, rollout: Rollout) -> dict[tuple[ArmName, int], list[int]]:
        """The numbers of the slices of each arm and stage, which is its position in the plan."""
        found = defaultdict[tuple[ArmName, int], list[int]](list)
        for number, key in self._connection.execute("SELECT id, key FROM slices"):
            part = Slice.from_key(key)
            if part.release == rollout.release and part.arm and part.stage:
                stage = rollout.plan.index_of(part.stage)
                if stage is not None:
                    found[ArmName(part.arm), stage].append(number)
        return found

    def _of_kpi(self, kpi: Kpi) -> KpiSums:
        latest = counted_until(kpi, _time(self._newest), self._rollout.plan.attribution_hours)
        until = round(latest.timestamp() * 1000)
        # the database has users' totals by hour: whole hours are left out
        return self._kpi(
            *TERMS[kpi], until if until == self._newest else until // HOUR_MS * HOUR_MS
        )

    def _kpi(self, trials: str, successes: str, until: int) -> KpiSums:
        self._fill(trials, successes, until)
        arms = {arm: self._arm(arm) for arm in ArmName}
        return KpiSums(
            candidate=arms[ArmName.CANDIDATE],
            incumbent=arms[ArmName.INCUMBENT],
            until=_time(until),
        )

    def _fill(self, trials: str, successes: str, until: int) -> None:
        """One row per arm, stage and user with a trial; the names are those of this product's KPIs."""
        m, y = (
            "(sum(sign * impressions) > 0)" if name == "users" else f"sum(sign * {name})"
            for name in (trials, successes)
        )
        self._connection.execute("DELETE FROM arm_users")
        for (arm, stage), numbers in self._slices.items():
            known = f"slice IN ({', '.join('?' * len(numbers))})"
            self._connection.execute(
                f"INSERT INTO arm_users SELECT ?, ?, user, {m}, {y} FROM ("  # noqa: S608 - see above
                f"SELECT *, 1 AS sign FROM user_totals WHERE kind = ? AND number = 0 AND {known} "
                f"UNION ALL SELECT *, -1 FROM user_totals WHERE kind = ? AND number >= ? AND {known}"
                f") GROUP BY user HAVING {m} > 0",
                (
                    *(arm, stage, Period.ALL, *numbers),
                    *(Period.HOUR, self._first_left_out(until), *numbers),
                ),
            )

    def _first_left_out(self, until: int) -> int:
        """The first hour that is not counted."""
        return Period.HOUR.number(until) if until < self._newest else Period.HOUR.number(1 << 62)

    def _arm(self, arm: ArmName) -> UserSums:
        n = len(self._rollout.plan.stages)
        users_S, m_S, y_S = np.zeros((3, n))
        mm_SS, my_SS, yy_SS = np.zeros((3, n, n))
        for a, b, users, mm, my, yy, m, y in self._connection.execute(_PRODUCTS, (arm,)):
            mm_SS[a, b], my_SS[a, b], yy_SS[a, b] = mm, my, yy
            if a == b:
                users_S[a], m_S[a], y_S[a] = users, m, y
        found = self._connection.execute(
            "SELECT count(DISTINCT user) FROM arm_users WHERE arm = ?", (arm,)
        )
        return UserSums(
            users=found.fetchone()[0],
            users_S=users_S,
            m_S=m_S,
            y_S=y_S,
            mm_SS=mm_SS,
            my_SS=my_SS,
            yy_SS=yy_SS,
        )

    def _sample_ratio(self, everybody: KpiSums) -> float | None:
        """The e-value of the users in the current stage; None where one arm should have none."""
        stage = self._rollout.index
        if stage is None:
            return None
        share = self._rollout.plan.share_of(stage)
        if share == 1:
            return None
        users = (everybody.candidate.users_S[stage], everybody.incumbent.users_S[stage])
        return float(sample_ratio_e_value(np.array(users), np.array([share, 1 - share])))


def _time(ts: int) -> datetime:
    return datetime.fromtimestamp(ts / 1000, UTC)
