"""The rules and filters of a study, compiled for a catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, assert_never

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.artifacts.storage import md5
from pipeline.core.contracts import DAY_MS, HOUR_MS
from pipeline.core.errors import DataError, StudyError
from pipeline.serving.ranking.rerank import Candidates, calibrate, cap_category, diversify, pin_item
from pipeline.study import (
    Boost,
    Calibration,
    CategoryCap,
    Diversity,
    Freshness,
    ListRule,
    Pin,
    RuleSet,
    ServingFilters,
)

_CACHED_HOURS = 4


@dataclass(frozen=True, slots=True)
class RerankContext:
    """The session of one request, and the scores of all items, or at least of those that are pinned."""

    session: NDArray[np.int64]
    scores: NDArray[np.float32] | Mapping[int, float]
    k: int


@dataclass(frozen=True, slots=True)
class RuleEngine:
    """Rules and filters for one catalogue.

    Attributes:
        rule_set: The rules and filters.
        version: A hash of them and of the contents of filter files.
        list_rules: The rules that re-rank candidates, in order.
        freshness_rules: The rules that boost new items.
        eligible_I: Whether an item passes the filters.
        static_adjustment_I: Added to every score: boosts, and -∞ for items that are not eligible;
            None if all are 0.
        available_since_I: When an item became available, in milliseconds since 1970 UTC; nan if
            unknown.
        category_I: The code of an item's category; -1 if unknown.
        excludes_seen: Whether items of the session are excluded.
        index: The model index of each item.
        embedding_ID: The model's item embeddings.
        unknown_items: The number of items in rules and filters that are not in the catalogue.
    """

    rule_set: RuleSet
    version: str
    list_rules: tuple[ListRule, ...]
    freshness_rules: tuple[Freshness, ...]
    eligible_I: NDArray[np.bool_]
    static_adjustment_I: Tensor | None
    available_since_I: NDArray[np.float64]
    category_I: NDArray[np.int64]
    excludes_seen: bool
    index: dict[str, int]
    embedding_ID: NDArray[np.float32]
    unknown_items: int
    _by_hour: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    @classmethod
    def of(
        cls,
        rule_set: RuleSet,
        root: Path,
        *,
        attributes: pl.DataFrame,
        embedding_ID: NDArray[np.float32],
    ) -> Self:
        """Compile rules.

        Args:
            rule_set: The rules and filters.
            root: The project root, for the paths of filter files.
            attributes: One row per item, ordered by model index.
            embedding_ID: The model's item embeddings.

        Raises:
            StudyError: if a rule requires an item attribute that is not available.
            DataError: if a filter's file cannot be read, or no item is eligible.
        """
        _check_attributes(rule_set, attributes)
        index = {item: n for n, item in enumerate(attributes["item"])}
        eligible_I, unknown_items = _eligible(rule_set.filters, root, index)
        codes = {
            name: n for n, name in enumerate(attributes["category"].drop_nulls().unique().sort())
        }
        category_I = np.array([codes.get(c, -1) for c in attributes["category"]], dtype=np.int64)
        adjustment_I = np.where(eligible_I, 0.0, -np.inf).astype(np.float32)
        for rule in rule_set.rules:
            if isinstance(rule, Boost):
                boosted_I = np.isin(category_I, [codes.get(c, -2) for c in rule.categories])
                boosted_I[[index[item] for item in rule.items if item in index]] = True
                adjustment_I[boosted_I] += np.float32(rule.add)
        since = attributes["available_since"].cast(pl.Float64)
        return cls(
            rule_set=rule_set,
            version=rule_set.version(
                {name: md5(file) for name, file in rule_set.filters.files(root).items()}
            ),
            list_rules=tuple(rule for rule in rule_set.rules if isinstance(rule, ListRule)),
            freshness_rules=tuple(rule for rule in rule_set.rules if isinstance(rule, Freshness)),
            eligible_I=eligible_I,
            static_adjustment_I=torch.from_numpy(adjustment_I) if adjustment_I.any() else None,
            available_since_I=since.fill_null(np.nan).to_numpy(),
            category_I=category_I,
            excludes_seen=rule_set.filters.seen,
            index=index,
            embedding_ID=embedding_ID,
            unknown_items=unknown_items + sum(i not in index for i in _rule_items(rule_set)),
        )

    @property
    def pinned(self) -> tuple[int, ...]:
        """The items (model indices) that rules pin."""
        items = [rule.item for rule in self.list_rules if isinstance(rule, Pin)]
        return tuple(self.index[item] for item in items if item in self.index)

    def score_adjustments(self, ts: int) -> Tensor | None:
        """The adjustment of every item's score at a time, cached by hour; None if all are 0."""
        if not self.freshness_rules:
            return self.static_adjustment_I
        hour = ts // HOUR_MS
        if hour not in self._by_hour:
            while len(self._by_hour) >= _CACHED_HOURS:
                self._by_hour.pop(next(iter(self._by_hour)))
            fresh_I = torch.from_numpy(self._freshness(hour * HOUR_MS))
            self._by_hour[hour] = (
                fresh_I if self.static_adjustment_I is None else fresh_I + self.static_adjustment_I
            )
        return self._by_hour[hour]

    def _freshness(self, now: int) -> NDArray[np.float32]:
        age_days_I = np.maximum(now - self.available_since_I, 0) / DAY_MS
        added = [
            rule.add * 0.5 ** (age_days_I / rule.half_life_days) for rule in self.freshness_rules
        ]
        return np.nan_to_num(np.sum(added, axis=0), nan=0.0).astype(np.float32)

    def apply(self, found: Candidates, context: RerankContext) -> Candidates:
        """The first k candidates after all list rules."""
        for rule in self.list_rules:
            found = self._apply(rule, found, context)
        return Candidates(found.items[: context.k], found.scores[: context.k])

    def _apply(self, rule: ListRule, found: Candidates, context: RerankContext) -> Candidates:
        match rule:
            case CategoryCap():
                return cap_category(found, self.category_I[found.items], rule.max_items)
            case Pin():
                item = self.index.get(rule.item)
                if item is None or not np.isfinite(context.scores[item]):
                    return found
                return pin_item(found, item, float(context.scores[item]), rule.position)
            case Diversity():
                return diversify(
                    found,
                    self.embedding_ID[found.items],
                    method=rule.method,
                    strength=rule.strength,
                    k=context.k,
                )
            case Calibration():
                return calibrate(
                    found,
                    self.category_I[found.items],
                    self.category_I[context.session],
                    strength=rule.strength,
                    k=context.k,
                )
            case _:
                assert_never(rule)


def _rule_items(rule_set: RuleSet) -> list[str]:
    boosted = [item for rule in rule_set.rules if isinstance(rule, Boost) for item in rule.items]
    return boosted + [rule.item for rule in rule_set.rules if isinstance(rule, Pin)]


def _check_attributes(rule_set: RuleSet, attributes: pl.DataFrame) -> None:
    missing = [name for name in rule_set.required_attributes if attributes[name].is_null().all()]
    if missing:
        msg = (
            f"serving.rules require the column {' and '.join(sorted(missing))} of "
            "dataset.item_attributes, which has no value for any item of the catalogue; add the "
            "values or remove the rules"
        )
        raise StudyError(msg)


def _eligible(
    filters: ServingFilters, root: Path, index: dict[str, int]
) -> tuple[NDArray[np.bool_], int]:
    """Whether each item passes the filters, and the number of unknown items in their files."""
    found = {name: _read_items(name, file) for name, file in filters.files(root).items()}
    eligible_I = np.ones(len(index), dtype=bool)
    if "allow" in found:
        eligible_I[:] = False
        eligible_I[[index[item] for item in found["allow"] if item in index]] = True
    for name in ("out_of_stock", "deny"):
        eligible_I[[index[item] for item in found.get(name, ()) if item in index]] = False
    if not eligible_I.any():
        msg = f"serving.filters exclude all {len(index)} items of the catalogue; fix their files"
        raise DataError(msg)
    return eligible_I, sum(item not in index for items in found.values() for item in items)


def _read_items(name: str, file: Path) -> set[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = (
            f"cannot read {file}: {error}; serving.filters.{name} must be a text file with one item "
            "per line"
        )
        raise DataError(msg) from error
    return {line.strip() for line in lines if line.strip()}
