"""The state of simulated users, which persists between sessions."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pipeline.core.contracts import DAY_MS
from pipeline.simulator.click_model import Floats, Ints, carry_over_effect
from pipeline.study import SimulatorConfig
from pipeline.synthetic.users import FAVOURITES, ShopUsers


@dataclass(frozen=True, slots=True)
class UserState:
    """Users 0 … U-1, as arrays; some arrays change during the simulation.

    Attributes:
        tastes: Tastes and readiness to buy. Favourites change by learning and drift.
        preference: Preference of each user, U × objectives.
        rules: Learning, drift and injected faults.
        shown: Number of lists shown to each user so far.
        last_ts: Time of each user's last session, milliseconds UTC.
    """

    tastes: ShopUsers
    preference: Floats
    rules: SimulatorConfig
    shown: Ints
    last_ts: Ints

    @classmethod
    def of(
        cls, tastes: ShopUsers, preference: Floats, rules: SimulatorConfig, *, opening_ts: int
    ) -> Self:
        """Users at the start of the experiment; ``tastes`` is not modified."""
        return cls(
            tastes=replace(tastes, favourites=tastes.favourites.copy()),
            preference=preference,
            rules=rules,
            shown=np.zeros(tastes.size, dtype=np.int64),
            last_ts=np.full(tastes.size, opening_ts),
        )

    @property
    def has_memory(self) -> bool:
        """Whether a session depends on earlier ones of its user."""
        rules = self.rules
        return bool(rules.learning or rules.drift or rules.faults.carry_over)

    def click_effect(self, user: Ints, day: Ints) -> Floats:
        """Change of each user's click log odds by carry-over and novelty."""
        strength = carry_over_effect(self.rules.faults, day=day, shown=self.shown[user])
        return strength * self.preference[user, 0]

    def arrive(self, user: Ints, ts: Ints, rng: np.random.Generator) -> None:
        """Apply the drift of tastes since the last session; ``user`` has no duplicates."""
        if self.rules.drift:
            days = (ts - self.last_ts[user]) / DAY_MS
            stays = (1 - self.rules.drift) ** days
            changes = rng.random((len(user), FAVOURITES)) >= stays[:, None]
            fresh = rng.integers(0, self.tastes.categories, changes.shape)
            favourites = self.tastes.favourites
            favourites[user] = np.where(changes, fresh, favourites[user])
        self.last_ts[user] = ts

    def count_list(self, user: Ints) -> None:
        """Count a list shown to each user; ``user`` has no duplicates if :attr:`has_memory`."""
        self.shown[user] += 1

    def learn(self, user: Ints, category: Ints, rng: np.random.Generator) -> None:
        """Make the clicked category a favourite of some users; ``user`` has no duplicates."""
        if not self.rules.learning:
            return
        learns = rng.random(len(user)) < self.rules.learning
        user, category = user[learns], category[learns]
        before = self.tastes.favourites[user]
        others_first = np.argsort(before == category[:, None], axis=1, kind="stable")
        kept = np.take_along_axis(before, others_first, axis=1)[:, : FAVOURITES - 1]
        self.tastes.favourites[user] = np.column_stack([category, kept])
