"""What became of an impression, from its events: the rules of ingestion, one impression at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Self

from pipeline.core.contracts import HOUR_MS, Kpi
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.experiment.log.log_files import ERROR, TIMEOUT

FALLBACKS = "fallbacks_per_impression"
"""The share of lists that are popular items because the model could not answer."""

ORDERS_WITHOUT_CLICK = "orders_without_click"
"""Of the users with an order of a list, the share of those who have one whose list has no click. Users are
counted, not orders, so that trials are independent: a browser that blocks clicks does so every time."""

MONITORED = {kpi.value: terms for kpi, terms in TERMS.items()} | {
    FALLBACKS: ("impressions", "fallbacks"),
    "late_per_impression": ("impressions", "late"),
    "errors_per_impression": ("impressions", "errors"),
    ORDERS_WITHOUT_CLICK: ("buyers", "buyers_without_click"),
}
"""Trials and successes of everything that is monitored by user: the KPIs of a study, all fallbacks,
those because the model was late or failed, and orders without a click."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts and amounts over impressions; ``revenue`` is in the currency's smallest unit.

    ``orders`` are impressions with an order that counts, ``orders_without_click`` those with an order but no click.
    """

    impressions: int = 0
    clicks: int = 0
    orders: int = 0
    units: int = 0
    revenue: int = 0
    fallbacks: int = 0
    late: int = 0
    errors: int = 0
    orders_without_click: int = 0

    def __sub__(self, other: "Totals") -> "Totals":
        return Totals(*(a - b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """All totals, in the order of the fields."""
        return (
            self.impressions,
            self.clicks,
            self.orders,
            self.units,
            self.revenue,
            self.fallbacks,
            self.late,
            self.errors,
            self.orders_without_click,
        )


TOTAL_NAMES = tuple(field.name for field in fields(Totals))


class Event(NamedTuple):
    """A click, or an order, which has units; times are milliseconds since 1970 UTC.

    ``id`` is a digest of the id that its sender gave to it: the same if it was sent again.
    """

    ts: int
    units: int | None = None
    revenue: int | None = None
    id: str | None = None

    def repeats(self, other: "Event") -> bool:
        """Whether this is the other event, sent again."""
        return self.id is not None and (self.id, self.is_order) == (other.id, other.is_order)

    @property
    def is_order(self) -> bool:
        """Whether it is an order."""
        return self.units is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """When an event counts, in milliseconds after its impression or click.

    Attributes:
        attribution: At most that much later.
        tolerance: At most that much earlier, by clocks that differ.
    """

    attribution: int
    tolerance: int

    @classmethod
    def of(cls, attribution_hours: float, tolerance_seconds: float) -> Self:
        """The windows of ``experiment.attribution_hours`` and ``experiment.clock_tolerance_seconds``."""
        return cls(
            attribution=round(attribution_hours * HOUR_MS),
            tolerance=round(tolerance_seconds * 1000),
        )

    def hold(self, touch: int, ts: int) -> bool:
        """Whether an event at ``ts`` counts for a touch at ``touch``."""
        return -self.tolerance <= ts - touch <= self.attribution


def shown_totals(fallback: str | None) -> Totals:
    """The totals of a list without events; ``fallback`` is the reason of one."""
    return Totals(
        impressions=1,
        fallbacks=int(fallback is not None),
        late=int(fallback == TIMEOUT),
        errors=int(fallback == ERROR),
    )


def totals_of(ts: int, events: Sequence[Event], windows: Windows) -> Totals:
    """The totals of one impression at ``ts``, without its fallback.

    A click counts within the window after the impression, an order within that after its earliest click
    that counts. Repeated clicks count once, as do orders that are equal or were sent again, the earliest. An
    order without any click does not count; that there is one within the window after the impression is a total
    of its own, in whichever sequence events are read.
    """
    all_clicks = [one.ts for one in events if not one.is_order]
    clicks = [click for click in all_clicks if windows.hold(ts, click)]
    if not clicks:
        is_ordered = any(one.is_order and windows.hold(ts, one.ts) for one in events)
        return Totals(impressions=1, orders_without_click=int(is_ordered and not all_clicks))
    first = min(clicks)
    held = [one for one in events if one.is_order and windows.hold(first, one.ts)]
    held.sort(key=lambda one: (one.ts, one.units or 0, one.revenue or 0), reverse=True)
    orders = {one.id or one: one for one in held}.values()
    return Totals(
        impressions=1,
        clicks=1,
        orders=int(bool(orders)),
        units=sum(one.units or 0 for one in orders),
        revenue=sum(one.revenue or 0 for one in orders),
    )


def known_kpis(*, has_revenue: bool) -> tuple[str, ...]:
    """What can be monitored, with or without revenue in the log."""
    with_revenue = {kpi.value for kpi in Kpi if kpi.needs_revenue}
    return tuple(name for name in MONITORED if has_revenue or name not in with_revenue)
