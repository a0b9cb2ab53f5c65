"""How a study's groups are served."""

from enum import StrEnum
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Len
from pydantic import Field
from pydantic.dataclasses import dataclass

from models.strict import STRICT
from pipeline.core.errors import StudyError


class Durability(StrEnum):
    """When an event or impression counts as kept: see docs/serving.md."""

    FSYNC = "fsync"
    OS = "os"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Boost:
    """Add to the scores of the named items and of those in the named categories."""

    rule: Literal["boost"]
    add: float
    categories: tuple[Annotated[str, Len(1)], ...] = ()
    items: tuple[Annotated[str, Len(1)], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Freshness:
    """Add to the score of a new item; the addition halves every ``half_life_days``."""

    rule: Literal["freshness"]
    add: Annotated[float, Gt(0)]
    half_life_days: Annotated[float, Gt(0)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CategoryCap:
    """At most so many items of a category in a list."""

    rule: Literal["cap"]
    most: Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Pin:
    """Show an item at a position, which counts from 1, unless it is filtered out."""

    rule: Literal["pin"]
    item: Annotated[str, Len(1)]
    position: Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Diversity:
    """Choose items unlike each other: ``mmr`` or ``dpp`` on the model's item embeddings.

    ``strength`` is from 0 (relevance alone) to 1.
    """

    rule: Literal["diversity"]
    method: Literal["mmr", "dpp"]
    strength: Annotated[float, Interval(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Calibration:
    """Let a list's categories be divided as the session's are (Steck 2018).

    ``strength`` is λ of its Eq. 5, from 0 (relevance alone) to 1.
    """

    rule: Literal["calibration"]
    strength: Annotated[float, Interval(ge=0, le=1)]


ScoreRule = Boost | Freshness
"""Rules that act on the score of every item of the catalogue."""

ListRule = CategoryCap | Pin | Diversity | Calibration
"""Rules that act on the best candidates, one after another."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ServingFilters:
    """What is never listed.

    Attributes:
        seen: Whether the items of the session are left out.
        out_of_stock: A text file of items that are left out, one a line; read again when it changes.
        allow: A text file of the only items that may be listed.
        deny: A text file of items that are left out.
    """

    seen: bool = False
    out_of_stock: Annotated[str, Len(1)] | None = None
    allow: Annotated[str, Len(1)] | None = None
    deny: Annotated[str, Len(1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class KafkaTopic:
    """Where a copy of every row of the log is sent, once it is in its file."""

    servers: Annotated[str, Len(1)]
    topic: Annotated[str, Len(1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ServingConfig:
    """The endpoint that serves the groups and writes the experiment's log.

    Attributes:
        log_path: Folder of the log; one server at a time writes into it.
        durability: ``fsync`` acknowledges what the disk has; ``os`` what the operating system has.
        rotate_minutes: A file of the log is closed at this age, or
        rotate_megabytes: at this size.
        dedup_window_hours: How long a repeated event is known for one.
        orders_have_revenue: Whether every order says what it brought, or none does.
        deadline_ms: When the model has not answered by then, the popular items are listed.
        batch_wait_ms: How long a request waits for others to be answered together with.
        batch_size: Requests that are answered together, at most.
        threads: CPU threads of the network.
        reload_seconds: How often the study is looked at for a new model, plan or rule,
            besides when the process gets SIGHUP.
        candidates: Best items that rules which act on lists choose from.
        filters: What is never listed.
        rules: Changes of score or order, one after another.
        kafka: Where a copy of the log is sent.
    """

    log_path: Annotated[str, Len(1)] = "data/served"
    durability: Durability = Durability.FSYNC
    rotate_minutes: Annotated[float, Gt(0)] = 60.0
    rotate_megabytes: Annotated[float, Gt(0)] = 64.0
    dedup_window_hours: Annotated[float, Gt(0)] = 48.0
    orders_have_revenue: bool = False
    deadline_ms: Annotated[float, Gt(0)] = 200.0
    batch_wait_ms: Annotated[float, Ge(0)] = 5.0
    batch_size: Annotated[int, Ge(1)] = 32
    threads: Annotated[int, Ge(1)] = 1
    reload_seconds: Annotated[float, Gt(0)] = 10.0
    candidates: Annotated[int, Ge(1)] = 200
    filters: ServingFilters = ServingFilters()
    rules: tuple[Annotated[ScoreRule | ListRule, Field(discriminator="rule")], ...] = ()
    kafka: KafkaTopic | None = None

    def __post_init__(self) -> None:
        of_lists = [isinstance(rule, ListRule) for rule in self.rules]
        if of_lists != sorted(of_lists):
            msg = (
                f"serving.rules = {[rule.rule for rule in self.rules]}: boost and freshness act on "
                "all items and therefore come before the rules that act on a list"
            )
            raise StudyError(msg)
        if any(isinstance(r, Boost) and not (r.categories or r.items) for r in self.rules):
            msg = "serving.rules: a boost names no item and no category; give it one or the other"
            raise StudyError(msg)

    @property
    def needed_attributes(self) -> set[str]:
        """What the rules must know of the items."""
        needed: set[str] = set()
        for rule in self.rules:
            if isinstance(rule, CategoryCap | Calibration) or (
                isinstance(rule, Boost) and rule.categories
            ):
                needed.add("category")
            if isinstance(rule, Freshness):
                needed.add("available_since")
        return needed
