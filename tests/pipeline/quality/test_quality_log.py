"""Checks on the experiment's database, and what becomes of what a check found."""

import subprocess
import sys

import duckdb
import polars as pl
import pytest

from pipeline.core.contracts import IMPRESSIONS, REJECTED
from pipeline.core.errors import QualityError
from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.experiment.log.ingest import ingest
from pipeline.quality.expectation import forbid_rows
from pipeline.quality.runner import CheckResult, check_experiment_log, check_tables, enforce
from pipeline.quality.suites import RULES

PLAN = TrafficPlan(
    experiment="spring",
    salt="salt",
    list_length=5,
    groups=(
        Group(
            name="g1", preference_id="p0", preference=(0.0, 1.0), first_bucket=0, last_bucket=9999
        ),
    ),
)
BAD = {
    "impressions_not_empty": "DELETE FROM logged_impressions; DELETE FROM rejected_rows",
    "impressions_unique": "INSERT INTO logged_impressions FROM logged_impressions WHERE impression = 'x1'",
    "orders_follow_clicks": "UPDATE logged_impressions SET clicked = false WHERE impression = 'x1'",
    "orders_known_or_not": "UPDATE logged_impressions SET units = NULL WHERE impression = 'x1'",
    "users_in_one_group": """UPDATE logged_impressions SET "group" = 'g2' WHERE impression = 'x1'""",
    # 11 of 200 impressions in the file are just over 5 %
    "few_impressions_rejected": "UPDATE rejected_rows SET rows = 11",
}
WITHOUT = {
    "impression": {"impressions_unique"},
    "user": {"users_in_one_group"},
    '"group"': {"users_in_one_group"},
    "clicked": {"orders_follow_clicks"},
    "ordered": {"orders_known_or_not"},
    "units": {"orders_known_or_not"},
}
BLOCKING = forbid_rows("no_ghosts", "no row is a ghost", "rows", "ghost")
REPORTING = forbid_rows("few_echoes", "no row is an echo", "rows", "echo", blocking=False)


@pytest.fixture
def database(tmp_path):
    """The database of a file with 198 impressions of two users, all ordered, and 2 rejected."""
    rows = [
        {
            "experiment": "spring",
            "impression": f"x{n}",
            "user": f"u{n % 2}",
            "group": "g1",
            "ts": 1_757_000_000_000,
            "clicked": True,
            "ordered": True,
            "units": 1 if n < 198 else -1,
        }
        for n in range(200)
    ]
    file = tmp_path / "a.parquet"
    pl.DataFrame(rows, schema=IMPRESSIONS.columns).write_parquet(file)
    ingest([file], PLAN, tmp_path / "experiment.duckdb")
    return tmp_path / "experiment.duckdb"


def after(statement, database):
    """The rules that are broken once a statement has gone behind the ingestion's back."""
    with duckdb.connect(str(database)) as connection:
        connection.execute(statement)
    return {o.rule.name for o in check_experiment_log(database) if not o.passed}


def found(rule, *sample):
    return CheckResult(rule=rule, passed=not sample, unexpected=len(sample), sample=sample)


def test_a_log_that_was_taken_in_breaks_no_rule(database):
    outcomes = check_experiment_log(database)

    assert [outcome.rule for outcome in outcomes] == list(RULES["experiment_log"])
    assert all(outcome.passed for outcome in outcomes)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_log_breaks_its_rule_and_no_other(database, name):
    assert after(BAD[name], database) == {name}


def test_every_rule_on_the_log_is_broken_by_one_of_the_bad_logs():
    assert list(BAD) == [rule.name for rule in RULES["experiment_log"]]


def test_many_bots_are_no_fault_of_the_log(database):
    many = (
        "INSERT INTO excluded_rows VALUES ('a.parquet', 'more than 500 impressions per hour', 150)"
    )

    assert after(many, database) == set()


@pytest.mark.parametrize("column", WITHOUT)
def test_a_null_in_the_log_breaks_the_rule_that_speaks_of_it(database, column):
    statement = (
        "CREATE OR REPLACE TABLE logged_impressions AS SELECT * REPLACE "
        f"(CASE WHEN impression <> 'x1' THEN {column} END AS {column}) FROM logged_impressions"
    )

    assert after(statement, database) == WITHOUT[column]


def test_a_log_that_tells_nothing_of_orders_breaks_no_rule(database):
    clicks_alone = "UPDATE logged_impressions SET ordered = NULL, units = NULL"

    assert after(clicks_alone, database) == set()


def test_checking_a_log_leaves_it_as_it_is(database):
    before = database.read_bytes()

    check_experiment_log(database)

    assert database.read_bytes() == before


def test_rule_names_are_unique_within_an_artifact():
    for rules in RULES.values():
        names = [rule.name for rule in rules]
        assert len(set(names)) == len(names)


def test_a_broken_blocking_rule_is_refused_with_its_rows():
    outcomes = [found(BLOCKING, "{'name': 'Casper'}", "{'name': 'Slimer'}")]

    with pytest.raises(QualityError) as error:
        enforce(outcomes)

    assert str(error.value) == (
        "refused, and nothing was written: no_ghosts: not true that no row is a ghost. "
        "2 rows, for example {'name': 'Casper'}, {'name': 'Slimer'}"
    )


def test_a_broken_rule_that_only_reports_is_not_refused():
    outcomes = [found(BLOCKING), found(REPORTING, "{'name': 'Narcissus'}")]

    assert enforce(outcomes) == outcomes


def test_a_refusal_names_every_blocking_rule_and_no_other():
    another = forbid_rows("no_gaps", "no row is a gap", "rows", "gap")

    with pytest.raises(QualityError, match=r"no_ghosts.*; no_gaps") as error:
        enforce([found(BLOCKING, "r1"), found(REPORTING, "r2"), found(another, "r3")])

    assert "few_echoes" not in str(error.value)


def test_a_waived_rule_is_not_refused_and_every_other_one_is():
    another = forbid_rows("no_gaps", "no row is a gap", "rows", "gap")
    outcomes = [found(BLOCKING, "r1"), found(another, "r2")]

    with pytest.raises(QualityError) as error:
        enforce(outcomes, waived={"no_ghosts"})

    assert "no_gaps" in str(error.value)
    assert "no_ghosts" not in str(error.value)
    assert enforce(outcomes, waived={"no_ghosts", "no_gaps"}) == outcomes


def test_rows_that_broke_a_rule_reach_the_user(tmp_path):
    files = {name: tmp_path / f"{name}.parquet" for name in ("events", "rejected")}
    pl.DataFrame(
        {"session": ["s1"], "ts": [1_757_000_000_000], "item": ["a"], "event_type": ["view"]}
    ).write_parquet(files["events"])
    pl.DataFrame(schema=REJECTED.schema).write_parquet(files["rejected"])

    with pytest.raises(
        QualityError, match=r"event_kinds_known: .*'session': 's1'.*'event_type': 'view'"
    ):
        enforce(check_tables("events", files, {"max_rejected_share": 0.05}))


def test_a_rule_that_cannot_run_is_an_error_and_not_a_pass(tmp_path):
    file = tmp_path / "events.parquet"
    pl.DataFrame({"session": ["s1"], "ts": [1_757_000_000_000]}).write_parquet(file)

    with pytest.raises(QualityError, match=r"check event_fields_present could not run: .*item"):
        check_tables("events", {"events": file})


def test_naming_the_rules_does_not_import_great_expectations():
    code = "import sys; from pipeline.quality.suites import RULES; print('great_expectations' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
