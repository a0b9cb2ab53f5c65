"""Who shows lists to simulated users: the model in this process, or whoever else answers."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from pipeline.core.errors import DataError
from pipeline.recommender.recommender import Recommender
from pipeline.simulator.click_model import Flags, Floats, Ints
from pipeline.synthetic.generate_log import item_id

NOTHING = -1
"""Stands where there is no item: after the end of a visit's clicks, or of a short list."""


class RecommenderBackend(Protocol):
    """Shows lists and is told what came of them. Items are the shop's numbers."""

    def can_serve(self, seen: Ints) -> Flags:
        """Which visits can be shown a list, by their clicks so far (V × T)."""
        ...

    def recommend(self, visit: Ints, user: Ints, seen: Ints, *, ts: Ints) -> Ints:
        """A list for each visit, V × K, from the top; :data:`NOTHING` fills shorter ones."""
        ...

    def record(self, visit: Ints, item: Ints, units: Ints, *, ts: Ints) -> None:
        """The visits that clicked the list they were shown last, what they clicked and bought.

        Args:
            visit: Their numbers.
            item: What each clicked.
            units: What each ordered of it, 0 for none.
            ts: When the list was shown, milliseconds UTC.
        """
        ...


@dataclass(frozen=True, slots=True)
class InProcess:
    """The model in this process, which writes no log of its own.

    Attributes:
        recommender: The served model.
        preference: What each user is served under, U × objectives.
        k: Length of the lists.
        to_model: The model's index of each of the shop's items, :data:`NOTHING` for those it does
            not know and for :data:`NOTHING` itself.
        to_shop: The shop's number of each of the model's items.
    """

    recommender: Recommender
    preference: Floats
    k: int
    to_model: Ints
    to_shop: Ints

    @classmethod
    def of(cls, recommender: Recommender, preference: Floats, *, k: int, shop_items: int) -> Self:
        """The host of a shop with so many items.

        Raises:
            DataError: if the model knows items that the shop does not sell.
        """
        ids = [str(name) for name in item_id(np.arange(shop_items))]
        number = {name: item for item, name in enumerate(ids)}
        strangers = [item for item in recommender.items if item not in number]
        if strangers:
            msg = (
                f"the model knows {len(strangers)} items that the synthetic shop of params.yaml "
                f"does not sell, for example {strangers[:3]}; for other sessions than the shop's "
                "own use experiment.source: held-out-replay"
            )
            raise DataError(msg)
        to_model = [recommender.index.get(name, NOTHING) for name in ids]
        return cls(
            recommender=recommender,
            preference=preference,
            k=k,
            to_model=np.array([*to_model, NOTHING]),
            to_shop=np.array([number[item] for item in recommender.items]),
        )

    def can_serve(self, seen: Ints) -> Flags:
        """The model needs one item it knows."""
        return np.any(self.to_model[seen] >= 0, axis=1).astype(np.bool_)

    def recommend(self, visit: Ints, user: Ints, seen: Ints, *, ts: Ints) -> Ints:  # noqa: ARG002 - of the protocol
        """The model's best items under each user's preference."""
        sessions = [row[row >= 0] for row in self.to_model[seen]]
        return self.to_shop[self.recommender.recommend(sessions, self.preference[user], k=self.k)]

    def record(self, visit: Ints, item: Ints, units: Ints, *, ts: Ints) -> None:
        """Nothing: what happened stands in the simulated log."""
