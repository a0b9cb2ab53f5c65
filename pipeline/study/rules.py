"""Filters and re-ranking rules: of the section ``serving``, and of a candidate that has its own."""

import hashlib
import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.study.local_path import LocalPath


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Boost:
    """Add a constant to the scores of some items or categories."""

    rule: Literal["boost"]
    add: float
    categories: tuple[Annotated[str, Len(1)], ...] = ()
    items: tuple[Annotated[str, Len(1)], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Freshness:
    """Add to the scores of new items; the bonus halves every ``half_life_days``."""

    rule: Literal["freshness"]
    add: Annotated[float, Gt(0)]
    half_life_days: Annotated[float, Gt(0)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CategoryCap:
    """Limit the number of items per category in a list."""

    rule: Literal["cap"]
    max_items: Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Pin:
    """Place an item at a position (from 1), unless a filter excludes it."""

    rule: Literal["pin"]
    item: Annotated[str, Len(1)]
    position: Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Diversity:
    """Diversify a list with ``mmr`` or ``dpp`` on the model's item embeddings.

    ``strength`` is in [0, 1]; 0 ranks by relevance only.
    """

    rule: Literal["diversity"]
    method: Literal["mmr", "dpp"]
    strength: Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Calibration:
    """Calibrate a list's category distribution to the session's (Steck 2018).

    ``strength`` is λ of its Eq. 5, in [0, 1]; 0 ranks by relevance only.
    """

    rule: Literal["calibration"]
    strength: Annotated[float, Interval(ge=0, le=1)]


class IndexKind(StrEnum):
    """Where the candidates of lists come from, if not from the scores of all items."""

    FAISS_IVF_SQ8 = "faiss-ivf-sq8"


ScoreRule = Boost | Freshness
"""Rules that change the scores of catalogue items."""

ListRule = CategoryCap | Pin | Diversity | Calibration
"""Rules that re-rank the best candidates, in order."""

Rule = Annotated[ScoreRule | ListRule, Field(discriminator="rule")]
Candidates = Annotated[int, Interval(ge=1, le=1_000_000)]
CANDIDATES = 200


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ServingFilters:
    """Items that are never recommended.

    The files contain one item id per line, and are re-read when they change.

    Attributes:
        seen: Whether to exclude the items of the session.
        out_of_stock: File of unavailable items.
        allow: File of the only items that may be recommended.
        deny: File of excluded items.
    """

    seen: bool = False
    out_of_stock: LocalPath | None = None
    allow: LocalPath | None = None
    deny: LocalPath | None = None

    def files(self, root: Path) -> dict[str, Path]:
        """The files that are given, by filter; ``root`` is the project's folder."""
        named = {"out_of_stock": self.out_of_stock, "allow": self.allow, "deny": self.deny}
        return {name: root / path for name, path in named.items() if path is not None}


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RuleSet:
    """All filters and rules that apply to lists.

    Attributes:
        candidates: Number of best items that list rules choose from.
        filters: Items that are never recommended.
        rules: Re-ranking rules, in order.
        index: Where candidates come from; None for the scores of all items.
    """

    candidates: Candidates = CANDIDATES
    filters: ServingFilters = ServingFilters()
    rules: tuple[Rule, ...] = ()
    index: IndexKind | None = None

    @property
    def is_empty(self) -> bool:
        """Whether lists are the model's own."""
        return not self.rules and self.filters == ServingFilters() and self.index is None

    @property
    def required_attributes(self) -> set[str]:
        """The item attributes that the rules need."""
        needed: set[str] = set()
        for rule in self.rules:
            if isinstance(rule, CategoryCap | Calibration) or (
                isinstance(rule, Boost) and rule.categories
            ):
                needed.add("category")
            if isinstance(rule, Freshness):
                needed.add("available_since")
        return needed

    def version(self, contents: dict[str, str] | None = None) -> str:
        """Twelve hexadecimal digits of a hash, and eight more of the ``contents`` of filter files, if any."""
        values = asdict(self)
        if self.index is None:  # as versions were before there was an index
            del values["index"]
        own = _digest(values | {"files": {}})[:12]
        return f"{own}-{_digest(contents)[:8]}" if contents else own

    def __str__(self) -> str:
        named = [one.rule for one in self.rules] + ([str(self.index)] if self.index else [])
        named += [name for name, value in asdict(self.filters).items() if value]
        return f"{self.version()} ({', '.join(named) or 'none'})"


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
