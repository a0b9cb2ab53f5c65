"""``paretoscope ingest`` and ``validate-log``."""

import json
import shutil

import polars as pl
import pytest
import yaml

from pipeline.artifacts.storage import write_json
from pipeline.cli import main
from pipeline.core.contracts import IMPRESSIONS
from pipeline.experiment.log.ingest import summarise
from tests.pipeline.experiment.logs import PLAN, impression, users_in

STUDY = "data/studies/synthetic-shop"


def put(folder, name, *, groups=("g1", "g2"), **changes):
    """Write a file with one impression per group."""
    rows = [
        impression(f"{name}-{group}", user=users_in(group, 1)[0], group=group, **changes)
        for group in groups
    ]
    pl.DataFrame(rows, schema=IMPRESSIONS.columns).write_parquet(folder / f"{name}.parquet")


@pytest.fixture
def project(tmp_path, project_root, monkeypatch):
    """A study whose log is files, one file with two impressions."""
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))
    values["experiment"] |= {"name": PLAN.experiment, "source": "files", "log_path": "log"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    (tmp_path / "log").mkdir()
    plan = tmp_path / STUDY / "traffic_plan"
    plan.mkdir(parents=True)
    write_json(plan / "traffic_plan.json", PLAN.as_dict())
    put(tmp_path / "log", "a")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_only_new_files_are_read(project, capsys):
    first = main(["ingest"])
    put(project / "log", "b", groups=("g1",))
    second = main(["ingest"])
    third = main(["ingest"])

    assert (first, second, third) == (0, 0, 0)
    assert capsys.readouterr().out.splitlines() == [
        "2 impressions in the database; 1 of 1 file new or changed",
        "3 impressions in the database; 1 of 2 files new or changed",
        "3 impressions in the database; 0 of 2 files new or changed",
    ]


def test_counts_and_reasons_as_json(project, capsys):
    good = [impression(f"b{n}", user=user) for n, user in enumerate(users_in("g1", 99))]
    rows = [*good, impression("bad", units=-1)]
    pl.DataFrame(rows, schema=IMPRESSIONS.columns).write_parquet(project / "log/b.parquet")

    status = main(["ingest", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert status == 0
    assert {name: found[name] for name in ("impressions", "rejected", "files", "files_read")} == {
        "impressions": 2 + 99,
        "rejected": {"negative units": 1},
        "files": 2,
        "files_read": 2,
    }


def test_a_failed_blocking_check_leaves_the_database_unchanged(project, capsys):
    main(["ingest"])
    rows = [impression(f"b{n}", units=-1) for n in range(10)]
    pl.DataFrame(rows, schema=IMPRESSIONS.columns).write_parquet(project / "log/b.parquet")

    status = main(["ingest"])

    assert status == 1
    assert "refused, and nothing was written" in capsys.readouterr().err
    assert summarise(project / STUDY / "experiment.duckdb")["files"] == 1


def test_a_corrupt_file_leaves_the_database_unchanged(project, capsys):
    main(["ingest"])
    database = project / STUDY / "experiment.duckdb"
    before = database.read_bytes()
    (project / "log/b.parquet").write_bytes(b"no parquet")

    status = main(["ingest"])

    assert status == 1
    assert capsys.readouterr().err.startswith("paretoscope ingest: ")
    assert database.read_bytes() == before


def test_validate_log_finds_the_same_and_writes_nothing(project, capsys):
    status = main(["validate-log", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (status, found["log"]["impressions"]) == (0, 2)
    assert {row["group"] for row in found["group_kpis"]} == {"g1", "g2"}
    assert not (project / STUDY / "experiment.duckdb").exists()


def test_validate_log_and_ingest_refuse_the_same_log_in_the_same_words(project, capsys):
    rows = [impression(f"b{n}", units=-1) for n in range(10)]
    pl.DataFrame(rows, schema=IMPRESSIONS.columns).write_parquet(project / "log/b.parquet")

    statuses = main(["validate-log"]), main(["ingest"])

    validated, ingested = capsys.readouterr().err.splitlines()
    assert statuses == (1, 1)
    assert validated.removeprefix("paretoscope validate-log") == ingested.removeprefix(
        "paretoscope ingest"
    )
    assert "experiment.max_faulty_share" in validated
    assert "negative units" in validated


@pytest.mark.parametrize("command", ["validate-log", "ingest"])
def test_a_file_that_would_not_be_read_stops_both(project, capsys, command):
    (project / "log/clicks.xlsx").write_bytes(b"PK\x03\x04")

    assert main([command]) == 1
    assert "clicks.xlsx would not be read" in capsys.readouterr().err


def test_files_that_are_not_read_are_named(project, capsys):
    (project / "log/README.md").write_text("a note")

    assert main(["validate-log"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "not read: README.md"


def test_a_project_in_a_folder_with_brackets(project, tmp_path_factory, capsys, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("projects") / "ml [v2]"
    shutil.copytree(project, elsewhere)
    monkeypatch.chdir(elsewhere)

    assert main(["ingest"]) == 0
    assert capsys.readouterr().out.startswith("2 impressions in the database")


@pytest.mark.slow
def test_a_file_that_is_gone_is_named(project, caplog):
    put(project / "log", "b", groups=("g1",))
    main(["ingest"])
    (project / "log/a.parquet").unlink()

    assert main(["ingest"]) == 0

    assert "no longer in the log, and their rows removed: a.parquet" in caplog.text
    assert summarise(project / STUDY / "experiment.duckdb")["impressions"] == 1


@pytest.mark.parametrize("content", ["", ",".join(IMPRESSIONS.columns) + "\n"])
def test_a_file_without_a_row_is_named(project, caplog, content):
    (project / "log/b.csv").write_text(content)

    assert main(["ingest"]) == 0

    assert "without a row: b.csv" in caplog.text
