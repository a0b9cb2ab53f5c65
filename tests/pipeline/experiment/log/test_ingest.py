"""The database depends on files, plan and rules only, not on the history of ingestions."""

import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest

from pipeline.core.errors import LogError
from pipeline.experiment.log import ingest as ingestion
from pipeline.experiment.log.ingest import Ingestion, summarise
from pipeline.experiment.log.reading.log_folder import log_files
from tests.pipeline.experiment.logs import (
    PLAN,
    TS,
    contents,
    impression,
    ingest,
    users_in,
    write_impressions,
)

USER = {group: users_in(group, 1)[0] for group in ("g1", "g2")}
OTHER_USER = users_in("g2", 2)[1]


def row(name, group="g1", /, **changes):
    """A clicked impression of the group's user without an order, with some fields changed."""
    defaults = {"user": USER[group], "group": group, "ordered": False, "units": 0}
    return impression(name, **(defaults | changes))


def impressions(database):
    return [impression for impression, *_ in contents(database)["impressions"]]


def rebuilt(files, plan, folder):
    """Contents of a database built from scratch."""
    database = folder / "rebuilt.duckdb"
    ingest(files, plan, database)
    return contents(database)


@pytest.fixture
def database(tmp_path):
    return tmp_path / "log.duckdb"


@pytest.fixture
def files(tmp_path):
    first = write_impressions(
        tmp_path / "a.parquet", [row("x1"), row("x2", "g2"), row("x3", units=-1)]
    )
    return [
        first,
        write_impressions(tmp_path / "b.parquet", [row("x4"), row("x5", "g2", group="g7")]),
    ]


def test_the_database_has_the_rows_of_the_files(files, database):
    result = ingest(files, PLAN, database)

    assert result == Ingestion(
        impressions=3, rejected={"unknown group": 1, "negative units": 1}, files=2, files_read=2
    )
    tables = contents(database)
    assert tables["impressions"] == [
        ("x1", USER["g1"], "g1", TS, True, False, 0, None, "a.parquet"),
        ("x2", USER["g2"], "g2", TS, True, False, 0, None, "a.parquet"),
        ("x4", USER["g1"], "g1", TS, True, False, 0, None, "b.parquet"),
    ]
    assert tables["rejected"] == [
        ("a.parquet", "invalid", "negative units", 1),
        ("b.parquet", "invalid", "unknown group", 1),
    ]


def test_the_summary_of_a_database_equals_that_of_its_ingestion(files, database):
    ingest(files, PLAN, database)

    assert summarise(database) == {
        "impressions": 3,
        "rejected": {"unknown group": 1, "negative units": 1},
        "files": 2,
    }


def test_ingesting_twice_reads_no_file_and_changes_no_row(files, database):
    once = ingest(files, PLAN, database)
    before = contents(database)

    twice = ingest(files, PLAN, database)

    assert contents(database) == before
    assert twice == replace(once, files_read=0)


@pytest.mark.slow
def test_a_new_file_is_read_and_the_known_ones_are_not(files, database, tmp_path):
    ingest(files[:1], PLAN, database)

    result = ingest(files, PLAN, database)

    assert result.files_read == 1
    assert contents(database) == rebuilt(files, PLAN, tmp_path)


@pytest.mark.slow
def test_a_changed_file_replaces_its_rows(files, database, tmp_path):
    ingest(files, PLAN, database)
    write_impressions(files[0], [row("x1", clicked=False), row("x6")])

    result = ingest(files, PLAN, database)

    assert result == Ingestion(impressions=3, rejected={"unknown group": 1}, files=2, files_read=2)
    assert impressions(database) == ["x1", "x4", "x6"]
    assert contents(database) == rebuilt(files, PLAN, tmp_path)


@pytest.mark.slow
def test_the_rows_of_a_removed_file_are_removed(files, database, tmp_path):
    ingest(files, PLAN, database)

    result = ingest(files[1:], PLAN, database)

    assert result == Ingestion(impressions=1, rejected={"unknown group": 1}, files=1, files_read=1)
    assert contents(database) == rebuilt(files[1:], PLAN, tmp_path)


def test_a_new_day_reads_one_file(files, database, tmp_path):
    ingest(files[:1], PLAN, database)

    result = ingest(files, PLAN, database)

    assert result.files_read == 1
    assert contents(database) == rebuilt(files, PLAN, tmp_path)


def test_which_of_two_duplicates_is_kept_does_not_depend_on_history(tmp_path, database):
    early = write_impressions(tmp_path / "a.parquet", [row("x1", clicked=False)])
    late = write_impressions(tmp_path / "b.parquet", [row("x1"), row("x2")])
    steps = ([late], [early, late], [late], [early, late])

    for files in steps:
        ingest(files, PLAN, database)

        assert contents(database) == rebuilt(files, PLAN, tmp_path)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_files_that_arrive_in_any_order_are_added_and_never_read_again(tmp_path, database, order):
    """One impression is in all three files, a user's covariates in two of them."""
    folder = tmp_path / "log"
    for name in ("replica-1", "replica-2", "replica-3"):
        (folder / name).mkdir(parents=True)
        rows = [row("x1", clicked=name == "replica-2"), row(name)]
        write_impressions(folder / name / "impressions-1.parquet", rows)
        users = pl.DataFrame({"user": ["ann"], "segment": [name]})
        users.write_parquet(folder / name / "users-1.parquet")
    files = log_files(folder, subfolders=True).files
    parts = [[one for one in files if name in one.source] for name in ("1/", "2/", "3/")]

    arrived = []
    for n in order:
        arrived += parts[n]
        result = ingestion.ingest(arrived, PLAN, database)

        assert result.files_read == 2

    assert result.rejected == {"duplicate impression": 2, "duplicate user": 2}
    ingestion.ingest(files, PLAN, tmp_path / "at-once.duckdb")
    assert contents(database) == contents(tmp_path / "at-once.duckdb")


def test_a_rejected_row_does_not_count_as_a_duplicate(tmp_path, database):
    rows = [row("x1", experiment="old", ts=TS - 1), row("x1")]

    result = ingest([write_impressions(tmp_path / "a.parquet", rows)], PLAN, database)

    assert result.impressions == 1
    assert result.rejected == {"another experiment": 1}


def test_a_rewritten_file_with_the_same_bytes_is_not_read(files, database):
    ingest(files, PLAN, database)
    files[0].write_bytes(files[0].read_bytes())

    assert ingest(files, PLAN, database).files_read == 0


@pytest.mark.slow
def test_a_changed_plan_reads_every_file_again(files, database, tmp_path):
    ingest(files, PLAN, database)
    first, second = PLAN.groups
    swapped = replace(PLAN, groups=(replace(first, name="g2"), replace(second, name="g1")))
    write_impressions(files[0], [row("x1"), row("x2", "g2"), row("x7", user=OTHER_USER)])

    result = ingest(files, swapped, database)

    assert result.files_read == 2
    assert impressions(database) == ["x7"]  # the only user in the group of the new plan
    assert contents(database) == rebuilt(files, swapped, tmp_path)


def test_a_log_without_a_valid_row_is_refused(tmp_path, database):
    files = [
        write_impressions(
            tmp_path / "a.parquet", [row("x1", units=-1), row("x2", experiment="old")]
        )
    ]

    with pytest.raises(LogError, match=r"no usable impression in 1 file; .*negative units"):
        ingest(files, PLAN, database)

    assert not database.exists()


def test_a_corrupt_file_leaves_the_database_byte_identical(files, database, tmp_path):
    ingest(files, PLAN, database)
    before, names = database.read_bytes(), sorted(tmp_path.iterdir())
    write_impressions(files[0], [row("x8")])
    files[1].write_bytes(files[1].read_bytes()[:-20])

    with pytest.raises(LogError, match=r"b\.parquet cannot be read completely as parquet"):
        ingest(files, PLAN, database)

    assert database.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == names


def test_a_failed_check_keeps_the_old_database(files, database, tmp_path):
    ingest(files[:1], PLAN, database)
    before, names = database.read_bytes(), sorted(tmp_path.iterdir())
    seen = []

    def refuse(fresh):
        seen.extend(impressions(fresh))
        raise LogError("four impressions are suspicious")

    with pytest.raises(LogError, match="suspicious"):
        ingest(files, PLAN, database, check=refuse)

    assert seen == ["x1", "x2", "x4"]  # the check reads the new database
    assert database.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == names


@pytest.mark.slow
def test_leftovers_of_a_killed_run_are_removed(files, database, tmp_path):
    ingest(files[:1], PLAN, database)
    left = tmp_path / ".log.duckdb.killed.new"
    left.mkdir()
    (left / "log.duckdb").write_bytes(b"half a copy")

    ingest(files, PLAN, database)

    assert contents(database) == rebuilt(files, PLAN, tmp_path)
    assert not left.exists()


def killed_script(database, sql):
    """Run SQL in another process, which is killed before the database is closed."""
    script = (
        "import duckdb, os, sys\nconnection = duckdb.connect(sys.argv[1])\n"
        "connection.execute(sys.argv[2])\nos.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(database), sql], check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE mine AS SELECT 1 AS x",
        "DELETE FROM logged_impressions",
        "CREATE TABLE mine AS SELECT 1 AS x; CHECKPOINT; INSERT INTO mine VALUES (2)",
    ],
)
@pytest.mark.parametrize("new_file", [True, False])
def test_a_script_that_died_while_writing_leaves_no_trace(files, database, tmp_path, sql, new_file):
    ingest(files[:1] if new_file else files, PLAN, database)
    killed_script(database, sql)
    assert database.with_name("log.duckdb.wal").exists()

    ingest(files, PLAN, database)

    assert contents(database) == rebuilt(files, PLAN, tmp_path)
    assert not database.with_name("log.duckdb.wal").exists()
    assert ingest(files, PLAN, database).files_read == 0


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"random bytes" * 500])
def test_a_damaged_database_is_rebuilt(files, database, tmp_path, content):
    ingest(files, PLAN, database)
    database.write_bytes(content)

    ingest(files, PLAN, database)

    assert contents(database) == rebuilt(files, PLAN, tmp_path)


@pytest.mark.slow
def test_a_database_that_another_process_holds_is_replaced(files, database, tmp_path):
    ingest(files[:1], PLAN, database)
    script = "import duckdb, sys\nc = duckdb.connect(sys.argv[1])\nprint(1, flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        other.stdout.readline()
        ingest(files, PLAN, database)
        assert contents(database) == rebuilt(files, PLAN, tmp_path)
        other.kill()


@pytest.mark.parametrize("folder", ["group=g9", "day=2025-10-01", "log[1]", "it's"])
def test_the_name_of_the_folder_does_not_affect_the_rows(tmp_path, database, folder):
    (tmp_path / folder).mkdir()
    file = write_impressions(tmp_path / folder / "a.parquet", [row("x1")])

    assert ingest([file], PLAN, database).impressions == 1
