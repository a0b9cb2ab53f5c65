"""A world without a recommender: a log drawn straight from chosen slopes, for testing inference.

The log odds of a click are a line in a group's relative metric, and so are those of an order after
a click; users lie around their group's line, each with a readiness to click and one to order of
their own, and with an activity of their own. A user's readiness is in the log odds, where a spread
moves the mean of the rates; the lines are shifted so that every group's rate, over all users, is
exactly the chosen one (Gauss–Hermite quadrature). Days are drawn one after another, users' arrays
stay, so that memory holds a day's impressions and no more.
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
    UNITS_AN_ORDER,
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
    "clicks and orders were drawn from the chosen slopes; the KPIs are those expected of the lists "
    "that were shown, without error"
)


def log_provenance() -> dict[str, Any]:
    """What a reader of the report must know about this log."""
    return {
        "origin": "drawn",
        "how": (
            "There were neither users nor lists: clicks and orders were drawn from the slopes that "
            "simulator.direct chooses, in groups assigned by a salted hash. The report shows what "
            "inference makes of a known truth."
        ),
    }


def intercept_for_mean(rate: Floats, spread: float) -> Floats:
    """The log odds around which users must lie for the mean of their rates to be ``rate``.

    Solves ``E[expit(c + spread · Z)] = rate`` for c by bisection, Z standard normal.

    Args:
        rate: Of any shape, each in (0, 1).
        spread: Standard deviation of users' log odds.
    """
    low = logit(rate) - 10 * spread * (1 + spread)
    high = logit(rate) + 10 * spread * (1 + spread)
    for _ in range(_HALVINGS if spread else 0):
        middle = (low + high) / 2
        above = mean_rate(middle, spread) > rate
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def mean_rate(line: Floats, spread: float) -> Floats:
    """``E[expit(line + spread · Z)]``, Z standard normal."""
    return expit(line[..., None] + spread * _NODES) @ _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectSimulation:
    """Users as arrays over user numbers 0 … U-1, groups as arrays in the plan's order.

    Attributes:
        plan: Who belongs to which group.
        setting: Days, spreads, faults.
        users: The users' names.
        group: Their groups' numbers, -1 for those outside the experiment.
        activity: Expected impressions of each user.
        click_readiness: Of each user, standard normal.
        order_readiness: Likewise, independent of it.
        shown: Lists each user has been shown; counts as days are drawn.
        click_odds: Log odds of the CTR of each group, over all users.
        order_odds: Of the CVR.
        sums: Impressions, expected clicks and expected orders of each group, as days are drawn.
    """

    plan: TrafficPlan
    setting: SimulationConfig
    users: pl.Series
    group: Ints
    activity: Floats
    click_readiness: Floats
    order_readiness: Floats
    shown: Ints
    click_odds: Floats
    order_odds: Floats
    sums: Floats

    @classmethod
    def open(
        cls, plan: TrafficPlan, setting: SimulationConfig, *, x_ctr: Floats, x_cvr: Floats
    ) -> Self:
        """The world of a study.

        Args:
            plan: The groups.
            setting: Of the simulated experiment.
            x_ctr: Relative change of the metric that the CTR depends on, of each group.
            x_cvr: Of the one that the CVR does.
        """
        rng = np.random.default_rng([setting.seed, 6])
        chosen, n_users = setting.simulator.direct, setting.experiment.users
        names = [group.name for group in plan.groups]
        users = user_ids(setting)
        number = pl.DataFrame({"name": names, "number": range(len(names))})
        group = pl.DataFrame({"name": plan.groups_of(users)}).join(
            number, on="name", how="left", maintain_order="left"
        )
        off_line = rng.normal(0, chosen.group_spread, (2, len(names)))
        shape = chosen.activity_shape
        return cls(
            plan=plan,
            setting=setting,
            users=users,
            group=group["number"].fill_null(-1).to_numpy(),
            activity=rng.gamma(shape, chosen.impressions_per_user / shape, n_users),
            click_readiness=rng.standard_normal(n_users),
            order_readiness=rng.standard_normal(n_users),
            shown=np.zeros(n_users, dtype=np.int64),
            click_odds=logit(chosen.ctr) + chosen.ctr_slope.slope * x_ctr + off_line[0],
            order_odds=logit(chosen.cvr) + chosen.cvr_slope.slope * x_cvr + off_line[1],
            sums=np.zeros((3, len(names))),
        )

    def days(self) -> Iterator[pl.DataFrame]:
        """The impressions of each day in the log's contract; to be gone through once, in order."""
        rng = np.random.default_rng([self.setting.seed, 7])
        weights = np.array(day_weights(self.setting), dtype=np.float64)
        for day, share in enumerate(weights / weights.sum()):
            yield self._draw(day, share, rng)

    def truth(self) -> dict[str, Any]:
        """The expected KPIs of every group, of the days that were drawn."""
        found = {
            group.name: {
                Kpi.CTR.value: _exact(clicks, impressions),
                Kpi.CVR.value: _exact(orders, clicks),
                Kpi.ORDERS_PER_IMPRESSION.value: _exact(orders, impressions),
                Kpi.UNITS_PER_IMPRESSION.value: _exact(orders * UNITS_AN_ORDER, impressions),
            }
            for group, (impressions, clicks, orders) in zip(
                self.plan.groups, self.sums.T.tolist(), strict=True
            )
        }
        return {"how": HOW, "users": len(self.users), "groups": found}

    def _draw(self, day: int, share: float, rng: np.random.Generator) -> pl.DataFrame:
        spread = self.setting.simulator.direct.user_spread
        n = np.where(self.group >= 0, rng.poisson(self.activity * share), 0)
        rows = int(n.sum())
        # user and time of day in one number, so that one sort puts both in order
        key = np.repeat(np.arange(len(n)) * DAY_MS, n) + arrival_times(rows, [1], rng)
        key.sort()
        user, ts = key // DAY_MS, key % DAY_MS + EXPERIMENT_TS + day * DAY_MS
        group = self.group[user]
        earlier = self.shown[user] + np.arange(rows) - np.repeat(np.cumsum(n) - n, n)
        rate_GN = self._click_rates(day, int(earlier.max(initial=0)))
        line_GN = intercept_for_mean(rate_GN, spread)
        step = np.minimum(earlier, rate_GN.shape[1] - 1)
        click_odds = line_GN[group, step] + spread * self.click_readiness[user]
        clicked = rng.random(rows) < expit(click_odds)
        order_rate_G = expit(self.order_odds)
        order_odds = (
            intercept_for_mean(order_rate_G, spread)[group] + spread * self.order_readiness[user]
        )
        ordered = clicked & (rng.random(rows) < expit(order_odds))
        self.shown[:] += n
        expected = np.bincount(group, rate_GN[group, step], len(order_rate_G))
        self.sums[:] += [
            np.bincount(group, minlength=len(expected)),
            expected,
            expected * order_rate_G,
        ]
        names = pl.Series([group.name for group in self.plan.groups])
        frame = pl.DataFrame(
            {
                "experiment": pl.repeat(self.plan.experiment, rows, eager=True),
                "impression": pl.select(
                    pl.format("d{}-{}", pl.lit(day), pl.int_range(rows))
                ).to_series(),
                "user": self.users.gather(user),
                "group": names.gather(group),
                "ts": ts,
                "clicked": clicked,
                "ordered": ordered,
                "units": units_bought(ordered, rng).astype(np.int32),
            }
        )
        return IMPRESSIONS.validate(frame)

    def _click_rates(self, day: int, most_shown: int) -> Floats:
        """Each group's CTR by how many lists a user was shown before; one column if all the same."""
        faults = self.setting.simulator.faults
        shown = np.arange(most_shown + 1 if faults.carry_over else 1)
        added = carry_over_effect(faults, day=np.full(len(shown), day), shown=shown)
        tilt = np.array([group.preference[0] for group in self.plan.groups])
        return expit(self.click_odds[:, None] + tilt[:, None] * added)


def _exact(successes: float, trials: float) -> dict[str, float | None]:
    if not trials:
        return {"value": None, "standard_error": None}
    return {"value": successes / trials, "standard_error": 0.0}
