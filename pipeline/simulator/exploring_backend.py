"""A simulated recommender backend that explores as the endpoint does, and keeps what it drew."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pipeline.experiment.design.exploration import Exploration
from pipeline.experiment.log.log_files import DRAW_COLUMNS, EXPLORED_COLUMNS
from pipeline.simulator.click_model import Flags, Ints
from pipeline.simulator.recommender_backend import NOTHING, InProcess

IMPRESSION_ID = "v{}-{}"
"""The id of a simulated impression, by the numbers of its session and step."""

_DRAWN = {"impression": pl.String, **EXPLORED_COLUMNS, **DRAW_COLUMNS}


@dataclass(frozen=True, slots=True)
class ExploringBackend:
    """The model in this process, with random lists for a share of the impressions.

    Attributes:
        backend: Serves the other impressions.
        exploration: Which impressions are explored, and how.
        drawn: One frame of draws per step of the simulation.
    """

    backend: InProcess
    exploration: Exploration
    drawn: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])

    def can_serve(self, seen: Ints) -> Flags:
        """As the backend."""
        return self.backend.can_serve(seen)

    def recommend(self, session: Ints, user: Ints, seen: Ints, *, ts: Ints) -> Ints:
        """The lists of the backend, or random ones of the same preferences."""
        lists = self.backend.recommend(session, user, seen, ts=ts)
        step = seen.shape[1] - 1
        names = [IMPRESSION_ID.format(one, step) for one in session.tolist()]
        rows = np.flatnonzero([self.exploration.explores(name) for name in names])
        model, k = self.backend, self.backend.k
        histories = [row[row >= 0] for row in model.to_model[seen[rows]]]
        found: list[dict[str, object]] = []
        for some, items_BC, scores_BC in model.recommender.candidates(
            histories, model.preference[user[rows]], n=self.exploration.pool(k)
        ):
            for row, items_C, scores_C in zip(rows[some], items_BC, scores_BC, strict=True):
                drawn = self.exploration.draw(names[row], scores_C, k)
                lists[row] = NOTHING
                lists[row, : len(drawn.indices)] = model.to_shop[items_C[drawn.indices]]
                logged = self.exploration.logged(drawn.propensities.tolist(), k)
                found.append({"impression": names[row], "explored": True, **logged})
        self.drawn.append(pl.DataFrame(found, schema=_DRAWN))
        return lists

    def record(self, session: Ints, item: Ints, units: Ints, *, ts: Ints) -> None:
        """As the backend."""
        self.backend.record(session, item, units, ts=ts)

    def added_to(self, impressions: pl.DataFrame) -> pl.DataFrame:
        """Impressions with the columns of their draws."""
        drawn = pl.concat(self.drawn)
        joined = impressions.join(drawn, on="impression", how="left", maintain_order="left")
        return joined.with_columns(pl.col("explored").fill_null(value=False))
