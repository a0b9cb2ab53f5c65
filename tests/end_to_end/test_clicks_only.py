"""A shop with clicks alone: from a log in row order to a report about clicks and distortion."""

from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
import yaml

from assets.definitions import defs
from assets.resources import StudyResource
from pipeline.artifacts.storage import StudyPaths, read_json, read_table
from pipeline.results.reader import read_report
from pipeline.results.reasons import LimitationKind
from pipeline.serving.explorer.study_tables import MeasuredMetrics
from pipeline.study import load_study
from pipeline.study.evaluation import is_of_orders

_ROOT = Path(__file__).parents[2]
ITEMS, SESSIONS, BLOCK = 120, 3000, 12
STUDY = {
    "study": {"name": "clicks", "seed": 1},
    "sessions": {"test_sessions": 0.2, "validation_sessions": 0.1},
    "model": {"hidden_size": 16, "layers": 1},
    "training": {
        "objectives": [{"loss": "click"}, {"loss": "distortion", "scale": 0.3}],
        "negatives": {"uniform": 64},
        "epochs": 5,
        "batch_size": 32,
    },
    "evaluation": {"cutoff": 5, "extra_cutoffs": []},
    "experiment": {"source": "held-out-replay", "list_length": 5},
    "regression": {"hypotheses": []},
}
GENERIC = {"session": "visit", "item": "product", "time": "row-order"}


def write_log(file):
    """Sessions walk through a block of items, mostly to the next one; popular blocks come more."""
    rng = np.random.default_rng(7)
    rows = []
    for session in range(SESSIONS):
        block = min(int(rng.geometric(0.25)) - 1, ITEMS // BLOCK - 1)
        place = int(rng.integers(BLOCK))
        for _ in range(int(rng.integers(3, 9))):
            rows.append((f"v{session}", f"p{block * BLOCK + place}"))
            place = (place + 1) % BLOCK if rng.random() < 0.8 else int(rng.integers(BLOCK))
    pl.DataFrame(rows, schema=["visit", "product"], orient="row").write_csv(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks")
    write_log(folder / "log.csv")
    values = yaml.safe_load((_ROOT / "params.yaml").read_text("utf-8"))
    for section, keys in STUDY.items():
        values[section] |= keys
    values["dataset"] |= {"format": "generic", "path": "log.csv", "generic": GENERIC}
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = dg.materialize(
            list(defs.assets or []),
            instance=dg.DagsterInstance.ephemeral(),
            resources={"study": StudyResource()},
            selection="*regression_report",
        )
    assert result.success
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return read_report(folder / "data/studies/clicks/report/report.json")


@pytest.mark.slow
def test_the_front_is_about_what_was_trained(report):
    front = report.front

    assert front.axes == ("recall", "score_uniformity")
    recalls = [point.metrics["recall"] for point in front.points]
    assert recalls[-1] > 1.05 * recalls[0]  # the click endpoint ranks better
    assert (
        front.points[0].metrics["score_uniformity"] > front.points[-1].metrics["score_uniformity"]
    )
    assert sum(not point.dominated for point in front.points) >= 3
    assert front.hypervolume > 0.1
    assert {point.objective for point in report.learning_curves} == {
        "click",
        "distortion",
        "hypervolume",
    }


@pytest.mark.slow
def test_plan_hypotheses_and_kpis_are_those_of_clicks(report, folder):
    plan = read_json(folder / "data/studies/clicks/traffic_plan/traffic_plan.json")

    assert plan["has_orders"] is False
    assert len({group["preference_id"] for group in plan["groups"]}) == 5
    assert [(one.metric, one.kpi.value) for one in report.hypotheses] == [("recall", "ctr")]
    assert [one.id for one in report.experiment.power.hypotheses] == ["H1"]
    assert {row.kpi.value for row in report.group_kpis} == {"ctr", "clicks_per_user"}
    assert not any(is_of_orders(row.metric) for row in report.offline_metrics)
    assert not any(is_of_orders(row.metric) for row in report.metric_ranking)
    assert {row.kpi.value for row in report.unfitted_pairs} <= {"ctr", "clicks_per_user"}


@pytest.mark.slow
def test_the_pages_say_first_that_there_are_no_orders(report, folder):
    page = (folder / "data/studies/clicks/report/report.md").read_text("utf-8")

    title, first, *_ = page.split("\n\n")

    assert title.startswith("# ")
    assert first.startswith("**Clicks only.** The sessions have no orders")
    assert LimitationKind.NO_ORDERS in {one.kind for one in report.limitations}
    for words in ("score uniformity", "catalogue coverage@5", "OD@5", "| – |", "no times"):
        assert words in page
    for words in ("order loss", "days from 2000", "no other KPI was asked for"):
        assert words not in page


@pytest.mark.slow
def test_the_explorer_shows_the_same_axes(folder):
    study = load_study(folder / "params.yaml")
    paths = StudyPaths.of(study, folder)
    table = read_table(paths.artifact("offline_metrics", "offline_metrics.parquet"))

    assert MeasuredMetrics.of(table, study.training.losses).axes == ("recall", "score_uniformity")
