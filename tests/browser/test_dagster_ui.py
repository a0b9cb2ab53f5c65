"""Dagster's pages on a finished study, in a real browser and by the API they themselves use."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COPIED = ("assets", "models", "pipeline", "constraints.txt", "dvc.yaml", "pyproject.toml")
REPORT = "data/studies/synthetic-shop/report/report.json"
LOCATION = "assets.definitions"
SECONDS = 240.0
"""A machine that does other work besides takes a minute to start."""

LAUNCH = """mutation($run: ExecutionParams!) { launchPipelineExecution(executionParams: $run) {
    ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
STATUS = "query($id: ID!) { pipelineRunOrError(runId: $id) { ... on Run { status } } }"
FAILURES = """query($id: ID!) { logsForRun(runId: $id) { ... on EventConnection { events {
    ... on ExecutionStepFailureEvent { failureMetadata { description metadataEntries {
        label ... on MarkdownMetadataEntry { mdStr } } } } } } } }"""
ASSETS = "{ assetNodes { assetKey { path } staleStatus freshnessStatusInfo { freshnessStatus } } }"
RELOAD = f'mutation {{ reloadRepositoryLocation(repositoryLocationName: "{LOCATION}") {{ __typename }} }}'


@dataclass(frozen=True)
class Ui:
    """A started Dagster and its project."""

    url: str
    project: Path

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """What the UI's API answers."""
        return ask_dagster(self.url, query, **variables)

    def materialize(self, asset: str) -> tuple[str, str]:
        """How the run of one asset ended that the UI was asked for, and its id."""
        selector = {
            "repositoryLocationName": LOCATION,
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]}],
        }
        wanted = {"selector": selector, "mode": "default", "runConfigData": {}}
        launched = self.ask(LAUNCH, run=wanted)["launchPipelineExecution"]["run"]["runId"]
        return wait_for(lambda: self._ended(launched)), launched

    def _ended(self, run: str) -> str | None:
        status = self.ask(STATUS, id=run)["pipelineRunOrError"]["status"]
        return status if status in {"SUCCESS", "FAILURE", "CANCELED"} else None

    def stale(self) -> set[str]:
        """The materialized assets that are not what they would be if they were made now."""
        nodes = self.ask(ASSETS)["assetNodes"]
        return {"/".join(n["assetKey"]["path"]) for n in nodes if n["staleStatus"] == "STALE"}


def ask_dagster(url: str, query: str, **variables: Any) -> dict[str, Any]:
    """What the API at an address answers."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/graphql", body, headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        found = json.load(answer)
    assert "errors" not in found, found["errors"]
    return found["data"]


def wait_for(found) -> Any:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if (value := found()) is not None:
            return value
        time.sleep(1)
    pytest.fail(f"not within {SECONDS:.0f} seconds")


def answers(url: str) -> bool | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return None


def end_group(started: "subprocess.Popen[bytes]") -> None:
    """End a process and its children; Dagster asks its own by SIGINT, which a job in the background
    of a script has been told to ignore."""
    os.killpg(started.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        started.wait(timeout=20)
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait(timeout=20)


@pytest.fixture(scope="module")
def ui(tmp_path_factory, small_params) -> Iterator[Ui]:
    """Dagster as `make ui` starts it, on a small study that `make study`'s command has finished."""
    project = tmp_path_factory.mktemp("project")
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    (project / "params.yaml").write_text(yaml.safe_dump(small_params), encoding="utf-8")
    home = shutil.copytree(ROOT / ".dagster/.nux", project / ".dagster/.nux").parent
    shutil.copy(ROOT / ".dagster/dagster.yaml", home)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "DAGSTER_HOME": str(project / ".dagster"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    finish = "dagster asset materialize -m assets.definitions --select *regression_report"
    for words in ("python -m pipeline.cli generate", finish):
        done = subprocess.run(
            words.split(), cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
    environment.pop("DAGSTER_MODULE_NAME", None)
    with (project / "ui.log").open("w") as log:
        started = subprocess.Popen(
            ["dagster", "dev", "--host", "127.0.0.1", "--port", port],
            cwd=project,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,  # it has children that ignore the signal to their parent
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{url}/server_info"))
            yield Ui(url, project)
        finally:
            end_group(started)


@pytest.fixture
def desk(ui, open_page) -> Page:
    """The graph, on a machine that does other work besides."""
    page = open_page()
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    page.goto(f"{ui.url}/asset-groups")
    return page


def test_the_graph_reads_from_the_data_to_the_inference(desk):
    steps = ["1_data", "2_model", "3_scores", "4_evaluation", "5_experiment", "6_inference"]

    places = []
    for step in steps:
        box = desk.get_by_text(step, exact=True).last
        expect(box).to_be_visible()
        places.append((box.bounding_box() or {})["x"])

    assert places == sorted(places)


def test_an_asset_s_page_shows_its_picture_rows_columns_and_green_checks(desk, ui):
    desk.goto(f"{ui.url}/assets/sessions")
    expect(desk.get_by_text("One row per session with its split")).to_be_visible()
    expect(desk.get_by_text("train, validation or test")).to_be_visible()
    desk.get_by_text("[Show Markdown]").first.click()
    picture = desk.locator("img[alt='the data']")
    expect(picture).to_be_visible()

    assert (picture.get_attribute("src") or "").startswith("data:image/png;base64,")
    assert picture.evaluate("image => image.naturalWidth") > 300

    desk.goto(f"{ui.url}/assets/sessions?view=checks")
    expect(desk.get_by_text("Checks (9)")).to_be_visible()
    expect(desk.get_by_text("Succeeded").nth(7)).to_be_visible()  # the states come after the names
    expect(desk.get_by_text("Failed")).to_have_count(0)


def test_the_answer_and_a_small_figure_are_there_without_a_click(desk, ui):
    desk.goto(f"{ui.url}/assets/pareto_front")
    front = desk.locator("img[alt='the Pareto front']")
    expect(front).to_be_visible()
    assert front.evaluate("image => image.naturalWidth") == 300

    desk.goto(f"{ui.url}/assets/regression_report")
    expect(desk.locator("img[alt='confidence intervals of the slopes']")).to_be_visible()
    sentence = json.loads((ui.project / REPORT).read_text("utf-8"))["summary"][0]
    answer = desk.get_by_text(sentence[:60]).first
    expect(answer).to_be_visible()
    assert answer.evaluate("one => one.scrollWidth <= one.clientWidth")


def test_jobs_schedule_and_sensor_are_there_and_off(desk, ui):
    desk.goto(f"{ui.url}/automation")
    for name in ("retrain_weekly", "new_log_files", "rollout_watch", "send_result", "send_failure"):
        expect(desk.get_by_text(name, exact=True).first).to_be_visible()
    switches = desk.locator("label[class*=formatSwitch] input")
    expect(switches).to_have_count(5)
    assert not any(switch.is_checked() for switch in switches.all())

    desk.goto(f"{ui.url}/jobs")
    for job in ("study", "retrain", "ingest_and_report", "watch_rollout", "roll_back"):
        expect(desk.get_by_text(job, exact=True).first).to_be_visible()


def test_the_launchpad_is_short(desk, ui):
    desk.goto(f"{ui.url}/locations/{LOCATION}/jobs/study/playground")
    editor = desk.locator(".CodeMirror-code")

    expect(editor).to_contain_text("overrides: {}")
    assert len(editor.inner_text().splitlines()) <= 12  # numbers of lines included


def test_the_report_is_made_by_the_ui_s_own_api(ui):
    before = (ui.project / REPORT).stat().st_mtime_ns

    status, _ = ui.materialize("regression_report")

    assert status == "SUCCESS"
    assert (ui.project / REPORT).stat().st_mtime_ns > before
    freshness = {
        node["assetKey"]["path"][-1]: node["freshnessStatusInfo"]["freshnessStatus"]
        for node in ui.ask(ASSETS)["assetNodes"]
        if node["freshnessStatusInfo"]
    }
    assert set(freshness) == {"conditioned_model", "regression_report"}


def test_changed_parameters_and_pins_show_without_a_run(ui):
    params = ui.project / "params.yaml"
    as_it_was = params.read_text("utf-8")
    assert ui.stale() == set()

    params.write_text(as_it_was.replace("epochs: 2", "epochs: 3"), encoding="utf-8")
    ui.ask(RELOAD)
    by_parameters = ui.stale()
    params.write_text(as_it_was, encoding="utf-8")
    outs = [{"path": "data/raw/synthetic-shop.jsonl", "md5": "ab" * 16}]
    lock = ui.project / "dvc.lock"
    lock.write_text(yaml.safe_dump({"stages": {"raw": {"outs": outs}}}), encoding="utf-8")
    ui.ask(RELOAD)
    by_pin = ui.stale()
    lock.unlink()
    ui.ask(RELOAD)

    assert by_parameters == {"conditioned_model", "regression_report"}
    assert by_pin == {"raw_events"}
    assert ui.stale() == set()


def test_a_failure_leads_with_what_to_do(desk, ui):
    plan = ui.project / "data/studies/synthetic-shop/traffic_plan"
    aside = plan.rename(plan.with_name("aside"))
    try:
        status, run = ui.materialize("group_kpis")
    finally:
        aside.rename(plan)

    events = ui.ask(FAILURES, id=run)["logsForRun"]["events"]
    (failure,) = [event["failureMetadata"] for event in events if event.get("failureMetadata")]
    told = {entry["label"]: entry.get("mdStr") for entry in failure["metadataEntries"]}
    assert status == "FAILURE"
    assert failure["description"].startswith("data/studies/synthetic-shop/traffic_plan")
    assert told["run this"] == "```sh\nparetoscope study --select traffic_plan\n```"

    desk.goto(f"{ui.url}/runs/{run}")
    expect(desk.get_by_text("is missing. Create it with:").first).to_be_visible()
