"""Recommender backends of the simulation: the model in this process, or an endpoint."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from pipeline.core.errors import DataError
from pipeline.recommender.recommender import Recommender
from pipeline.simulator.click_model import Flags, Floats, Ints
from pipeline.synthetic.generate_log import item_id

NOTHING = -1
"""Padding after the clicks of a session, and after the items of a short list."""


class RecommenderBackend(Protocol):
    """Recommends lists and receives their outcomes. Items are numbers in the shop's catalogue."""

    def can_serve(self, seen: Ints) -> Flags:
        """Whether each session can be served, given its clicks so far (S × T)."""
        ...

    def recommend(self, session: Ints, user: Ints, seen: Ints, *, ts: Ints) -> Ints:
        """A ranked list for each session, S × K, padded with :data:`NOTHING`."""
        ...

    def record(self, session: Ints, item: Ints, units: Ints, *, ts: Ints) -> None:
        """Record the clicked items and ordered units of sessions with a click on their last list.

        ``units`` are 0 without an order; ``ts`` are the times of the lists, milliseconds UTC.
        """
        ...


@dataclass(frozen=True, slots=True)
class InProcess:
    """The model in this process; it writes no log.

    Attributes:
        recommender: The served model.
        preference: Preference of each user, U × objectives.
        level: Level of the second axis of each user; None without such an axis.
        k: Length of the lists.
        to_model: The model's index of each shop item; :data:`NOTHING` for unknown items and for
            :data:`NOTHING` itself.
        to_shop: The shop's number of each item of the model; :data:`NOTHING` for
            :data:`NOTHING` itself.
    """

    recommender: Recommender
    preference: Floats
    level: Floats | None
    k: int
    to_model: Ints
    to_shop: Ints

    @classmethod
    def of(
        cls,
        recommender: Recommender,
        preference: Floats,
        *,
        k: int,
        shop_items: int,
        level: Floats | None = None,
    ) -> Self:
        """A backend for a shop with ``shop_items`` items.

        Raises:
            DataError: if the model has items that are not in the shop.
        """
        ids = [str(name) for name in item_id(np.arange(shop_items))]
        number = {name: item for item, name in enumerate(ids)}
        unknown = [item for item in recommender.items if item not in number]
        if unknown:
            msg = (
                f"the model has {len(unknown)} items that are not in the synthetic shop of "
                f"params.yaml, for example {unknown[:3]}; for sessions of another shop set "
                "experiment.source: held-out-replay"
            )
            raise DataError(msg)
        to_model = [recommender.index.get(name, NOTHING) for name in ids]
        return cls(
            recommender=recommender,
            preference=preference,
            level=level,
            k=k,
            to_model=np.array([*to_model, NOTHING]),
            to_shop=np.array([*(number[item] for item in recommender.items), NOTHING]),
        )

    def can_serve(self, seen: Ints) -> Flags:
        """Sessions with at least one item known to the model."""
        return np.any(self.to_model[seen] >= 0, axis=1).astype(np.bool_)

    def recommend(self, session: Ints, user: Ints, seen: Ints, *, ts: Ints) -> Ints:  # noqa: ARG002 - of the protocol
        """The lists of each user's preference and level."""
        histories = [row[row >= 0] for row in self.to_model[seen]]
        levels = None if self.level is None else self.level[user]
        return self.to_shop[
            self.recommender.recommend(histories, self.preference[user], k=self.k, levels=levels)
        ]

    def record(self, session: Ints, item: Ints, units: Ints, *, ts: Ints) -> None:
        """Do nothing; outcomes are in the simulated log."""
