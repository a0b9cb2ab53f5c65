"""The rules and filters of a study, made ready for a catalogue."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self, assert_never

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.artifacts.storage import md5
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
    ServingConfig,
    ServingFilters,
)

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_HOURS_KEPT = 4


@dataclass(frozen=True, slots=True)
class Context:
    """What rules look at besides the candidates: the session and all scores of one request."""

    session: NDArray[np.int64]
    scores_I: NDArray[np.float32]
    k: int


@dataclass(frozen=True, slots=True)
class RuleBook:
    """Rules and filters for one catalogue.

    Attributes:
        version: Names the rules, and the contents of the files they are from.
        of_lists: The rules that act on candidates, in their order.
        fresheners: The rules on new items.
        listable_I: Whether an item may be listed at all.
        fixed_I: What every score is changed by: boosts, and -∞ for what is never listed; None if
            that is nothing.
        since_I: When an item became available, milliseconds since 1970 UTC; nan where unknown.
        category_I: The number of an item's category, -1 where unknown.
        leaves_out_seen: Whether a list may not hold items of its session.
        index: Items by name.
        embedding_ID: What the model knows of the items.
        unknown: Items named by rules and filters that the catalogue lacks.
    """

    version: str
    of_lists: tuple[ListRule, ...]
    fresheners: tuple[Freshness, ...]
    listable_I: NDArray[np.bool_]
    fixed_I: Tensor | None
    since_I: NDArray[np.float64]
    category_I: NDArray[np.int64]
    leaves_out_seen: bool
    index: dict[str, int]
    embedding_ID: NDArray[np.float32]
    unknown: int
    _by_hour: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    @classmethod
    def of(
        cls,
        section: ServingConfig,
        root: Path,
        *,
        attributes: pl.DataFrame,
        embedding_ID: NDArray[np.float32],
    ) -> Self:
        """The rules of a study for the items of ``attributes``, one row an item by index.

        Raises:
            StudyError: if a rule needs what the shop does not say of its items.
            DataError: if a filter's file cannot be read.
        """
        lacking = [n for n in section.required_attributes if attributes[n].is_null().all()]
        if lacking:
            msg = (
                f"serving.rules need the column {' and '.join(sorted(lacking))} of "
                "dataset.item_attributes, which says nothing of it for any item of the catalogue"
            )
            raise StudyError(msg)
        index = {item: n for n, item in enumerate(attributes["item"])}
        names = attributes["category"].unique().drop_nulls().sort().to_list()
        numbers = {name: n for n, name in enumerate(names)}
        category_I = np.array([numbers.get(c, -1) for c in attributes["category"]], dtype=np.int64)
        listable_I, unlisted = _listable(section.filters, root, index)
        fixed_I = np.where(listable_I, 0.0, -np.inf).astype(np.float32)
        named: list[str] = []
        for rule in section.rules:
            if isinstance(rule, Boost):
                chosen = [index[item] for item in rule.items if item in index]
                lifted_I = np.isin(category_I, [numbers.get(c, -2) for c in rule.categories])
                lifted_I[chosen] = True
                fixed_I[lifted_I] += np.float32(rule.add)
                named += rule.items
            elif isinstance(rule, Pin):
                named.append(rule.item)
        return cls(
            version=_version(section, root),
            of_lists=tuple(rule for rule in section.rules if isinstance(rule, ListRule)),
            fresheners=tuple(rule for rule in section.rules if isinstance(rule, Freshness)),
            listable_I=listable_I,
            fixed_I=torch.from_numpy(fixed_I) if fixed_I.any() else None,
            since_I=attributes["available_since"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
            category_I=category_I,
            leaves_out_seen=section.filters.seen,
            index=index,
            embedding_ID=embedding_ID,
            unknown=unlisted + sum(item not in index for item in named),
        )

    def changes(self, ts: int) -> Tensor | None:
        """What every item's score is changed by at a time, to the hour; I, or None for nothing."""
        if not self.fresheners:
            return self.fixed_I
        hour = ts // _HOUR_MS
        if hour not in self._by_hour:
            while len(self._by_hour) >= _HOURS_KEPT:
                self._by_hour.pop(next(iter(self._by_hour)))
            fresh_I = torch.from_numpy(self._freshness(hour * _HOUR_MS))
            self._by_hour[hour] = fresh_I if self.fixed_I is None else fresh_I + self.fixed_I
        return self._by_hour[hour]

    def _freshness(self, now: int) -> NDArray[np.float32]:
        age_I = np.maximum(now - self.since_I, 0) / _DAY_MS
        added = [rule.add * 0.5 ** (age_I / rule.half_life_days) for rule in self.fresheners]
        return np.nan_to_num(np.sum(added, axis=0), nan=0.0).astype(np.float32)

    def apply(self, found: Candidates, context: Context) -> Candidates:
        """The candidates after all rules that act on lists, cut to the length asked for."""
        for rule in self.of_lists:
            found = self._apply(rule, found, context)
        return Candidates(found.items[: context.k], found.scores[: context.k])

    def _apply(self, rule: ListRule, found: Candidates, context: Context) -> Candidates:
        match rule:
            case CategoryCap():
                return cap_category(found, self.category_I[found.items], rule.max_items)
            case Pin():
                item = self.index.get(rule.item)
                if item is None or not np.isfinite(context.scores_I[item]):
                    return found
                return pin_item(found, item, float(context.scores_I[item]), rule.position)
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


def filter_files(filters: ServingFilters, root: Path) -> dict[str, Path]:
    """The files of a study's filters, by the name of the filter."""
    named = {
        "out_of_stock": filters.out_of_stock,
        "allow": filters.allow,
        "deny": filters.deny,
    }
    return {name: root / path for name, path in named.items() if path is not None}


def _listable(
    filters: ServingFilters, root: Path, index: dict[str, int]
) -> tuple[NDArray[np.bool_], int]:
    """Whether each item may be listed, and how many named items the catalogue lacks."""
    found = {name: _read_items(name, file) for name, file in filter_files(filters, root).items()}
    listable_I = np.ones(len(index), dtype=bool)
    if "allow" in found:
        listable_I[:] = False
        listable_I[[index[item] for item in found["allow"] if item in index]] = True
    for name in ("out_of_stock", "deny"):
        listable_I[[index[item] for item in found.get(name, ()) if item in index]] = False
    if not listable_I.any():
        msg = f"serving.filters leave none of the catalogue's {len(index)} items; mend their files"
        raise DataError(msg)
    return listable_I, sum(item not in index for items in found.values() for item in items)


def _read_items(name: str, file: Path) -> set[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = (
            f"cannot read {file}: {error}; serving.filters.{name} names a text file of items, one a "
            "line"
        )
        raise DataError(msg) from error
    return {line.strip() for line in lines if line.strip()}


def _version(section: ServingConfig, root: Path) -> str:
    """Changes when a rule, a filter, or an item in a filter's file does."""
    said = {
        "rules": [asdict(rule) for rule in section.rules],
        "filters": asdict(section.filters),
        "candidates": section.candidates,
        "files": {name: md5(file) for name, file in filter_files(section.filters, root).items()},
    }
    text = json.dumps(said, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
