"""Checks on the experiment's database, and the enforcement of rules."""

import subprocess
import sys

import duckdb
import polars as pl
import pytest

from pipeline.core.contracts import REJECTED
from pipeline.core.errors import QualityError
from pipeline.quality.expectation import CheckResult, forbid_rows
from pipeline.quality.runner import check_experiment_log, check_tables, enforce
from pipeline.quality.suites import RULES
from tests.pipeline.experiment.logs import impression, ingest_folder, plan_of, write_impressions

PLAN = plan_of(1)
BAD = {
    "impressions_not_empty": "DELETE FROM logged_impressions; DELETE FROM rejected_rows",
    "impressions_unique": "INSERT INTO logged_impressions FROM logged_impressions WHERE impression = 'x1'",
    "orders_follow_clicks": "UPDATE logged_impressions SET clicked = false WHERE impression = 'x1'",
    "orders_complete_or_absent": "UPDATE logged_impressions SET units = NULL WHERE impression = 'x1'",
    "users_in_one_group": """UPDATE logged_impressions SET "group" = 'g2' WHERE impression = 'x1'""",
    # 11 of the log's 200 rows are just over 5%
    "faulty_rows_within_limit": "UPDATE rejected_rows SET rows = 11",
}
WITHOUT = {
    "impression": {"impressions_unique"},
    "user": {"users_in_one_group"},
    '"group"': {"users_in_one_group"},
    "clicked": {"orders_follow_clicks"},
    "ordered": {"orders_complete_or_absent"},
    "units": {"orders_complete_or_absent"},
}
BLOCKING = forbid_rows("no_ghosts", "no row is a ghost", "rows", "ghost")
REPORTING = forbid_rows("no_echoes", "no row is an echo", "rows", "echo", blocking=False)


@pytest.fixture
def database(tmp_path):
    """A database of one file with 198 ordered impressions of two users, and 2 rejected ones."""
    rows = [impression(f"x{n}", user=f"u{n % 2}", units=1 if n < 198 else -1) for n in range(200)]
    write_impressions(tmp_path / "a.parquet", rows)
    ingest_folder(tmp_path, PLAN)
    return tmp_path / "log.duckdb"


def after(statement, database):
    """The rules that are broken after a statement on the database."""
    with duckdb.connect(str(database)) as connection:
        connection.execute(statement)
    return {o.rule.name for o in check_experiment_log(database) if not o.passed}


def found(rule, *sample):
    return CheckResult(rule=rule, passed=not sample, unexpected=len(sample), sample=sample)


@pytest.mark.slow
def test_an_ingested_log_passes_all_rules(database):
    outcomes = check_experiment_log(database)

    assert [outcome.rule for outcome in outcomes] == list(RULES["experiment_log"])
    assert all(outcome.passed for outcome in outcomes)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_log_breaks_its_rule_only(database, name):
    assert after(BAD[name], database) == {name}


def test_every_rule_has_a_bad_log():
    assert list(BAD) == [rule.name for rule in RULES["experiment_log"]]


def test_many_bots_do_not_fail_the_log(database):
    many = (
        "INSERT INTO excluded_rows VALUES ('a.parquet', 'out of scope', 'more than 500 impressions per "
        "hour', 'g1', 150)"
    )

    assert after(many, database) == set()


@pytest.mark.parametrize("column", WITHOUT)
def test_a_null_in_the_log_breaks_the_rule_on_the_field(database, column):
    statement = (
        "CREATE OR REPLACE TABLE logged_impressions AS SELECT * REPLACE "
        f"(CASE WHEN impression <> 'x1' THEN {column} END AS {column}) FROM logged_impressions"
    )

    assert after(statement, database) == WITHOUT[column]


def test_a_log_without_orders_passes_all_rules(database):
    clicks_only = "UPDATE logged_impressions SET ordered = NULL, units = NULL"

    assert after(clicks_only, database) == set()


def test_checking_a_log_does_not_change_it(database):
    before = database.read_bytes()

    check_experiment_log(database)

    assert database.read_bytes() == before


def test_rule_names_are_unique_within_an_artifact():
    for rules in RULES.values():
        names = [rule.name for rule in rules]
        assert len(set(names)) == len(names)


def test_a_broken_blocking_rule_is_refused_with_its_rows():
    outcomes = [found(BLOCKING, "name = Casper", "name = Slimer")]

    with pytest.raises(QualityError) as error:
        enforce(outcomes)

    assert str(error.value) == (
        "artifact refused, and nothing was written: no_ghosts: expected that no row is a ghost. "
        "2 rows, for example name = Casper; name = Slimer"
    )


def test_a_broken_reporting_rule_does_not_fail():
    outcomes = [found(BLOCKING), found(REPORTING, "{'name': 'Narcissus'}")]

    assert enforce(outcomes) == outcomes


def test_the_error_names_every_broken_blocking_rule():
    another = forbid_rows("no_gaps", "no row is a gap", "rows", "gap")

    with pytest.raises(QualityError, match=r"no_ghosts.*; no_gaps") as error:
        enforce([found(BLOCKING, "r1"), found(REPORTING, "r2"), found(another, "r3")])

    assert "no_echoes" not in str(error.value)


def test_a_waived_rule_does_not_fail():
    another = forbid_rows("no_gaps", "no row is a gap", "rows", "gap")
    outcomes = [found(BLOCKING, "r1"), found(another, "r2")]

    with pytest.raises(QualityError) as error:
        enforce(outcomes, waived={"no_ghosts"})

    assert "no_gaps" in str(error.value)
    assert "no_ghosts" not in str(error.value)
    assert enforce(outcomes, waived={"no_ghosts", "no_gaps"}) == outcomes


@pytest.mark.slow
def test_the_error_has_rows_that_broke_the_rule(tmp_path):
    files = {name: tmp_path / f"{name}.parquet" for name in ("events", "rejected")}
    pl.DataFrame(
        {"session": ["s1"], "ts": [1_757_000_000_000], "item": ["a"], "event_type": ["view"]}
    ).write_parquet(files["events"])
    pl.DataFrame(schema=REJECTED.schema).write_parquet(files["rejected"])

    with pytest.raises(
        QualityError, match=r"event_types_known: .*session = s1, .*event_type = view"
    ):
        enforce(check_tables("events", files, {"max_rejected_share": 0.05}))


def test_a_rule_that_cannot_run_is_an_error(tmp_path):
    file = tmp_path / "events.parquet"
    pl.DataFrame({"session": ["s1"], "ts": [1_757_000_000_000]}).write_parquet(file)

    with pytest.raises(QualityError, match=r"check event_fields_present could not run: .*item"):
        check_tables("events", {"events": file})


@pytest.mark.slow
def test_importing_the_rules_does_not_import_great_expectations():
    code = "import sys; from pipeline.quality.suites import RULES; print('great_expectations' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
