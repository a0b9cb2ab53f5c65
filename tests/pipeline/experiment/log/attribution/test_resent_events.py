"""Events that were sent again, to the same server or to another one, count once by their id."""

from itertools import permutations

import polars as pl
import pytest

from pipeline.experiment.log.log_files import COLUMNS
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.study import LogColumns
from pipeline.study.log_mapping import ClickColumns, OrderColumns
from tests.pipeline.experiment.logs import PLAN, at, contents, logged_impression, outcomes, users_in
from tests.pipeline.experiment.logs import ingestion as ingest_module

ANN, BOB = users_in("g1", 1)[0], users_in("g2", 1)[0]
SHOWN = [logged_impression("x", user=ANN), logged_impression("y", user=BOB, group="g2")]
NO_COLUMNS = {"item", "clicked", "ordered", "units", "revenue", "explored", "propensity", "arm"}


def click(of, hours=1.0, event="c"):
    return {"impression": of, "ts": at(hours), "event": event}


def order(of, hours=2.0, event="o", units=2, revenue=None):
    return click(of, hours, event) | {"units": units, "revenue": revenue}


def write(folder, **tables):
    """Files of one server; columns that no row has are not in them."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in tables.items():
        schema = {name: kind for name, kind in COLUMNS[table].items() if name in rows[0]}
        pl.DataFrame(rows, schema=schema).write_parquet(folder / f"{table}-1.parquet")


def ingested(log, **rules):
    """The ingestion of a log with a folder per server, and what became of its rows."""
    database = log.with_name("log.duckdb")
    files = log_files(log, subfolders=True).files
    result = ingest_module.ingest(files, PLAN, database, rules=LogRules(**rules))
    return result, outcomes(database)


def test_four_orders_that_were_sent_to_two_servers_have_four_units(tmp_path):
    """The second server gives them its own time, 20 seconds later."""
    log = tmp_path / "log"
    rows = [logged_impression(f"x{n}", user=ANN) for n in range(4)]
    clicks = [click(f"x{n}") for n in range(4)]
    write(log / "a", impressions=rows, clicks=clicks)
    for server, late in (("a", 0.0), ("b", 20 / 3600)):
        write(log / server, orders=[order(f"x{n}", 2 + late, units=1) for n in range(4)])

    result, found = ingested(log)

    assert result.rejected == {"order sent again": 4}
    assert sum(units for _, _, units, _ in found.values()) == 4


def test_events_that_were_sent_again_are_counted_by_group_and_are_neither_faulty_nor_lost(tmp_path):
    log = tmp_path / "log"
    for server in "abc":
        write(log / server, clicks=[click("x"), click("y")], orders=[order("x"), order("y")])
    write(log / "a", impressions=SHOWN)

    result, _ = ingested(log)

    assert result.rejected == {"click sent again": 4, "order sent again": 4}
    fates = read_row_fates(log.with_name("log.duckdb"))
    again = fates.fates.filter(pl.col("kind") == "repeated")
    assert sorted(again.select("table", "group", "reason", "rows").rows()) == [
        (f"{event}s", group, f"{event} sent again", 2)
        for event in ("click", "order")
        for group in ("g1", "g2")
    ]
    assert fates.sums["lost"].sum() == 0


@pytest.mark.parametrize(
    ("orders", "units", "rejected"),
    [
        ([order("x", 2), order("x", 3)], 2, {"order sent again": 1}),
        ([order("x", event="o1"), order("x", event="o2")], 4, {}),  # equal, but two orders
        ([order("x", event=None), order("x", event=None)], 2, {"duplicate order": 1}),
        ([order("x", event=""), order("x", 3, event="")], 4, {}),  # an empty id is none
        ([order("x", event="o"), order("y", event="o")], 4, {}),  # ids are of one impression
        # the copy with the clock that counts is kept, and the other one is no lost order
        ([order("x", 0.5), order("x", 2)], 2, {"order sent again": 1}),
        ([order("x", 2), order("x", 30)], 2, {"order sent again": 1}),
        ([order("x", 30), order("x", 31)], 0, dict.fromkeys(("order after the attribution window", "order sent again"), 1)),
        ([order("x", 3, units=5), order("x", 2, units=2)], 2, {"order sent again": 1}),
    ],
)  # fmt: skip
def test_an_order_is_known_by_its_id_where_it_has_one(tmp_path, orders, units, rejected):
    log = tmp_path / "log"
    write(log, impressions=SHOWN, clicks=[click("x"), click("y")], orders=orders)

    result, found = ingested(log)

    assert result.rejected == rejected
    assert sum(one for _, _, one, _ in found.values()) == units


@pytest.mark.parametrize("order_of_arrival", list(permutations("abc")))
def test_which_copy_counts_depends_neither_on_servers_nor_on_arrival(tmp_path, order_of_arrival):
    log = tmp_path / "log"
    write(log / "0", impressions=SHOWN, clicks=[click("x", 1.2), click("y")])
    ingested(log)
    for n, server in enumerate(order_of_arrival):
        write(log / server, clicks=[click("x", 1 + n / 10)], orders=[order("x", 2, units=n + 1)])
        ingested(log)

    (log.with_name("log.duckdb")).rename(tmp_path / "step-by-step.duckdb")
    result, found = ingested(log)

    assert found["x"] == (True, True, 1, None)
    assert result.rejected == {"click sent again": 3, "order sent again": 2}
    assert contents(tmp_path / "step-by-step.duckdb") == contents(log.with_name("log.duckdb"))


def test_the_column_of_ids_of_another_log_is_named_in_the_mapping(tmp_path):
    """Events there name their user; a column ``event`` that is not mapped is the type of the event."""
    log = tmp_path / "log"
    impressions = [{"user": ANN, "group": "g1", "ts": at(0)}]
    clicks = [{"user": ANN, "ts": at(1), "event": "click", "key": "c"}]
    orders = [
        {"user": ANN, "ts": at(hours), "event": "order", "units": 1, "key": key}
        for hours, key in ((2, "k1"), (3, "k1"), (4, "k2"))
    ]
    log.mkdir()
    for table, rows in {"impressions": impressions, "clicks": clicks, "orders": orders}.items():
        pl.DataFrame(rows).write_parquet(log / f"{table}.parquet")

    unmapped, without = ingested(log, columns=LogColumns())
    mapping = LogColumns(clicks=ClickColumns(event="key"), orders=OrderColumns(event="key"))
    mapped, known = ingested(log, columns=mapping)

    assert (unmapped.rejected, mapped.rejected) == ({}, {"order sent again": 1})
    assert [units for _, _, units, _ in (*without.values(), *known.values())] == [3, 2]


def test_files_with_and_without_ids_are_one_log(tmp_path):
    log = tmp_path / "log"
    write(log / "a", impressions=SHOWN, clicks=[click("x")], orders=[order("x")])
    bare = {name: value for name, value in order("x", 3).items() if name != "event"}
    write(log / "b", orders=[bare])

    result, found = ingested(log)

    assert result.rejected == {}
    assert found["x"][2] == 4
