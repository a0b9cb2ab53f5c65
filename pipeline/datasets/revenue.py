"""Revenue of orders: price × quantity, exact to a ten-thousandth of the currency."""

import polars as pl

from pipeline.core.contracts import EventType

PER_UNIT = 10_000
"""Units of ``revenue`` per unit of the currency; prices are rounded to four decimals."""

_HIGHEST_PRICE = 1e9
_HIGHEST_QUANTITY = 1_000_000
"""With these, the revenue of a row is an exact integer of 64 bits."""


def amount_faults(rows: pl.DataFrame, is_order: pl.Expr) -> list[tuple[str, pl.Expr]]:
    """The amounts that are not valid in any order, each with a condition that a row has it.

    A price is a number of at least 0, a quantity an integer of at least 1. An order may lack both:
    without a price its revenue is unknown, without a quantity it is of one unit.

    Args:
        rows: With columns price and quantity, numbers or strings.
        is_order: Whether a row is an order; others may have any amounts.
    """
    price, quantity = _number("price"), _number("quantity")
    conditions = {
        "price": _given("price") & ~price.is_between(0, _HIGHEST_PRICE).fill_null(value=False),
        "quantity": _given("quantity")
        & ~(quantity.is_between(1, _HIGHEST_QUANTITY) & (quantity == quantity.floor())).fill_null(
            value=False
        ),
    }
    orders = rows.with_columns(__order=is_order.fill_null(value=False)).filter("__order")
    wrong = orders.select(any_fault.any().alias(name) for name, any_fault in conditions.items())
    found = wrong.row(0, named=True)
    return [
        (name, is_order.fill_null(value=False) & condition)
        for name, condition in conditions.items()
        if found[name]
    ]


def revenue_of(events: pl.DataFrame, event_type: pl.Expr) -> pl.Series:
    """Revenue of each event in 1 / :data:`PER_UNIT` of the currency; null for other events."""
    price = (_number("price") * PER_UNIT).round().cast(pl.Int64)
    quantity = _number("quantity").fill_null(1).cast(pl.Int64)
    is_order = event_type == EventType.ORDER.value
    revenue = pl.when(is_order).then(price * quantity).otherwise(None)
    return events.select(revenue.alias("revenue")).to_series()


def _given(name: str) -> pl.Expr:
    return pl.col(name).is_not_null() & (pl.col(name).cast(pl.String).str.strip_chars() != "")


def _number(name: str) -> pl.Expr:
    """The amount as a number; null if it is missing, not a number or not finite."""
    text = pl.col(name).cast(pl.String).str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)
