"""The doctor finds injected problems, prints fixes, and passes a healthy project."""

import json
import os
import subprocess
import tomllib

import pytest
import yaml

from pipeline.artifacts.project import choose_study
from pipeline.artifacts.provenance import environment_info
from pipeline.artifacts.storage import StudyPaths, md5, write_json
from pipeline.cli import main
from pipeline.core.asset_graph import ASSET_GRAPH
from pipeline.doctor.artifacts import check_artifacts, check_manifest
from pipeline.doctor.capacity import GIB, available_memory, check_capacity, memory_bytes
from pipeline.doctor.environment import check_dvc_remote, check_packages, check_variables
from pipeline.doctor.finding import Status
from pipeline.doctor.run import run_checks
from pipeline.study import load_study
from tests.pipeline.experiment.logs import PLAN, TS, impression, ingest

RAW = "data/raw/synthetic-shop.jsonl"
SHOP = {"items": 60, "categories": 4, "users": 20, "sessions": 50, "days": 5}


@pytest.fixture
def project(tmp_path, project_root, monkeypatch):
    """A project whose study has not run."""
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))
    values["synthetic"] |= SHOP
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    main(["generate"])
    return tmp_path


def open_study(project):
    study = load_study(project / "params.yaml")
    return study, StudyPaths.of(study, project)


def age(path, *, seconds):
    """Move the modification time of a file or of a folder's files back."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        written = file.stat().st_mtime - seconds
        os.utime(file, (written, written))


@pytest.fixture
def finished(project):
    """A project with a file per artifact, each newer than its inputs."""
    study, paths = open_study(project)
    log = paths.folder / "experiment_log_files"
    for asset in ASSET_GRAPH:
        if asset not in {"raw_events", "experiment_log", "experiment_log_files"}:
            folder = paths.folder / ("report" if asset == "regression_report" else asset)
            folder.mkdir(parents=True)
            (folder / "file.txt").write_text(asset, encoding="utf-8")
    write_json(paths.folder / "sessions/summary.json", {"items": 60})
    log.mkdir()
    rows = [json.dumps(impression(f"x{n}")) for n in range(3)]
    (log / "impressions.jsonl").write_text("\n".join(rows), encoding="utf-8")
    ingest([log / "impressions.jsonl"], PLAN, paths.folder / "experiment.duckdb")
    for number, asset in enumerate(reversed(ASSET_GRAPH)):
        name = {"regression_report": "report", "experiment_log": "experiment.duckdb"}.get(
            asset, asset
        )
        if asset != "raw_events":
            age(paths.folder / name, seconds=10 * number)
    age(project / RAW, seconds=1000)
    return study, paths


def manifest_of(study, paths):
    files = [file for file in paths.folder.rglob("*") if file.is_file()]
    return {
        "parameters": study.as_dict(),
        "provenance": {"code": "unchanged", **environment_info()},
        "outputs": {file.relative_to(paths.folder).as_posix(): md5(file) for file in files},
    }


def statuses(found):
    return [(one.check, one.status) for one in found]


# environment


def test_package_versions_are_compared_with_the_pins(tmp_path):
    pins = tmp_path / "constraints.txt"
    pins.write_text("polars==2.1.0\nruamel.yaml==0.19.1\ntorch==2.13.0\nabsent==1\n", "utf-8")
    there = {"polars": "2.1.0", "ruamel-yaml": "0.19.1", "torch": "2.13.0+cpu"}

    same = list(check_packages(pins, there, {"polars"}))
    other = list(check_packages(pins, there | {"polars": "1.9"}, {"polars"}))
    missing = list(check_packages(pins, there, {"polars", "rich"}))

    assert statuses(same) == [("packages", Status.OK)]
    assert same[0].message == "3 packages have the pinned versions"
    assert statuses(other) == [("packages", Status.WARNING)]
    assert "polars 1.9 (pinned 2.1.0)" in other[0].message
    assert statuses(missing) == [("packages", Status.ERROR)]
    assert missing[0].message == "not installed: rich"
    assert missing[0].fix.startswith("pip install --constraint constraints.txt")


def test_environment_variables_of_dagster(tmp_path):
    (tmp_path / ".dagster").mkdir()
    home = str(tmp_path / ".dagster")

    def states(**environment):
        return [one.status for one in check_variables(tmp_path, environment)]

    assert states() == [Status.WARNING, Status.WARNING]
    _, module = check_variables(tmp_path, {})
    subprocess.run(["sh", "-c", module.fix], check=True)
    found = tomllib.loads((tmp_path / "pyproject.toml").read_text("utf-8"))
    assert found["tool"]["dagster"]["module_name"] == "assets.definitions"
    assert states(DAGSTER_HOME=home) == [Status.OK, Status.OK]
    assert states(DAGSTER_HOME="/none/such")[0] is Status.ERROR
    inherited = {"DAGSTER_HOME": str(tmp_path), "DAGSTER_MODULE_NAME": "assets.definitions"}
    assert states(**inherited) == [Status.WARNING] * 2


@pytest.mark.parametrize(
    ("config", "status"),
    [
        (None, Status.WARNING),
        ("[core]\n    analytics = false\n", Status.WARNING),
        ("[core]\n    remote = s\n['remote \"s\"']\n    url = s3://bucket\n", Status.OK),
        ("[core]\n    remote = s\n['remote \"s\"']\n    url = ../store\n", Status.OK),
        ("[core]\n    remote = s\n['remote \"s\"']\n    url = ../lost\n", Status.ERROR),
        ("no section", Status.ERROR),
    ],
)
def test_the_dvc_remote(tmp_path, config, status):
    (tmp_path / "store").mkdir()
    if config is not None:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc/config").write_text(config, encoding="utf-8")

    assert check_dvc_remote(tmp_path).status is status


@pytest.mark.slow
def test_a_remote_configured_by_dvc_is_read(tmp_path):
    for command in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["dvc", "remote", "add", "-d", "s", "store"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    missing = check_dvc_remote(tmp_path)
    (tmp_path / "store").mkdir()

    assert missing.status is Status.ERROR
    assert check_dvc_remote(tmp_path).status is Status.OK


# study and data


@pytest.mark.slow
def test_invalid_parameters_are_an_error_and_stop_the_checks_of_the_study(project):
    with (project / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("\nmodle: {}\n")

    *_, last = run_checks(choose_study())

    assert (last.check, last.status) == ("params.yaml", Status.ERROR)
    assert "modle" in last.message


@pytest.mark.slow
def test_raw_data_is_compared_with_its_pin(project):
    def raw():
        return next(one for one in run_checks(choose_study()) if one.check == "raw data")

    unpinned = raw()
    pin = {"outs": [{"md5": md5(project / RAW), "path": "synthetic-shop.jsonl"}]}
    (project / f"{RAW}.dvc").write_text(yaml.safe_dump(pin), encoding="utf-8")
    pinned = raw()
    (project / RAW).write_text("other\n", encoding="utf-8")
    other = raw()
    (project / RAW).unlink()
    missing = raw()

    assert unpinned.status is Status.WARNING
    assert (unpinned.fix or "").endswith(f"dvc add {RAW}")
    assert (pinned.status, pinned.fix) == (Status.OK, None)
    assert other.status is Status.ERROR
    assert other.fix is None  # its bytes are nowhere to be restored from
    assert "restore it or pin the change" in other.message
    assert missing.status is Status.ERROR
    assert "is missing" in missing.message
    assert missing.fix == f"copy the log to {RAW}, or correct dataset.path in params.yaml"


# artifacts


def test_a_study_that_has_not_run_is_a_warning(project):
    (found,) = check_artifacts(*open_study(project))

    assert (found.status, found.fix) == (Status.WARNING, "paretoscope study")
    assert found.message.startswith("12 of 12 are missing: events, sessions")


def test_artifacts_newer_than_their_inputs_are_ok(finished):
    found = list(check_artifacts(*finished))

    assert statuses(found) == [("artifacts", Status.OK), ("database", Status.OK)]
    assert found[1].message == "3 impressions from 1 file"


def test_an_outdated_artifact_is_an_error_with_a_command(finished):
    study, paths = finished
    age(paths.folder / "conditioned_model", seconds=500)

    found = list(check_artifacts(study, paths))

    assert [one.message for one in found if one.status is Status.ERROR] == [
        "conditioned_model is older than sessions"
    ]
    assert found[0].fix == "dagster asset materialize --select 'conditioned_model*'"


def test_events_older_than_the_raw_data_are_outdated(finished):
    study, paths = finished
    (paths.root / RAW).write_text("new\n", encoding="utf-8")

    (found, *_) = check_artifacts(study, paths)

    assert (found.status, found.message) == (Status.ERROR, "events is older than the raw data")


def test_files_of_the_manifest_are_not_outdated_whatever_their_age(finished):
    study, paths = finished
    write_json(paths.folder / "manifest.json", manifest_of(study, paths))
    age(paths.folder / "regression_estimates", seconds=10_000)

    found = list(check_artifacts(study, paths))

    assert [one.message for one in found if one.status is Status.ERROR] == []


def test_a_log_file_changed_after_ingestion_is_found_whatever_its_age(finished):
    study, paths = finished
    file = paths.folder / "experiment_log_files/impressions.jsonl"
    file.write_text(json.dumps(impression("y", ts=TS + 1)), encoding="utf-8")
    age(file, seconds=10_000)

    (found, *_) = [
        one for one in check_artifacts(study, paths) if one.message.startswith("experiment_log ")
    ]

    assert found.message == "experiment_log is older than impressions.jsonl"


def test_a_corrupt_database_is_an_error(finished, capsys):
    _, paths = finished
    (paths.folder / "experiment.duckdb").write_bytes(b"no database")

    status = main(["doctor", "--json"])

    found = json.loads(capsys.readouterr().out)
    messages = [one["message"] for one in found["findings"] if one["check"] == "artifacts"]
    assert status == 1
    assert any("experiment.duckdb cannot be read" in message for message in messages)


def test_the_manifest_is_compared_with_parameters_and_versions(finished, monkeypatch):
    study, paths = finished
    monkeypatch.setattr("pipeline.doctor.artifacts.code_version", lambda _: "unchanged")
    manifest = manifest_of(study, paths)

    same = list(check_manifest(manifest, study, paths, {}))
    manifest["parameters"]["training"]["epochs"] = 3
    manifest["parameters"]["serving"]["threads"] = 9  # no result depends on it
    manifest["provenance"]["packages"] = environment_info()["packages"] | {"polars": "1.9"}
    other = list(check_manifest(manifest, study, paths, {}))

    assert statuses(same) == [("manifest", Status.OK)]
    assert statuses(other) == [("manifest", Status.ERROR), ("manifest", Status.WARNING)]
    assert other[0].message == "the report has other values of: training.epochs"
    assert other[1].message.startswith("the report was created with polars 1.9 (now ")


def test_artifacts_changed_since_the_report_are_a_warning(finished, monkeypatch):
    study, paths = finished
    monkeypatch.setattr("pipeline.doctor.artifacts.code_version", lambda _: "unchanged")
    write_json(paths.folder / "manifest.json", manifest_of(study, paths))
    (paths.folder / "pareto_front/file.txt").write_text("new", encoding="utf-8")

    found = list(check_artifacts(study, paths))

    changed = [one.message for one in found if one.message.startswith("changed since the report")]
    assert changed == ["changed since the report: pareto_front"]


# resources


@pytest.mark.parametrize(
    ("free", "status"), [(20, Status.OK), (14, Status.WARNING), (9, Status.ERROR)], ids=str
)
def test_free_is_compared_with_required(free, status):
    assert check_capacity("disk", free=free * GIB, need=10 * GIB).status is status


def test_available_memory_is_none_on_other_systems(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  99 kB\nMemAvailable:    2048 kB\n", encoding="ascii")

    assert available_memory(meminfo) == 2048 * 1024
    assert available_memory(tmp_path / "none") is None


def test_memory_without_negative_sampling(project):
    study, paths = open_study(project)
    all_items = {"all": True, "uniform": 0}
    everything = load_study(project / "params.yaml", {"training.negatives": all_items})
    (paths.folder / "sessions").mkdir(parents=True)
    write_json(paths.folder / "sessions/summary.json", {"items": 1_000_000})

    few, many = (memory_bytes(one, paths) for one in (study, everything))

    # weights, gradients and two means of a million items of width 64; scores and their gradient
    assert many == GIB + 4 * 4 * 1_000_000 * 64 + 2 * 4 * 128 * 50 * 1_000_000
    assert few == 2 * GIB


# the command


@pytest.mark.usefixtures("project")
def test_the_command_prints_findings_and_fixes(capsys):
    capsys.readouterr()
    status = main(["doctor"])

    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert "✓ params.yaml: study synthetic-shop, all keys valid" in lines
    assert lines[lines.index("    → paretoscope study") - 1].startswith("! artifacts: 12 of 12")
    assert lines[-1].startswith("errors: 0, warnings: ")


def test_the_command_fails_if_there_is_an_error(project, capsys):
    (project / RAW).unlink()
    capsys.readouterr()

    status = main(["doctor", "--json"])

    found = json.loads(capsys.readouterr().out)
    states = [one["status"] for one in found["findings"]]
    assert (status, found["error"]) == (1, states.count("error"))
    assert found["error"] >= 1
    assert all(one["fix"] for one in found["findings"] if one["status"] != "ok")
