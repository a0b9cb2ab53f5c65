"""The README, the tutorial and the how-tos, run as real processes in a copy of the project."""

import json
import shutil
from importlib.util import find_spec

import duckdb
import polars as pl
import pytest
import yaml

from pipeline.artifacts.storage import md5
from tests.docs.pages import Block, blocks, run_page

LOG = "data/studies/synthetic-shop/experiment.duckdb"
STUDY = "data/studies/synthetic-shop"
AGAIN = [
    Block("again", 1, "sh", "make study\n", None),
    Block("again", 2, "text", "Stage 'study' didn't change, skipping\n", None),
]
pytestmark = pytest.mark.slow


def test_the_readme(small_project, project_root):
    two_commands, *others = blocks(project_root, "README.md")
    run_page(small_project, [two_commands])
    run_page(small_project, AGAIN)
    run_page(small_project, others)

    lock = yaml.safe_load((small_project / "dvc.lock").read_text("utf-8"))
    pins = {out["path"]: out["md5"] for out in lock["stages"]["study"]["outs"]}
    sessions = f"{STUDY}/sessions/tokens.safetensors"
    assert pins[sessions] == md5(small_project / sessions)
    # the last run of the page is the one with a changed value
    model = json.loads((small_project / STUDY / "conditioned_model/model.json").read_text("utf-8"))
    assert model["training"]["epochs"] == 3
    # its last block is a log of the reader's
    study = yaml.safe_load((small_project / "params.yaml").read_text("utf-8"))
    assert study["dataset"]["format"] == "generic"


def test_the_tutorial(new_project, project_root):
    run_page(new_project, blocks(project_root, "docs/tutorial.md"))

    report = new_project / "data/studies/tutorial/report"
    experiment = json.loads((report / "report.json").read_text("utf-8"))["experiment"]
    assert (report / "index.html").is_file()
    assert experiment["origin"] == "real"  # as far as a log can tell


def test_study_folder(small_project, project_root):
    run_page(small_project, blocks(project_root, "docs/how-to/study-folder.md"))


def test_bring_your_log(small_project, project_root, generated_log):
    generated_log(small_project)

    run_page(small_project, blocks(project_root, "docs/how-to/bring-your-log.md"))

    report = small_project / "data/studies/my-shop/report/report.json"
    assert json.loads(report.read_text("utf-8"))["experiment"]["origin"] == "replayed"
    assert (small_project / "data/raw/my-shop.dvc").is_file()


def test_bring_your_model(finished_project, project_root):
    run_page(finished_project, blocks(project_root, "docs/how-to/bring-your-model.md"))

    studies = finished_project / "data/studies"
    model = json.loads((studies / "convolution/conditioned_model/model.json").read_text("utf-8"))
    report = json.loads((studies / "variants/report/report.json").read_text("utf-8"))
    assert model["model"]["backbone"] == "shop_backbone:ConvolutionalBackbone"
    assert [one["metric"] for one in report["hypotheses"]] == ["auc", "ndcg"]
    assert report["hypotheses"][0]["small_sample"]["hartung_knapp"]["df"] == 1


def test_bring_your_objective(small_project, project_root, generated_log):
    generated_log(small_project)

    run_page(small_project, blocks(project_root, "docs/how-to/bring-your-objective.md"))

    front = small_project / "data/studies/margin/pareto_front/pareto_front.csv"
    assert len(front.read_text("utf-8").splitlines()) == 1 + 15  # (5 points an edge: 5 · 6 / 2)


def test_clicks_only(small_project, project_root, generated_log):
    generated_log(small_project)

    run_page(small_project, blocks(project_root, "docs/how-to/clicks-only.md"))

    report = small_project / "data/studies/clicks/report/report.json"
    found = json.loads(report.read_text("utf-8"))
    assert found["front"]["axes"] == ["recall", "score_uniformity"]
    assert [one["id"] for one in found["hypotheses"]] == ["H1"]


def test_two_axes(small_project, project_root):
    run_page(small_project, blocks(project_root, "docs/how-to/two-axes.md"))

    folder = small_project / "data/studies/apart"
    plan = json.loads((folder / "traffic_plan/traffic_plan.json").read_text("utf-8"))
    assert {group["level_label"] for group in plan["groups"]} == {"novelty 0", "novelty 0.3"}


def test_past_tests(small_project, project_root):
    run_page(small_project, blocks(project_root, "docs/how-to/past-tests.md"))

    document = json.loads((small_project / "which-metric/past_tests.json").read_text("utf-8"))
    assert [one["metric"] for one in document["proxies"]] == ["recall_delta", "novelty_delta"]


def test_notebook(finished_project, project_root):
    run_page(finished_project, blocks(project_root, "docs/how-to/notebook.md"))

    report = finished_project / "data/studies/second/report/report.json"
    assert json.loads(report.read_text("utf-8"))["experiment"]["plan"]["experiment"] == "second"


def test_write_a_plugin(small_project, project_root):
    run_page(small_project, blocks(project_root, "docs/how-to/write-a-plugin.md"))

    folder = small_project / "data/studies/plugin"
    model = json.loads((folder / "conditioned_model/model.json").read_text("utf-8"))
    metrics = pl.read_parquet(folder / "offline_metrics/offline_metrics.parquet")
    assert model["model"]["backbone"] == "mean"
    assert [one["loss"] for one in model["training"]["objectives"]] == ["margin", "order"]
    assert metrics.filter(metric="first_click_recall")["value"].is_between(0, 1).all()


def test_run_weekly(finished_project, project_root):
    run_page(finished_project, blocks(project_root, "docs/how-to/run-weekly.md"))


def test_deploy(finished_project, project_root):
    run_page(finished_project, blocks(project_root, "docs/how-to/deploy.md"))

    (clicks,) = (finished_project / "data/served").glob("clicks-*.jsonl")
    asked = json.loads((finished_project / "answer.json").read_text("utf-8"))
    logged = json.loads(clicks.read_text("utf-8"))
    assert len(asked["items"]) == 5
    assert logged["impression"] == asked["impression"]


def test_scale(finished_project, project_root):
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed; try: apt-get install haproxy")
    if shutil.which("java") is None or find_spec("pyspark") is None:
        pytest.skip("Spark needs Java and pyspark; try: apt-get install openjdk-17-jre-headless")
    sessions = finished_project / "data/studies/synthetic-shop/sessions"
    before = {file.name: file.read_bytes() for file in sessions.iterdir()}

    run_page(finished_project, blocks(project_root, "docs/how-to/scale.md"))

    assert {file.name: file.read_bytes() for file in sessions.iterdir()} == before

    with duckdb.connect(str(finished_project / LOG), read_only=True) as database:
        rows = database.execute("SELECT clicked, units FROM impressions").fetchall()
    assert rows == [(True, 2)]


def test_release_a_candidate(finished_project, project_root):
    run_page(finished_project, blocks(project_root, "docs/how-to/release-a-candidate.md"))

    folder = finished_project / "data/studies/synthetic-shop"
    served = json.loads((folder / "rollout/rollout.json").read_text("utf-8"))
    assert (served["state"], served["share"], served["peak_share"]) == ("rolled_back", 0.0, 0.95)


def test_read_the_report(finished_project, project_root):
    run_page(finished_project, blocks(project_root, "docs/how-to/read-the-report.md"))

    assert list((finished_project / "tables").glob("*.xlsx"))


def test_a_page_with_a_wrong_block_fails(small_project):
    page = small_project / "page.md"
    page.write_text("```sh\ntrue\n```\n\n```sh\nno-such-command\n```\n", encoding="utf-8")

    with pytest.raises(AssertionError, match=r"page\.md:5 ended with 127"):
        run_page(small_project, blocks(small_project, "page.md"))

    page.write_text("```sh\necho 2 rows\n```\n\n```text\n3 rows\n```\n", encoding="utf-8")

    with pytest.raises(AssertionError, match=r"page\.md:5 expects"):
        run_page(small_project, blocks(small_project, "page.md"))
