"""Logs drawn from known slopes, without a recommender, for tests of the inference.

The log odds of a click, and of an order after a click, are linear in the group's relative metric. Users
deviate from their group by random effects on both, and differ in activity. Random effects in the log
odds change the mean rate, so the intercepts are shifted such that every group's rate over all users is
exact (Gauss–Hermite quadrature). Days are drawn in sequence, so memory holds one day of impressions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from scipy.special import expit, logit

from pipeline.core.contracts import DAY_MS, IMPRESSIONS, Kpi
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.simulator.click_model import (
    UNITS_PER_ORDER,
    Floats,
    Ints,
    carry_over_effect,
    units_bought,
)
from pipeline.simulator.shop_experiment import (
    EXPERIMENT_TS,
    SimulationConfig,
    day_weights,
    user_ids,
)
from pipeline.synthetic.generate_log import arrival_times

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
_HALVINGS = 80

HOW = (
    "clicks and orders were drawn from known slopes; the KPIs are the exact expectations for the "
    "impressions of the log"
)

PROVENANCE = {
    "origin": "drawn",
    "how": (
        "There were neither users nor lists: clicks and orders were drawn from the slopes of "
        "simulator.direct, in groups assigned by a salted hash. The report shows how inference "
        "recovers a known truth."
    ),
}
"""Provenance of the log, for the report."""


def intercept_for_mean(rate: Floats, spread: float) -> Floats:
    """The intercept at which the mean rate over users is ``rate``.

    Solves ``E[expit(c + spread · Z)] = rate`` for c by bisection, with Z standard normal.
    """
    low = logit(rate) - 10 * spread * (1 + spread)
    high = logit(rate) + 10 * spread * (1 + spread)
    for _ in range(_HALVINGS if spread else 0):
        middle = (low + high) / 2
        above = mean_rate(middle, spread) > rate
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def mean_rate(line: Floats, spread: float) -> Floats:
    """``E[expit(line + spread · Z)]``, with Z standard normal."""
    return expit(line[..., None] + spread * _NODES) @ _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectSimulation:
    """A simulation with users 0 … U-1 and groups in the plan's order.

    Attributes:
        plan: The traffic plan.
        config: Days, spreads and faults.
        users: User ids.
        group: Group number of each user, -1 outside the experiment.
        activity: Expected impressions of each user.
        click_effect: Standard normal random effect of each user on clicks.
        order_effect: Random effect on orders, independent of it.
        shown: Lists shown to each user so far; updated as days are drawn.
        click_odds: Log odds of each group's CTR over all users.
        order_odds: Log odds of each group's CVR.
        sums: Impressions, expected clicks and expected orders of each group so far.
    """

    plan: TrafficPlan
    config: SimulationConfig
    users: pl.Series
    group: Ints
    activity: Floats
    click_effect: Floats
    order_effect: Floats
    shown: Ints
    click_odds: Floats
    order_odds: Floats
    sums: Floats

    @classmethod
    def of(
        cls, plan: TrafficPlan, config: SimulationConfig, *, x_ctr: Floats, x_cvr: Floats
    ) -> Self:
        """Set up a simulation.

        ``x_ctr`` and ``x_cvr`` are each group's relative change of the metrics that affect the CTR and
        the CVR.
        """
        rng = np.random.default_rng([config.seed, 6])
        direct, n_users = config.simulator.direct, config.experiment.users
        names = [group.name for group in plan.groups]
        users = user_ids(config)
        number = pl.DataFrame({"name": names, "number": range(len(names))})
        group = pl.DataFrame({"name": plan.groups_of(users)}).join(
            number, on="name", how="left", maintain_order="left"
        )
        deviation = rng.normal(0, direct.group_spread, (2, len(names)))
        shape = direct.activity_shape
        return cls(
            plan=plan,
            config=config,
            users=users,
            group=group["number"].fill_null(-1).to_numpy(),
            activity=rng.gamma(shape, direct.impressions_per_user / shape, n_users),
            click_effect=rng.standard_normal(n_users),
            order_effect=rng.standard_normal(n_users),
            shown=np.zeros(n_users, dtype=np.int64),
            click_odds=logit(direct.ctr) + direct.ctr_slope.slope * x_ctr + deviation[0],
            order_odds=logit(direct.cvr) + direct.cvr_slope.slope * x_cvr + deviation[1],
            sums=np.zeros((3, len(names))),
        )

    def days(self) -> Iterator[pl.DataFrame]:
        """The impressions of each day, in the log's contract; iterate once, in order."""
        rng = np.random.default_rng([self.config.seed, 7])
        weights = np.array(day_weights(self.config), dtype=np.float64)
        for day, share in enumerate(weights / weights.sum()):
            yield self._draw(day, share, rng)

    def truth(self) -> dict[str, Any]:
        """The expected KPIs of every group for the days drawn so far."""
        found = {
            group.name: {
                Kpi.CTR.value: _exact(clicks, impressions),
                Kpi.CVR.value: _exact(orders, clicks),
                Kpi.ORDERS_PER_IMPRESSION.value: _exact(orders, impressions),
                Kpi.UNITS_PER_IMPRESSION.value: _exact(orders * UNITS_PER_ORDER, impressions),
            }
            for group, (impressions, clicks, orders) in zip(
                self.plan.groups, self.sums.T.tolist(), strict=True
            )
        }
        return {"how": HOW, "users": len(self.users), "groups": found}

    def _draw(self, day: int, share: float, rng: np.random.Generator) -> pl.DataFrame:
        spread = self.config.simulator.direct.user_spread
        n = np.where(self.group >= 0, rng.poisson(self.activity * share), 0)
        rows = int(n.sum())
        # user and time of day in one number, which sorts both at once
        key = np.repeat(np.arange(len(n)) * DAY_MS, n) + arrival_times(rows, [1], rng)
        key.sort()
        user, ts = key // DAY_MS, key % DAY_MS + EXPERIMENT_TS + day * DAY_MS
        group = self.group[user]
        earlier = self.shown[user] + np.arange(rows) - np.repeat(np.cumsum(n) - n, n)
        rate_GN = self._click_rates(day, int(earlier.max(initial=0)))
        step = np.minimum(earlier, rate_GN.shape[1] - 1)
        click_odds = intercept_for_mean(rate_GN, spread)[group, step]
        clicked = rng.random(rows) < expit(click_odds + spread * self.click_effect[user])
        order_rate_G = expit(self.order_odds)
        order_odds = intercept_for_mean(order_rate_G, spread)[group]
        likely = rng.random(rows) < expit(order_odds + spread * self.order_effect[user])
        ordered = clicked & likely
        self.shown[:] += n
        clicks_G = np.bincount(group, rate_GN[group, step], len(order_rate_G))
        impressions_G = np.bincount(group, minlength=len(clicks_G))
        self.sums[:] += [impressions_G, clicks_G, clicks_G * order_rate_G]
        names = pl.Series([group.name for group in self.plan.groups])
        number = pl.format("d{}-{}", pl.lit(day), pl.int_range(rows))
        return pl.DataFrame(
            {
                "experiment": pl.repeat(self.plan.experiment, rows, eager=True),
                "impression": pl.select(number).to_series(),
                "user": self.users.gather(user),
                "group": names.gather(group),
                "ts": ts,
                "clicked": clicked,
                "ordered": ordered,
                "units": units_bought(ordered, rng).astype(np.int32),
            },
            schema=IMPRESSIONS.schema,
        )

    def _click_rates(self, day: int, most_shown: int) -> Floats:
        """Each group's CTR by the number of lists shown before; one column without carry-over."""
        faults = self.config.simulator.faults
        shown = np.arange(most_shown + 1 if faults.carry_over else 1)
        effect = carry_over_effect(faults, day=np.full(len(shown), day), shown=shown)
        weight = np.array([group.preference[0] for group in self.plan.groups])
        return expit(self.click_odds[:, None] + weight[:, None] * effect)


def _exact(successes: float, trials: float) -> dict[str, float | None]:
    if not trials:
        return {"value": None, "standard_error": None}
    return {"value": successes / trials, "standard_error": 0.0}
