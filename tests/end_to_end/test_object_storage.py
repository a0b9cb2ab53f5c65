"""A study whose raw data, log and artifacts are on object storage, run by machines that share nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from paretoscope import open_study
from tests.s3_server import s3_server

pytestmark = pytest.mark.slow

REPORT = "data/studies/synthetic-shop/report"


def test_machines_that_share_only_the_storage_end_in_the_report_of_one(
    finished_study, small_params, project_root, tmp_path, monkeypatch
):
    raw = finished_study / "data/raw/synthetic-shop.jsonl"
    log = finished_study / "data/studies/synthetic-shop/experiment_log_files"
    alone = shutil.copytree(finished_study, tmp_path / "alone")
    _write_params(alone, small_params, dataset=str(raw), log=str(log))
    for step in ("experiment_log_files", "experiment_log", "group_kpis"):
        open_study(alone).run_step(step)
    for step in ("regression_estimates", "regression_report"):
        open_study(alone).run_step(step)

    with s3_server() as storage:
        storage.put("raw/synthetic-shop.jsonl", raw.read_bytes())
        for file in log.iterdir():
            storage.put(f"logs/pareto-1/{file.name}", file.read_bytes())
        urls = {"dataset": "s3://shop/raw/synthetic-shop.jsonl", "log": "s3://shop/logs/pareto-1"}
        variables = {**storage.variables, "PARETOSCOPE_STORAGE_URL": "s3://shop/studies"}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        training = _machine(tmp_path / "training", small_params, **urls)
        open_study(training).run("traffic_plan")
        analysis = _machine(tmp_path / "analysis", small_params, **urls)
        _paretoscope(analysis, project_root, "study", "--select", "experiment_log_files*")
        reader = _machine(tmp_path / "reader", small_params, **urls)
        _paretoscope(reader, project_root, "pull")

    assert not (training / REPORT).exists()
    assert not (analysis / "data/studies/synthetic-shop/preference_scores").exists()
    assert _report(reader) == _report(analysis)
    assert _without_paths(_report(reader)) == _without_paths(_report(alone))


def _machine(root: Path, params: dict, *, dataset: str, log: str) -> Path:
    """A project folder with only the study's parameters."""
    root.mkdir()
    (root / ".dagster").mkdir()
    _write_params(root, params, dataset=dataset, log=log)
    return root


def _write_params(root: Path, params: dict, *, dataset: str, log: str) -> None:
    values = {**params, "dataset": {**params["dataset"], "path": dataset}}
    values["experiment"] = {**params["experiment"], "source": "files", "log_path": log}
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def _paretoscope(root: Path, project_root: Path, *words: str) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(project_root),
        "DAGSTER_HOME": str(root / ".dagster"),
    }
    command = [sys.executable, "-m", "pipeline.cli", *words]
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def _report(root: Path) -> dict:
    return json.loads((root / REPORT / "report.json").read_text("utf-8"))


def _without_paths(report: dict) -> dict:
    """All of a report but where its data is."""
    del report["parameters"]["dataset"]["path"], report["parameters"]["experiment"]["log_path"]
    del report["provenance"]["dataset"]["path"]
    return report
