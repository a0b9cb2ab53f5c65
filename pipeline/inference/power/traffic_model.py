"""The traffic of an experiment, as expected per-user sufficient statistics.

Each of a user's m impressions succeeds with probability q, the outcomes of two of them have
correlation ρ, so the number e of successes has ``E e = q m`` and ``E e² = q(1-q)(m + ρ m(m-1)) +
q² m²``. A success may have an amount with mean μ and variance v: ``E y² = μ² E e² + v E e``.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import polars as pl

from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.contracts import Kpi
from pipeline.core.errors import DataError
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.inference.glm.group_regression import GroupSums, cluster_sum_squares
from pipeline.inference.hypotheses.inputs import family_of, group_sums
from pipeline.results.family import Floats
from pipeline.results.power import TrafficStatistics
from pipeline.study import PlanningConfig

_RATES = (Kpi.CTR, Kpi.CVR, Kpi.ORDERS_PER_IMPRESSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic(TrafficStatistics):
    """The users of an experiment, and the sums expected of them."""

    @property
    def statistics(self) -> TrafficStatistics:
        """The numbers alone, as ``power.json`` holds them."""
        return TrafficStatistics(**{f.name: getattr(self, f.name) for f in fields(self)})

    def part(self, share: float) -> "Traffic":
        """The traffic of a share of the users."""
        return replace(
            self,
            impressions_per_day=self.impressions_per_day * share,
            returning_users=self.returning_users * share,
            new_users_per_day=self.new_users_per_day * share,
        )

    def impressions(self, days: float) -> float:
        """Impressions in so many days."""
        return self.impressions_per_day * days

    def users(self, days: float) -> float:
        """Users with an impression in so many days; at most the number of impressions."""
        return min(self.returning_users + self.new_users_per_day * days, self.impressions(days))

    def chance(self, kpi: Kpi) -> float:
        """Probability of a click or order per impression, or (for ``cvr``) of an order per click."""
        if kpi is Kpi.CVR:
            return self.cvr
        return self.ctr if TERMS[kpi][1] == "clicks" else self.ctr * self.cvr

    def sums(
        self,
        kpi: Kpi,
        *,
        days: float,
        shares: Floats,
        chances: Floats,
        impressions: tuple[Floats, Floats] | None = None,
    ) -> GroupSums:
        """The expected sums of groups.

        Args:
            kpi: The KPI.
            days: Duration.
            shares: Of the users, one per group.
            chances: :meth:`chance` in each group.
            impressions: Mean and mean square over the users of each group; the expected by default.
        """
        trials, successes = TERMS[kpi]
        m1, m2 = impressions or self._impressions_of_a_user(days)
        if trials == "clicks":
            m1, m2 = self._events(m1, m2, self.ctr, Kpi.CTR)
        e1, e2 = self._events(m1, m2, chances, counted_kpi(kpi))
        mean, variance = self.amount(successes)
        users = self.users(days) * shares
        per_user = trials == "users"
        return GroupSums(
            family=family_of(kpi),
            trials=users * (1.0 if per_user else m1),
            successes=users * mean * e1,
            users=users,
            sum_mm=users * (1.0 if per_user else m2),
            sum_my=users * mean * (e1 if per_user else chances * m2),
            sum_yy=users * (mean**2 * e2 + variance * e1),
        )

    def _impressions_of_a_user(self, days: float) -> tuple[float, float]:
        """Mean and mean square of the impressions of users with an impression."""
        mean = self.impressions(days) / self.users(days)
        return mean, mean**2 * (1 + self.impressions_variation**2)

    def _events(self, m1: Any, m2: Any, chance: Any, kpi: Kpi) -> tuple[Any, Any]:
        """Mean and mean square of a user's successes, from those of the trials."""
        pairs = np.maximum(m2 - m1, 0)  # m (m - 1) is not negative
        spread = chance * (1 - chance) * (m1 + self.correlation[kpi] * pairs)
        return chance * m1, spread + chance**2 * m2

    def amount(self, successes: str) -> tuple[float, float]:
        """Mean and variance of the amount of a success; of revenue, in mean orders."""
        if successes == "units":
            return self.units_per_order, self.units_per_order - 1
        return 1.0, self.revenue_variation**2 if successes == "revenue" else 0.0


def counted_kpi(kpi: Kpi) -> Kpi:
    """The rate of the events whose number or amounts a KPI sums up."""
    if kpi is Kpi.CVR:
        return kpi
    return Kpi.CTR if TERMS[kpi][1] == "clicks" else Kpi.ORDERS_PER_IMPRESSION


def traffic_of(section: PlanningConfig, paths: StudyPaths) -> Traffic:
    """The traffic that the study declares, or that a past study measured.

    Raises:
        MissingArtifact: if that study has no experiment.
        DataError: if it has no clicks or no orders.
    """
    if section.past_study is None:
        return Traffic(
            ctr=section.ctr,
            cvr=section.cvr,
            units_per_order=section.units_per_order,
            revenue_variation=section.revenue_variation,
            impressions_per_day=section.impressions_per_day,
            returning_users=section.returning_users,
            new_users_per_day=section.new_users_per_day,
            impressions_variation=section.impressions_variation,
            correlation=dict.fromkeys(_RATES, section.user_correlation),
        )
    past = StudyPaths(root=paths.root, name=section.past_study)
    plan = read_plan(past)
    found = past_traffic(
        read_table(past.require("group_kpis", "group_kpis.parquet")),
        read_table(past.require("group_kpis", "daily_totals.parquet")),
    )
    return found.part(1 / (plan.traffic_share * (1 - plan.holdout)))


def past_traffic(group_kpis: pl.DataFrame, daily_totals: pl.DataFrame) -> Traffic:
    """The traffic of a past experiment.

    New users are counted in its second half, when most returning users have come once. One whose log
    has clicks alone has no rate of orders.

    Raises:
        DataError: if it has no clicks, or its log has orders but none was counted.
    """
    totals = group_kpis.group_by("kpi").agg(pl.col("trials", "successes", "users", "sum_mm").sum())
    of = {row["kpi"]: row for row in totals.iter_rows(named=True)}
    clicks, orders = of[Kpi.CTR], of.get(Kpi.CVR)
    if not clicks["successes"] or (orders and not orders["successes"]):
        msg = (
            f"the past experiment has {clicks['successes']} clicks and no orders; expected both to "
            "compute power. Set experiment.planning.past_study: null and specify the rates"
        )
        raise DataError(msg)
    days = (daily_totals["day"].max() - daily_totals["day"].min()).days + 1  # type: ignore[operator]
    came = daily_totals.group_by("day").agg(pl.col("new_users").sum()).sort("day")
    later = came.filter(pl.col("day") > came["day"].min() + pl.duration(days=days // 2 - 1))  # type: ignore[operator]
    new = float(later["new_users"].sum()) / max(days - days // 2, 1)
    impressions, users = float(clicks["trials"]), float(clicks["users"])
    pieces = of[Kpi.UNITS_PER_IMPRESSION]["successes"] / orders["successes"] if orders else 1.0
    return Traffic(
        ctr=clicks["successes"] / impressions,
        cvr=orders["successes"] / orders["trials"] if orders else 0.0,
        units_per_order=max(pieces, 1.0),
        revenue_variation=_revenue_variation(group_kpis) if orders else 1.0,
        impressions_per_day=impressions / days,
        returning_users=max(users - new * days, 0.0),
        new_users_per_day=new,
        impressions_variation=max(clicks["sum_mm"] * users / impressions**2 - 1, 0.0) ** 0.5,
        correlation={kpi: _correlation(group_kpis.filter(kpi=kpi.value)) for kpi in _RATES},
    )


def _correlation(cells: pl.DataFrame) -> float:
    """The correlation ρ that explains the variance of users within groups; in [0, 1]."""
    sums = group_sums(cells.filter(pl.col("trials") > 0), Kpi.CTR)
    rate = sums.successes / sums.trials
    chance = rate * (1 - rate)
    beyond = (cluster_sum_squares(rate, sums) - sums.trials * chance).sum()
    pairs = (chance * (sums.sum_mm - sums.trials)).sum()
    return float(np.clip(beyond / pairs, 0, 1)) if pairs > 0 else 0.0


def _revenue_variation(group_kpis: pl.DataFrame) -> float:
    """Variation of an order's revenue, from the users' orders and revenue; 1 without revenue."""
    names = (Kpi.ORDERS_PER_USER, Kpi.REVENUE_PER_USER)
    orders, revenue = (
        group_kpis.filter(kpi=name.value).select(pl.col("successes", "sum_yy").sum()).row(0)
        for name in names
    )
    if not revenue[0]:
        return 1.0
    mean = revenue[0] / orders[0]
    return max(revenue[1] / mean**2 - orders[1], 0.0) ** 0.5 / orders[0] ** 0.5
