"""Sums by user, group, arm and hour: equal to a recount, whenever and however often they are read."""

import os
import signal
import time

import numpy as np
import polars as pl
import pytest

from pipeline.core.errors import DataError, StorageError
from pipeline.monitoring.alarms import quality_alarms
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.ledger import Period
from pipeline.monitoring.following.outcomes import ORDERS_WITHOUT_CLICK
from pipeline.monitoring.following.sums import (
    DATABASE,
    hourly_table,
    lists_by_hour,
    read_sums,
    row_counts,
)
from tests.pipeline.monitoring.endpoint_log import (
    HOUR_MS,
    START,
    click,
    compress,
    followed,
    follower_of,
    impression,
    kept,
    lines,
    order,
    parts_of,
    random_log,
    recount,
    write,
)

NOW = START / 1000 + 4 * 86_400
HOURS = range(START // HOUR_MS, START // HOUR_MS + 72)
DAYS = range(START // (24 * HOUR_MS), START // (24 * HOUR_MS) + 3)


@pytest.fixture
def database(tmp_path):
    one = Database.open(tmp_path / DATABASE)
    yield one
    one.close()


def ctr_of(database, group="g1"):
    sums = read_sums(database, Period.ALL)
    return next(by_kpi["ctr"] for part, by_kpi in sums.items() if part.group == group)


def test_the_six_sums_by_hand(tmp_path, database):
    log = tmp_path / "log"
    write(log, "impressions", [impression(n, "ada", START + n) for n in range(3)])
    write(log, "impressions", [impression(n, "bob", START + n) for n in (3, 4)])
    write(log, "clicks", [click(0, START + 50), click(1, START + 60), click(3, START + 70)])

    follower_of(database, log).look(NOW)

    # ada: 3 lists, 2 clicks; bob: 2 lists, 1 click
    assert ctr_of(database) == (2, 5, 3, 9 + 4, 6 + 2, 4 + 1)


@pytest.mark.slow
def test_sums_read_bit_by_bit_are_those_of_a_recount(tmp_path, database):
    """Files grow by any number of bytes, are closed and compressed, between looks."""
    rng, log = np.random.default_rng(5), tmp_path / "log"
    follower = follower_of(database, log)
    for number, part in enumerate(parts_of(random_log(rng), 4)):
        for table, rows in part.items():
            data = lines(rows)
            cut = int(rng.integers(len(data)))
            path = write(log, table, [], name=f"2026112{number}T100000-000000")
            for piece in (data[:cut], data[cut:]):
                with path.open("ab") as stream:
                    stream.write(piece)
                follower.look(NOW)
            closed = path.rename(path.with_name(path.name.removesuffix(".open")))
            if number % 2:
                compress(closed)

    assert len(kept(database, Period.ALL)) > 30
    assert kept(database, Period.ALL) == recount(log)
    assert kept(database, Period.DAY, DAYS) == recount(log, 24 * HOUR_MS)
    assert kept(database, Period.HOUR, HOURS) == recount(log, HOUR_MS)


def test_the_sums_of_three_servers_are_those_of_one(tmp_path, database):
    """Each has the lists that it served; every event is sent to two, with another time."""
    log = random_log(np.random.default_rng(7), users=40, impressions=200)
    three = Database.open(tmp_path / "three.sqlite3")
    for n, part in enumerate(parts_of(log, 6)):
        write(tmp_path / "one", "impressions", part["impressions"])
        write(tmp_path / "three" / f"zone/{n % 3}", "impressions", part["impressions"])
        for table in ("clicks", "orders"):
            rows = [row | {"event": f"{n}-{k}"} for k, row in enumerate(part[table])]
            write(tmp_path / "one", table, rows)
            later = [row | {"ts": row["ts"] + 1} for row in rows]
            write(tmp_path / "three" / f"zone/{(n + 1) % 3}", table, later)
            write(tmp_path / "three" / f"zone/{n % 3}", table, rows)
        follower_of(database, tmp_path / "one").look(NOW)
        follower_of(three, tmp_path / "three").look(NOW)

    assert read_sums(three, Period.ALL) == read_sums(database, Period.ALL)
    assert row_counts(three)["orders", "sent again"] > 0
    three.close()


@pytest.mark.slow
def test_sums_are_those_of_a_recount_after_20_kills(tmp_path):
    """A forked monitor is killed 20 times, at random, while another process writes the log."""
    rng, log = np.random.default_rng(6), tmp_path / "log"
    Database.open(tmp_path / DATABASE).close()
    kills = 0
    for part in parts_of(random_log(rng, impressions=3000), 20):
        for table, rows in part.items():
            write(log, table, rows)
        if (child := os.fork()) == 0:
            database = Database.open(tmp_path / DATABASE)
            while True:
                follower_of(database, log).look(NOW)
        time.sleep(float(rng.uniform(0, 0.05)))
        os.kill(child, signal.SIGKILL)
        kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    database = followed(log, tmp_path / DATABASE)

    assert kills == 20
    assert kept(database, Period.ALL) == recount(log)
    assert kept(database, Period.HOUR, HOURS) == recount(log, HOUR_MS)
    database.close()


def test_a_transaction_that_fails_changes_neither_offsets_nor_sums(tmp_path, database, monkeypatch):
    log = tmp_path / "log"
    write(log, "impressions", [impression(1, "ada", START)])
    follower = follower_of(database, log)
    monkeypatch.setattr(database, "set_cursor", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        follower.look(NOW)
    assert read_sums(database, Period.ALL) == {}

    monkeypatch.undo()
    follower.look(NOW)

    assert ctr_of(database).trials == 1


def test_a_click_is_never_read_before_its_impression(tmp_path, database, monkeypatch):
    """A list and its click that are logged while the follower looks are both left for the next look."""
    log = tmp_path / "log"
    write(log, "impressions", [impression(1, "ada", START)])
    write(log, "clicks", [click(1, START)])
    follower = follower_of(database, log)
    record = follower._record

    def record_while_the_endpoint_writes(*arguments):
        record(*arguments)
        write(log, "impressions", [impression(2, "ada", START)])
        write(log, "clicks", [click(2, START)])
        monkeypatch.undo()

    monkeypatch.setattr(follower, "_record", record_while_the_endpoint_writes)
    follower.look(NOW)
    assert ctr_of(database)[1:3] == (1, 1)
    follower.look(NOW)

    assert ctr_of(database)[1:3] == (2, 2)
    assert row_counts(database) == {("impressions", ""): 2, ("clicks", ""): 2}


def test_an_order_is_without_a_click_until_the_click_is_read(tmp_path, database):
    """Ada orders from two lists without a click, bob after a click; then ada's clicks arrive, one by one."""
    log, follower = tmp_path / "log", follower_of(database, tmp_path / "log")

    def share():
        (sums,) = read_sums(database, Period.ALL).values()
        return sums[ORDERS_WITHOUT_CLICK][:3]

    write(log, "impressions", [impression(n, "bob" if n else "ada", START) for n in (0, 1)])
    write(log, "impressions", [impression(2, "ada", START), impression(3, "eve", START)])
    write(log, "clicks", [click(1, START + 5)])
    write(log, "orders", [order(n, START + 9) for n in (0, 1, 2)])
    follower.look(NOW)
    assert share() == (2, 2, 1)  # users with an order; of them, ada
    assert row_counts(database)["orders", "order without a click"] == 2

    write(log, "clicks", [click(0, START + 5)])
    follower.look(NOW)
    assert share() == (2, 2, 1)
    write(
        log, "clicks", [click(2, START + 30 * HOUR_MS)]
    )  # late, but not lost: its order does not count
    follower.look(NOW)
    assert share() == (2, 2, 0)
    assert row_counts(database)["clicks", "outside the attribution window"] == 1


def test_problems_are_counted_by_table(tmp_path, database):
    log = tmp_path / "log"
    write(log, "impressions", [impression(1, "ada", START), impression(1, "ada", START)])
    write(log, "impressions", [impression(2, "ada", START, explored=True), {"user": "ada"}])
    write(log, "impressions", [impression(3, "qa", START), impression(4, "x", START, group=None)])
    write(log, "clicks", [click(1, START), click(1, START + 1), click(7, START)])
    write(log, "clicks", [click(8, START, known_impression=False), click(2, START)])
    write(log / "other", "clicks", [click(1, START + 2, event=f"e{START}")])
    write(log, "orders", [*2 * [order(1, START + 9, event=None)], order(3, START)])
    write(log, "orders", [order(1, START + 9 + 25 * HOUR_MS), order(1, START, units="2")])

    follower_of(database, log, forced={"qa": "g1"}).look(NOW)

    assert row_counts(database) == {
        ("impressions", ""): 1,
        ("impressions", "duplicate"): 1,
        ("impressions", "explored list"): 1,
        ("impressions", "forced assignment"): 1,
        ("impressions", "invalid row"): 1,
        ("impressions", "outside the experiment"): 1,
        ("clicks", ""): 1,
        ("clicks", "impression that does not count"): 1,
        ("clicks", "no impression"): 1,
        ("clicks", "repeated click"): 1,
        ("clicks", "sent again"): 1,
        ("clicks", "unknown impression"): 1,
        ("orders", ""): 1,
        ("orders", "duplicate"): 1,
        ("orders", "impression that does not count"): 1,
        ("orders", "invalid row"): 1,
        ("orders", "outside the attribution window"): 1,
    }


def test_what_no_event_can_change_any_more_is_forgotten_and_sums_stay(tmp_path, database):
    log = tmp_path / "log"
    write(log, "impressions", [impression(1, "ada", START), impression(2, "ada", START + HOUR_MS)])
    follower = follower_of(database, log)
    follower.look(NOW)
    before = kept(database, Period.HOUR, HOURS)

    write(log, "impressions", [impression(3, "ada", START + 80 * HOUR_MS)])
    follower.look(NOW)

    count = "SELECT count(*) FROM impressions"
    assert database.connection.execute(count).fetchone() == (1,)
    assert kept(database, Period.HOUR, HOURS) == before
    assert ctr_of(database)[:2] == (1, 3)  # one user, who has not become two


def test_arms_by_release_and_stage(tmp_path, database):
    log = tmp_path / "log"
    arm = {"group": None, "arm": "candidate", "release": "r1"}
    write(log, "impressions", [impression(1, "ada", START, **arm, stage="canary")])
    write(log, "impressions", [impression(2, "ada", START, **arm, stage="half")])
    write(log, "impressions", [impression(3, "bob", START, **arm, stage="half", switched=True)])
    write(
        log, "impressions", [impression(4, "eve", START, **arm | {"release": "r0"}, stage="half")]
    )
    follower_of(database, log).look(NOW)

    found = read_sums(database, Period.ALL)

    assert {
        (part.arm, part.release, part.stage): sums["ctr"].trials for part, sums in found.items()
    } == {
        ("candidate", "r1", "canary"): 1,
        ("candidate", "r1", "half"): 1,
        ("candidate", "r0", "half"): 1,
    }


def test_the_table_has_one_row_per_hour_group_and_statistic(tmp_path, database):
    log = tmp_path / "log"
    write(log, "impressions", [impression(1, "ada", START), impression(2, "ada", START + HOUR_MS)])
    write(log, "clicks", [click(1, START)])
    follower_of(database, log).look(NOW)

    table = hourly_table(database, ["ctr", "cvr"])

    assert table.select("group", "statistic", "trials", "successes", "users").rows() == [
        ("g1", "ctr", 1, 1, 1),
        ("g1", "cvr", 1, 0, 1),
        ("g1", "ctr", 1, 0, 1),
    ]
    assert table["hour"].dt.epoch("ms").to_list() == [START, START, START + HOUR_MS]
    assert table.schema["sum_yy"] == pl.Float64
    assert lists_by_hour(database) == {START // HOUR_MS: 1, START // HOUR_MS + 1: 1}


def test_squares_of_revenue_are_exact_beyond_64_bits(tmp_path, database):
    log, much = tmp_path / "log", 999_999_999_999_989
    write(log, "impressions", [impression(n, "ada", START + n) for n in range(2)])
    write(log, "clicks", [click(n, START + 9) for n in range(2)])
    write(log, "orders", [order(n, START + 10, 1, much) for n in range(2)])

    follower_of(database, log).look(NOW)

    (by_kpi,) = read_sums(database, Period.ALL).values()
    assert by_kpi["revenue_per_user"] == (1, 1, 2 * much, 1, 2 * much, (2 * much) ** 2)
    assert recount(log)[0, "g1", None, None, "units_per_impression"] == (1, 2, 2, 4, 4, 4)


def test_a_damaged_compressed_file_is_named_and_its_rows_count_once(tmp_path, database, caplog):
    log = tmp_path / "log"
    shown = [impression(n, f"u{n}", START + n) for n in range(9_000)]
    path = write(log, "impressions", shown, suffix=".jsonl")
    compress(path)
    compressed = next(log.glob("*.gz"))
    whole = compressed.read_bytes()
    compressed.write_bytes(whole[: len(whole) // 2])

    follower = follower_of(database, log)
    read = follower.look(NOW)
    assert 0 < read < 9_000
    assert f".jsonl.gz is damaged after {read} rows" in caplog.text
    assert row_counts(database)["impressions", "damaged file"] == 1
    assert follower.look(NOW) == 0  # and it is not named again
    (alarm,) = quality_alarms(row_counts(database))
    assert alarm.text.startswith("1 file of impressions damaged in the last day: rows are lost")

    compressed.write_bytes(whole)
    assert follower.look(NOW) == 9_000 - read
    assert ctr_of(database)[1] == 9_000


def test_what_is_in_the_place_of_log_and_database_is_named(tmp_path, database):
    (tmp_path / "a file").write_text("")
    with pytest.raises(StorageError, match="a file cannot be written: Not a directory"):
        follower_of(database, tmp_path / "a file").look(NOW)
    with pytest.raises(StorageError, match="a file cannot be written: File exists"):
        Database.open(tmp_path / "a file" / DATABASE)
    (tmp_path / "other" / DATABASE).mkdir(parents=True)
    with pytest.raises(DataError, match=r"monitor\.sqlite cannot be used: .*move away what is in"):
        Database.open(tmp_path / "other" / DATABASE)


def test_a_damaged_database_is_named_with_what_to_do(tmp_path):
    (tmp_path / DATABASE).write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match=r"monitor\.sqlite cannot be used: .* delete it"):
        Database.open(tmp_path / DATABASE)

    (tmp_path / DATABASE).unlink()
    other = Database.open(tmp_path / DATABASE)
    other.connection.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(DataError, match=r"has format 99, expected 2; delete it"):
        Database.open(tmp_path / DATABASE)
