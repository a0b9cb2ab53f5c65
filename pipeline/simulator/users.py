"""The users of a simulated experiment, and what stays with them from visit to visit."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pipeline.core.contracts import DAY_MS
from pipeline.simulator.click_model import Floats, Ints, carry_over_effect
from pipeline.study import SimulatorConfig
from pipeline.synthetic.users import FAVOURITES, ShopUsers


@dataclass(frozen=True, slots=True)
class UserState:
    """Users, as arrays over user numbers 0 … U-1; some of the arrays change as users visit.

    Attributes:
        shoppers: Tastes and readiness. The favourites change as users learn and drift.
        preference: What each user is served under, U × objectives.
        rules: How users learn and drift, and which faults are planted.
        shown: Lists each user has been shown so far.
        last_ts: When each user came last, milliseconds UTC.
    """

    shoppers: ShopUsers
    preference: Floats
    rules: SimulatorConfig
    shown: Ints
    last_ts: Ints

    @classmethod
    def of(
        cls, shoppers: ShopUsers, preference: Floats, rules: SimulatorConfig, *, opening_ts: int
    ) -> Self:
        """Users to whom nothing has happened yet; ``shoppers`` stay as they are."""
        return cls(
            shoppers=replace(shoppers, favourites=shoppers.favourites.copy()),
            preference=preference,
            rules=rules,
            shown=np.zeros(shoppers.size, dtype=np.int64),
            last_ts=np.full(shoppers.size, opening_ts),
        )

    @property
    def remember(self) -> bool:
        """Whether a visit depends on earlier ones, so that they must happen in order."""
        rules = self.rules
        return bool(rules.learning or rules.drift or rules.faults.carry_over)

    def pull(self, user: Ints, day: Ints) -> Floats:
        """What carry-over and novelty add to the log odds of a click of each of ``user``."""
        strength = carry_over_effect(self.rules.faults, day=day, shown=self.shown[user])
        return strength * self.preference[user, 0]

    def arrive(self, user: Ints, ts: Ints, rng: np.random.Generator) -> None:
        """Let tastes drift over the days since the last visit; no user is in ``user`` twice."""
        if self.rules.drift:
            days = (ts - self.last_ts[user]) / DAY_MS
            stays = (1 - self.rules.drift) ** days
            changes = rng.random((len(user), FAVOURITES)) >= stays[:, None]
            fresh = rng.integers(0, self.shoppers.categories, changes.shape)
            favourites = self.shoppers.favourites
            favourites[user] = np.where(changes, fresh, favourites[user])
        self.last_ts[user] = ts

    def see(self, user: Ints) -> None:
        """Count a list for each of ``user``; of use only where visits happen in order."""
        self.shown[user] += 1

    def learn(self, user: Ints, category: Ints, rng: np.random.Generator) -> None:
        """Make what was clicked on a list the favourite of some; no user is in ``user`` twice."""
        if not self.rules.learning:
            return
        learns = rng.random(len(user)) < self.rules.learning
        user, category = user[learns], category[learns]
        before = self.shoppers.favourites[user]
        others_first = np.argsort(before == category[:, None], axis=1, kind="stable")
        kept = np.take_along_axis(before, others_first, axis=1)[:, : FAVOURITES - 1]
        self.shoppers.favourites[user] = np.column_stack([category, kept])
