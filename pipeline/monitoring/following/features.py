"""Histograms of what may drift, by model and day.

They have every user's first list of a day, so that the values are independent of each other.
The reference of a model is the first 24 hours that the monitor sees it. Its deciles are the bins; it is
fixed once it is over.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.contracts import DAY_MS
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.ledger import Period
from pipeline.monitoring.following.rows import Impression

FEATURES = ("session_length", "unknown_items", "top_score", "score_margin", "score_entropy")
"""What is watched: clicks of the session and the share of them that are not in the catalogue; the best
score, its margin over the second, and the entropy of the list's scores."""

SCORE = "top_score"
"""The feature whose bins have predicted clicks."""

_BINS = 10
_MOST_VALUES = 20_000
"""Values of a feature in a reference; more are not needed."""

_REFERENCE = -1
"""In place of the day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCounts:
    """A feature in the reference and on one day, by bin.

    Attributes:
        feature: Its name.
        model: The model's version.
        reference: Users per bin in the reference.
        current: Users per bin on the day.
    """

    feature: str
    model: str
    reference: NDArray[np.int64]
    current: NDArray[np.int64]


class FeatureStore:
    """The histograms in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, impressions: Iterable[Impression]) -> list[tuple[Impression, int]]:
        """Add the first lists of users, within a transaction; returns those with a bin of the best score."""
        scored: list[tuple[Impression, int]] = []
        references: dict[str, dict[str, Any]] = self._database.get("references", {})
        counted: Counter[tuple[str, str, int, int]] = Counter()
        for one in impressions:
            if not one.features:
                continue
            started = references.setdefault(one.model, {"since": one.ts, "edges": None})
            if started["edges"] is None and one.ts >= started["since"] + DAY_MS:
                started["edges"] = self._close(one.model)
            if started["edges"] is None:
                self._collect(one)
                continue
            day = Period.DAY.number(one.ts)
            for feature, value in one.features.items():
                if (edges := started["edges"].get(feature)) is not None:
                    number = bisect_right(edges, value)
                    counted[one.model, feature, day, number] += 1
                    if feature == SCORE:
                        scored.append((one, number))
        self._add(counted)
        self._database.put("references", references)
        return scored

    def counts(self, day: int) -> list[FeatureCounts]:
        """The features on a day, of every model with a reference."""
        found: list[FeatureCounts] = []
        for model, started in self._database.get("references", {}).items():
            for feature, edges in (started["edges"] or {}).items():
                bins = len(edges) + 1
                reference, current = (
                    self._read(model, feature, one, bins) for one in (_REFERENCE, day)
                )
                if current.sum() and bins > 1:
                    found.append(
                        FeatureCounts(
                            feature=feature,
                            model=model,
                            reference=reference,
                            current=current,
                        )
                    )
        return found

    def _collect(self, one: Impression) -> None:
        self._database.connection.executemany(
            "INSERT INTO feature_values VALUES (?, ?, ?)",
            [(one.model, feature, value) for feature, value in one.features.items()],
        )

    def _close(self, model: str) -> dict[str, list[float]]:
        """Fix the bins of a model's reference; returns their inner edges by feature."""
        connection, edges = self._database.connection, dict[str, list[float]]()
        for feature in FEATURES:
            rows = connection.execute(
                "SELECT value FROM feature_values WHERE model = ? AND feature = ? LIMIT ?",
                (model, feature, _MOST_VALUES),
            )
            values = np.array([value for (value,) in rows])
            if not len(values):
                continue
            edges[feature] = inner_edges(values)
            bins = Counter(bisect_right(edges[feature], value) for value in values)
            self._add({(model, feature, _REFERENCE, number): n for number, n in bins.items()})
        connection.execute("DELETE FROM feature_values WHERE model = ?", (model,))
        return edges

    def _add(self, counted: Mapping[tuple[str, str, int, int], int]) -> None:
        self._database.connection.executemany(
            "INSERT INTO histograms VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (model, feature, day, bin) DO UPDATE SET n = n + excluded.n",
            [(*key, n) for key, n in counted.items()],
        )

    def _read(self, model: str, feature: str, day: int, bins: int) -> NDArray[np.int64]:
        rows = self._database.connection.execute(
            "SELECT bin, n FROM histograms WHERE model = ? AND feature = ? AND day = ?",
            (model, feature, day),
        )
        counts = np.zeros(bins, dtype=np.int64)
        for number, n in rows:
            counts[number] = n
        return counts


def inner_edges(values: NDArray[np.float64]) -> list[float]:
    """The deciles between bins, each with values on both sides; a bin includes its lower edge."""
    deciles = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1], method="higher"))
    edges = [-np.inf, *deciles.tolist(), np.inf]
    inside = [bool(((values >= low) & (values < high)).any()) for low, high in pairwise(edges)]
    # an empty bin joins the one above it; the last one joins the one below it
    kept = [edge for edge, is_used in zip(edges[1:-1], inside, strict=False) if is_used]
    return kept if inside[-1] else kept[:-1]
