"""An experiment with two axes: served and simulated by real processes, ingested, and analysed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from models.checkpoint import load_checkpoint
from paretoscope import open_study
from pipeline.artifacts.storage import StudyPaths, read_json
from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.results.reader import read_report
from pipeline.study import load_study
from tests.pipeline.serving.shop import rows_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
AXIS = {"kind": "diversity", "levels": [0, 0.6], "candidates": 40}
HYPOTHESES = [
    {"id": "H1", "metric": "recall", "kpi": "ctr", "direction": "positive"},
    {"id": "H2", "metric": "intra_list_diversity", "kpi": "ctr", "direction": "positive"},
]
STUDY = "two-axes"


def write_params(root, params, **experiment):
    values = json.loads(json.dumps(params))
    values["study"]["name"] = STUDY
    values["synthetic"] |= {"items": 120}
    values["model"] |= {"max_length": 40}  # no session is cut
    values["evaluation"] |= {"preferences": 4, "cutoff": 10, "extra_cutoffs": []}
    values["experiment"] |= {
        "second_axis": AXIS,
        "groups": 6,
        "list_length": 10,
        "users": 200,
        "days": 7,
        **experiment,
    }
    values["serving"] |= {"deadline_ms": 60_000.0}  # however busy the machine is
    values["regression"] |= {"hypotheses": HYPOTHESES}
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def command(root, *words, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *words],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def succeed(root, *words):
    process = command(root, *words)
    out, err = process.communicate()
    assert process.returncode == 0, f"{words}: {out[-2000:]}{err[-4000:]}"
    return out


@pytest.fixture(scope="module")
def served(tmp_path_factory, small_params):
    """The study, planned, served to simulated users, and analysed from the served log."""
    root = tmp_path_factory.mktemp("two-axes")
    write_params(root, small_params)
    study = open_study(root)
    study.generate_log()
    study.run(until="traffic_plan")
    server = command(root, "serve", "--port", "0")
    lines = iter(server.stderr.readline, "")
    url = next(line for line in lines if "on http://" in line).split(" on ")[1].strip()
    try:
        succeed(root, "simulate", "--url", url)
    finally:
        server.send_signal(signal.SIGTERM)
        _, rest = server.communicate()
    assert server.returncode == 0, rest
    write_params(root, small_params, source="files", log_path="data/served")
    study = open_study(root)
    for asset in ("experiment_log", "group_kpis", "regression_estimates", "regression_report"):
        study.run_step(asset)
    return root


@pytest.fixture(scope="module")
def study_of(served):
    study = load_study(served / "params.yaml")
    paths = StudyPaths.of(study, served)
    return study, paths, read_plan(paths)


def test_the_groups_are_cells_of_the_grid(study_of):
    _, _, plan = study_of

    assert {group.level for group in plan.groups} == {0.0, 0.6}
    for group in plan.groups:
        assert group.preference_id.endswith("+diversity0.6") == (group.level == 0.6)
    assert len({(group.preference, group.level) for group in plan.groups}) == 6


def test_every_row_of_the_log_has_its_cell(served, study_of):
    _, _, plan = study_of
    rows = rows_of(served / "data/served", "impressions")

    assert len(rows) > 800
    for row in rows:
        group = plan.group_of(row["user"])
        assert (row["group"], row["level"]) == (group.name, group.level)
        assert row["preference"] == list(group.preference)
        assert row["fallback"] is None or row["fallback"] == "no known item in the session"


def test_the_cells_are_balanced(study_of):
    _, paths, plan = study_of
    report = read_report(paths.artifact("report", "report.json"))
    users = {row.group: row.users for row in report.group_kpis if row.kpi == "ctr"}

    assert set(users) == {group.name for group in plan.groups}
    total = sum(users.values())
    for group in plan.groups:
        expected = total * group.share
        assert abs(users[group.name] - expected) < 4 * expected**0.5
    assert report.diagnostics.sample_ratio.passed
    assert sum(report.ingestion.rejected.values()) == 0


def test_every_list_is_what_the_model_and_the_level_give_by_hand(served, study_of):
    """Each logged list is computed again from its row: scores, candidates, greedy selection."""
    _, paths, plan = study_of
    items = pl.read_parquet(paths.require("sessions", "items.parquet")).sort("index")["item"]
    names = [str(item) for item in items]
    model = load_checkpoint(paths.require("conditioned_model"), items=names)
    table = model.item_embedding.weight.detach().double().numpy()
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    rows = [row for row in rows_of(served / "data/served", "impressions") if not row["fallback"]]
    index = {name: n for n, name in enumerate(names)}
    found = {0.0: 0, 0.6: 0}

    for row in rows:
        clicks = [index[name] for name in row["session"] if name in index]
        with torch.no_grad():
            state = model(
                torch.tensor([clicks]),
                torch.tensor([len(clicks)]),
                torch.tensor([row["preference"]]),
            )[0, -1]
        scores = model.score_all(state[None])[0].detach().double().numpy()
        ranked = sorted(range(len(names)), key=lambda n: (-scores[n], n))
        shown = [index[name] for name in row["items"]]
        assert len(set(shown)) == plan.list_length
        if row["level"] == 0:
            best = [ranked[n] for n in range(10)]
            assert np.allclose(scores[shown], scores[best], atol=1e-4)
        else:
            check_greedy(shown, ranked[: AXIS["candidates"]], scores, unit, row["level"])
        found[row["level"]] += 1

    assert min(found.values()) > 200


def check_greedy(shown, candidates, scores, unit, weight):
    """Each listed item has the largest gain among the candidates left, up to rounding."""
    low, high = scores[candidates[-1]], scores[candidates[0]]
    left, chosen = list(candidates), []
    for item in shown:
        assert item in left
        nearest = {n: max([0.0, *(float(unit[n] @ unit[m]) for m in chosen)]) for n in left}
        gains = {
            n: (1 - weight) * (scores[n] - low) / (high - low)
            - (weight * nearest[n] if chosen else 0)
            for n in left
        }
        assert gains[item] >= max(gains.values()) - 1e-4
        left.remove(item)
        chosen.append(item)


def test_the_report_names_the_levels(study_of):
    _, paths, plan = study_of
    page = paths.artifact("report", "report.md").read_text("utf-8")
    report = read_json(paths.artifact("report", "report.json"))

    assert "diversity 0.6" in page
    groups = {one["name"]: one["level_label"] for one in report["groups"]}
    assert groups == {group.name: plan.level_label(group) for group in plan.groups}
    points = {one["preference_id"]: one.get("level_label") for one in report["front"]["points"]}
    assert points["p01"] is None
    assert points["p01+diversity0.6"] == "diversity 0.6"
    assert {one["id"] for one in report["hypotheses"]} == {"H1", "H2"}
    assert all(one["slope"] is not None for one in report["hypotheses"])
