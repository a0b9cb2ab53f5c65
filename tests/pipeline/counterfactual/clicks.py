"""A world in which a click is examination × attraction: five rankers of 60 items, users who differ."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from pipeline.counterfactual.experiment.examination import ShownLists
from pipeline.counterfactual.experiment.paired_lists import UNCLICKED, PairedLists

POSITIONS, ITEMS, GROUPS, VISITS = 10, 60, 5, 6
PREFERENCES = (-1.0, -0.5, 0.0, 0.5, 1.0)
THETA = (1.0 + np.arange(POSITIONS)) ** -0.6
BASE = np.random.default_rng(123).normal(size=ITEMS)
TASTE = np.random.default_rng(1).normal(size=ITEMS)
ATTRACTION = 1 / (1 + np.exp(2.2 - 0.8 * BASE))


@dataclass
class World:
    log: ShownLists
    click_NK: np.ndarray
    attraction_NI: np.ndarray

    def exact(self, lists_NK, rows=slice(None)):
        """Expected clicks of each of the rows under other lists."""
        return (THETA * np.take_along_axis(self.attraction_NI, lists_NK, 1))[rows].sum(axis=1)

    def first_click_NK(self):
        """The first click of each list, as where a click ends it."""
        return (self.click_NK > 0) & (self.click_NK.cumsum(axis=1) == 1)


def world(seed, *, users=1500, spread=0.9, preferences=PREFERENCES):
    """Requests of users under ``GROUPS`` rankers that differ by ``spread``."""
    rng = np.random.default_rng(seed)
    n = users * VISITS
    user_N = np.repeat(np.arange(users), VISITS)
    group_N = np.repeat(rng.integers(0, GROUPS, users), VISITS)
    context_NI = rng.normal(size=(n, ITEMS)) * 0.7
    curiosity_N = np.exp(np.repeat(rng.normal(0, 0.5, users), VISITS))
    scores = [BASE + spread * one * TASTE for one in preferences]
    lists_GNK = np.stack(
        [np.argsort(-(context_NI + score), axis=1)[:, :POSITIONS] for score in scores]
    )
    attraction_NI = np.minimum(ATTRACTION * np.exp(0.5 * context_NI) * curiosity_N[:, None], 0.9)
    shown_NK = lists_GNK[group_N, np.arange(n)]
    chance_NK = THETA * np.take_along_axis(attraction_NI, shown_NK, 1)
    share_G = np.bincount(group_N, minlength=GROUPS) / n
    log = ShownLists(lists_GNK=lists_GNK, group_N=group_N, user_N=user_N, share_G=share_G)
    click_NK = (rng.random((n, POSITIONS)) < chance_NK).astype(float)
    return World(log=log, click_NK=click_NK, attraction_NI=attraction_NI)


def pairs_of(shop, seed=0, *, click_share, order_share=0.2):
    """Paired lists of a world: a share of its clicks, at most one a list, of which some are ordered."""
    rng = np.random.default_rng([seed, 9])
    kept_NK = shop.click_NK * (rng.random(shop.click_NK.shape) < click_share)
    clicked_N = np.where(kept_NK.any(axis=1), kept_NK.argmax(axis=1), UNCLICKED)
    n = len(clicked_N)
    ordered_N = (clicked_N >= 0) & (rng.random(n) < order_share)
    ids = pl.Series([str(row) for row in range(n)])
    return PairedLists(
        log=shop.log,
        session_N=[np.zeros(2, dtype=np.int64)] * n,
        clicked_N=clicked_N,
        amounts={"ordered": ordered_N.astype(np.float64)},
        ts_N=np.zeros(n, dtype=np.int64),
        impressions=ids,
        users=ids,
        equal_share=1.0,
        fallbacks=0,
        unplaced_clicks=0,
    )
