"""An export of Google Analytics 4: sessions of two columns, rows without items, prices."""

import pytest

from pipeline.core.contracts import EventType
from pipeline.core.errors import DataError
from pipeline.datasets.dry_run import inspect_data
from pipeline.study import DatasetConfig, DatasetFormat, GenericLayout
from tests.pipeline.datasets.formats import ga4

GENERIC = ga4.DATASET["generic"]


def dataset(**changes):
    event_types = {word: kind and EventType(kind) for word, kind in ga4.EVENT_TYPES.items()}
    layout = GenericLayout(**{**GENERIC, "event_types": event_types, **changes})
    return DatasetConfig(format=DatasetFormat.GENERIC, path="in the test", generic=layout)


def rows(*events):
    """Rows of one session a second apart: name and other columns."""
    common = {"user_pseudo_id": "u", "ga_session_id": 1, "item_id": "i"}
    return [
        {**common, "event_name": name, "event_timestamp": ga4.START + n * 1_000_000, **columns}
        for n, (name, columns) in enumerate(events)
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_sessions_events_and_revenue_are_those_of_plain_python(load, tmp_path, suffix):
    export = ga4.export()
    expected = ga4.counts(export)

    summary, events, rejected = load(dataset(), ga4.write(export, tmp_path / f"log.{suffix}"))

    assert {name: summary[name] for name in expected} == expected
    assert (summary["currency"], summary["orders_without_price"]) == ("EUR", 0)
    assert rejected["reason"].unique().to_list() == ["an event type that is not used"]
    assert events["item"].n_unique() == len({row["item_id"] for row in export if "item_id" in row})
    users_alone = load(dataset(session=("ga_session_id",)), tmp_path / f"log.{suffix}").summary
    assert users_alone["sessions"] == 20 < expected["sessions"]


def test_session_ids_of_two_columns_do_not_run_together(load, tmp_path):
    pairs = [("a|b", "c"), ("a", "b|c"), ("a\\", "|b|c"), ("a\\|b", "c"), ("a", "b"), ("b", "a")]
    export = [
        {**row, "user_pseudo_id": user, "ga_session_id": number}
        for user, number in pairs
        for row in rows(("view_item", {}))
    ]

    for suffix in ("csv", "jsonl"):
        loaded = load(dataset(), ga4.write(export, tmp_path / f"log.{suffix}"))
        assert loaded.summary["sessions"] == len(pairs)
        assert "a|b" in loaded.events["session"].to_list()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_row_of_no_use_is_never_faulty(load, tmp_path, suffix):
    export = rows(
        ("view_item", {}),
        ("scroll", {"item_id": None}),
        ("session_start", {"user_pseudo_id": None}),
        ("scroll", {"event_timestamp": "soon"}),
        ("scroll", {"event_timestamp": 5}),
        ("scroll", {"price": "free"}),
    )

    loaded = load(dataset(), ga4.write(export, tmp_path / f"log.{suffix}"))

    assert loaded.summary["rejected_by_reason"] == {"an event type that is not used": 5}


@pytest.mark.parametrize(
    ("paid", "revenue"),
    [
        ({"price": "19.99", "quantity": "3"}, 59.97),
        ({"price": "0.1", "quantity": "3"}, 0.3),
        ({"price": "1e2"}, 100.0),
        ({"price": " 7 ", "quantity": "2.0"}, 14.0),
        ({"price": "0"}, 0.0),
        ({"price": "12345678.90", "quantity": "1000000"}, 12345678900000.0),
    ],
    ids=str,
)
def test_revenue_is_price_times_quantity(load, tmp_path, paid, revenue):
    export = rows(("view_item", {}), ("purchase", paid))

    for suffix in ("csv", "jsonl"):
        summary = load(dataset(), ga4.write(export, tmp_path / f"log.{suffix}")).summary
        assert summary["revenue"] == revenue


@pytest.mark.parametrize(
    ("paid", "field"),
    [
        ({"price": "12,99"}, "price"),
        ({"price": "€5"}, "price"),
        ({"price": "-1"}, "price"),
        ({"price": "nan"}, "price"),
        ({"price": "inf"}, "price"),
        ({"price": "5", "quantity": "0"}, "quantity"),
        ({"price": "5", "quantity": "1.5"}, "quantity"),
        ({"price": "5", "quantity": "two"}, "quantity"),
    ],
    ids=str,
)
def test_an_order_with_an_invalid_amount_is_refused_with_the_field(load, tmp_path, paid, field):
    file = ga4.write(rows(("view_item", {}), ("purchase", paid)), tmp_path / "log.csv")

    with pytest.raises(DataError) as caught:
        load(dataset(), file, max_rejected_share=0.1)

    assert f"price or quantity of an order is not valid ({field}): 1, first in" in str(caught.value)
    assert f"An order's {field} must be a decimal number with a point" in str(caught.value)


def test_an_order_without_a_price_is_an_order_and_counted(load, tmp_path):
    export = rows(("view_item", {}), ("purchase", {}), ("purchase", {"price": "2"}))

    summary = load(dataset(), ga4.write(export, tmp_path / "log.csv")).summary

    assert (summary["event_types"]["order"], summary["revenue"]) == (2, 2.0)
    assert summary["orders_without_price"] == 1


def test_orders_in_two_currencies_have_no_sum(load, tmp_path):
    paid = [{"price": "2", "currency": name} for name in ("EUR", "USD", "EUR")]
    export = rows(("view_item", {"currency": "GBP"}), *(("purchase", one) for one in paid))

    with pytest.raises(DataError, match=r"in 2 currencies \(EUR: 2, USD: 1\), whose revenue"):
        load(dataset(), ga4.write(export, tmp_path / "log.csv"))


def test_repeated_purchases_count_once_unless_their_amounts_differ(load, tmp_path):
    (row,) = rows(("purchase", {"price": "2", "quantity": "1"}))
    export = [row, row, {**row, "quantity": "3"}]

    summary = load(
        dataset(), ga4.write(export, tmp_path / "log.csv"), max_rejected_share=0.5
    ).summary

    assert (summary["event_types"]["order"], summary["revenue"]) == (2, 8.0)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_wrong_unit_of_time_is_named_with_the_right_one(load, tmp_path, unit, suffix):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    export = [
        {**row, "event_timestamp": row["event_timestamp"] * per_second // 10**6}
        for row in rows(("view_item", {}), ("view_item", {}))
    ]
    file = ga4.write(export, tmp_path / f"log.{suffix}")

    assert load(dataset(time_unit=unit), file).summary["first_ts"] == ga4.START // 1000
    for wrong in {"s", "ms", "us", "ns"} - {unit}:
        with pytest.raises(DataError, match=rf"set dataset\.generic\.time_unit: {unit}\."):
            load(dataset(time_unit=wrong), file)


def test_a_time_that_was_in_a_column_of_decimals_is_the_same_time(load, tmp_path):
    export = [{**row, "event_timestamp": f"{ga4.START}.0"} for row in rows(("view_item", {}))]

    summary = load(dataset(), ga4.write(export, tmp_path / "log.csv")).summary

    assert summary["first_ts"] == ga4.START // 1000


def test_the_dry_run_says_what_ingestion_would_do(tmp_path):
    export = [*ga4.export(sessions=50), *rows(("login", {}), ("view_item", {"item_id": ""}))]
    file = ga4.write(export, tmp_path / "log.csv")

    found = inspect_data(dataset(), file, max_rejected_share=0.0)

    assert found.summary["sessions"] == 50
    assert found.columns["session"] == "user_pseudo_id, ga_session_id"
    assert found.words == ga4.EVENT_TYPES
    assert [(kind.reason, kind.field, kind.rows) for kind in found.rejected][1:] == [
        ("a field is missing", "item_id", 1),
        ("unknown event type", "event_name", 1),
    ]
    assert "Map 'login' to click, cart, order or null" in found.refusal
    assert "If an event type has no item_id, map it to null" in found.refusal
    assert inspect_data(dataset(), file, max_rejected_share=0.1).refusal is None
