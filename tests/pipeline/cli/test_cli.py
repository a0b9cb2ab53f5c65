"""Output, streams and exit codes of the commands."""

import json
import re
import subprocess
import sys

import polars as pl
import pytest
import yaml

from pipeline.artifacts.reference import DATA_FILES, MODEL_FILES
from pipeline.artifacts.storage import md5, write_json
from pipeline.cli import main
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.reporting.text.power_summary import plan_lines
from pipeline.results.serialization import to_dict
from pipeline.results.stored import write_result
from tests.pipeline.inference.planned import planned_power

SMALL_SHOP = {"items": 60, "categories": 4, "users": 20, "sessions": 50, "days": 5}
RAW = "data/raw/synthetic-shop.jsonl"
STUDY = "data/studies/synthetic-shop"


def git(folder, *arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True)


def write_params(folder, project_root, changes):
    """Write the params.yaml of the repository with some keys changed."""
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))
    for section, keys in changes.items():
        values[section].update(keys)
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


@pytest.fixture
def project(tmp_path, monkeypatch, project_root):
    """A project whose shop has 50 sessions, as the working directory."""
    write_params(tmp_path, project_root, {"synthetic": SMALL_SHOP})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def finished(project):
    """A project with a finished, pinned study and its reference results."""
    tables = {
        "offline_metrics": {
            "preference_id": ["p00"],
            "metric": ["recall"],
            "segment": ["all"],
            "value": [0.4],
        },
        "pareto_front": {"preference_id": ["p00"], "recall": [0.4], "order_density": [0.06]},
        "group_kpis": {"group": ["g1"], "kpi": ["ctr"], "rate": [0.1]},
    }
    for file in (RAW, *(f"{STUDY}/{file}" for file in (*DATA_FILES, *MODEL_FILES))):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_bytes(file.encode())
    for name, columns in tables.items():
        pl.DataFrame(columns).write_parquet(project / STUDY / name / f"{name}.parquet")
    write_json(project / STUDY / MODEL_FILES[-1], [])
    outs = [
        {"path": name, "md5": md5(project / name)}
        for name in (RAW, *(f"{STUDY}/{file}" for file in (*DATA_FILES, *MODEL_FILES)))
    ]
    lock = yaml.safe_dump({"schema": "2.0", "stages": {"study": {"outs": outs}}})
    (project / "dvc.lock").write_text(lock, encoding="utf-8")
    git(project, "init", "--quiet")
    git(project, "add", "dvc.lock")
    git(project, "commit", "--quiet", "--message", "pins")
    assert main(["update-reference"]) == 0
    return project


def set_recall(project, value):
    file = project / STUDY / "offline_metrics/offline_metrics.parquet"
    pl.read_parquet(file).with_columns(value=pl.lit(value)).write_parquet(file)


def test_generate_writes_the_log_and_prints_its_length(project, capsys):
    status = main(["generate"])

    assert (status, *capsys.readouterr()) == (0, f"50 sessions in {RAW}\n", "")
    assert len((project / RAW).read_text("ascii").splitlines()) == 50


def test_generate_in_a_subfolder_writes_the_same_bytes(project, monkeypatch):
    main(["generate"])
    first = (project / RAW).read_bytes()
    (project / "docs").mkdir()
    monkeypatch.chdir(project / "docs")

    assert main(["generate"]) == 0

    assert (project / RAW).read_bytes() == first


def test_report_prints_the_path_of_the_page(project, capsys):
    (project / STUDY / "report").mkdir(parents=True)
    (project / STUDY / "report/index.html").write_text("page", encoding="utf-8")

    status = main(["report"])

    assert (status, *capsys.readouterr()) == (0, f"report: {STUDY}/report/index.html\n", "")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("command", "file", "asset"),
    [
        ("report", "report/index.html", "regression_report"),
        ("update-reference", "offline_metrics/offline_metrics.parquet", "offline_metrics"),
    ],
    ids=["report", "update-reference"],
)
def test_a_missing_artifact_is_one_line_on_stderr_with_the_fix(capsys, command, file, asset):
    status = main([command])

    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(
        f"paretoscope {command}: {STUDY}/{file} is missing. "
        f"Create it with: paretoscope study --select {asset} "
    )


@pytest.mark.usefixtures("project")
def test_verify_requires_pins_in_git(capsys):
    status = main(["verify"])

    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("paretoscope verify: there is no committed dvc.lock")


@pytest.mark.usefixtures("finished")
def test_verify_lists_every_identical_file(capsys):
    capsys.readouterr()

    status = main(["verify"])

    out, err = capsys.readouterr()
    *files, verdict = out.splitlines()
    assert (status, err, verdict) == (0, "", "verified: everything bit for bit")
    assert len(files) == 1 + len(DATA_FILES) + len(MODEL_FILES)
    assert all(line.startswith("identical to the pin: data/") for line in files)


def test_verify_lists_files_within_tolerance(finished, capsys):
    set_recall(finished, 0.42)
    capsys.readouterr()

    status = main(["verify"])

    *_, close, verdict = capsys.readouterr().out.splitlines()
    table = f"{STUDY}/offline_metrics/offline_metrics.parquet"
    assert (status, close) == (0, f"within tolerance: {table}")
    assert verdict.startswith("verified: data bit for bit, model outputs within tolerance")


def test_verify_fails_and_lists_differences(finished, capsys):
    set_recall(finished, 0.52)
    (finished / RAW).write_bytes(b"other\n")
    capsys.readouterr()

    status = main(["verify"])

    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert f"DIFFERENT from the pin: {RAW}" in lines
    assert "OUT OF TOLERANCE: p00/recall: value 0.52, reference 0.4" in lines
    assert lines[-1].startswith("not verified")


def test_update_reference_makes_verify_pass(finished, capsys):
    set_recall(finished, 0.52)
    capsys.readouterr()

    status = main(["update-reference"])

    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    assert (
        out
        == "reference results written to data/reference/synthetic-shop; commit them with dvc.lock\n"
    )
    assert main(["verify"]) == 0


@pytest.mark.parametrize("command", ["generate", "report", "verify", "update-reference"])
def test_outside_a_project_every_command_fails_with_one_line(
    tmp_path, monkeypatch, capsys, command
):
    monkeypatch.chdir(tmp_path)

    status = main([command])

    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"paretoscope {command}: no params.yaml in {tmp_path}")


@pytest.mark.parametrize("text", ["[bold]loud[/bold]", "[/]", "a[0]", ":smile:"])
def test_messages_are_printed_without_markup(project, project_root, capsys, text):
    write_params(project, project_root, {"experiment": {"source": text}})

    status = main(["ingest"])

    assert status == 1
    assert f"experiment.source = '{text}'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["studdy"], ["report", "--loud"]], ids=str)
def test_a_usage_error_exits_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as ending:
        main(arguments)

    out, err = capsys.readouterr()
    assert (ending.value.code, out) == (2, "")
    assert "usage: paretoscope" in err


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["--help"])

    out, err = capsys.readouterr()
    assert (ending.value.code, err) == (0, "")
    for command in ("generate", "report", "verify", "update-reference"):
        assert re.search(rf"^    {command}\s", out, re.MULTILINE)


def test_a_real_process_fails_without_a_traceback(tmp_path, project_root):
    failed = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "report"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(project_root)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("paretoscope report: no params.yaml")
    assert failed.stderr.count("\n") == 1


@pytest.fixture
def planned(project):
    """A project with a traffic plan."""
    experiment = planned_power()
    folder = project / STUDY / "traffic_plan"
    folder.mkdir(parents=True)
    write_json(folder / "traffic_plan.json", experiment.plan.as_dict())
    write_result(experiment.analysis, folder / "power.json")
    return experiment


def test_plan_prints_groups_and_power(planned, capsys):
    status = main(["plan"])

    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    lines = plan_lines(planned.plan, planned.analysis, 20)
    assert out.splitlines() == lines


def test_plan_as_json(planned, capsys):
    status = main(["plan", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert status == 0
    assert TrafficPlan.from_dict(found["plan"]) == planned.plan
    assert found["power"] == to_dict(planned.analysis)


@pytest.mark.usefixtures("project")
def test_a_missing_plan_is_named_with_the_command_that_creates_it(capsys):
    status = main(["plan"])

    assert status == 1
    assert "paretoscope study --select traffic_plan" in capsys.readouterr().err


def as_json(capsys, *arguments, status=0):
    """The JSON that a command prints."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("project")
def test_generate_as_json(capsys):
    assert as_json(capsys, "generate") == {"sessions": 50, "path": RAW}


def test_verify_and_update_reference_as_json(finished, capsys):
    updated = as_json(capsys, "update-reference")
    same = as_json(capsys, "verify")
    (finished / RAW).write_bytes(b"other\n")
    different = as_json(capsys, "verify", status=1)

    assert updated == {"folder": "data/reference/synthetic-shop"}
    assert (same["passed"], same["different"], RAW in same["identical"]) == (True, [], True)
    assert (different["passed"], different["different"]) == (False, [RAW])


@pytest.fixture
def reported(project, capsys):
    """A project with a report."""
    counts = project / "counts.csv"
    rows = ("group,impressions,clicks,recall", "a,1000,100,0.1", "b,1000,120,0.2")
    counts.write_text("\n".join(rows), encoding="utf-8")
    assert main(["fit", str(counts), "--report", str(project / STUDY / "report")]) == 0
    capsys.readouterr()
    return project / STUDY / "report"


@pytest.mark.usefixtures("reported")
def test_report_as_json_contains_paths_and_summary(capsys):
    found = as_json(capsys, "report")

    assert found.pop("summary")
    assert found == {
        "page": f"{STUDY}/report/index.html",
        "markdown": f"{STUDY}/report/report.md",
        "data": f"{STUDY}/report/report.json",
    }


def test_report_is_opened_in_the_browser(reported, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: not opened.append(url))

    status = main(["report", "--open"])

    assert (status, opened) == (0, [(reported / "index.html").as_uri()])
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("reported")
def test_without_a_browser_the_path_is_printed(monkeypatch, capsys):
    monkeypatch.setattr("webbrowser.open", lambda _: False)

    status = main(["report", "--open"])

    assert status == 1
    assert "no browser found on this machine; open " in capsys.readouterr().err


@pytest.mark.usefixtures("reported")
def test_ctrl_c_exits_with_130(monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", interrupted)

    assert main(["report", "--open"]) == 130


@pytest.mark.parametrize("text", ["0.05", "0.05,0.25,1", "0,0.25", "2,0.25", "0.05,0", "a,b"])
def test_an_impossible_exploration_is_one_line(text, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["plan", "--explore", text])

    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"'{text}' is not SHARE,TEMPERATURE; such as 0.05,0.25" in last


def test_an_exploration_is_asked_for_under_the_rules_of_the_study(project, project_root, capsys):
    diversity = {"rule": "diversity", "method": "mmr", "strength": 0.3}
    write_params(project, project_root, {"serving": {"rules": [diversity]}})

    assert main(["plan", "--explore", "0.05,0.25"]) == 1

    assert "serving.exploration and serving.rules = ['diversity']" in capsys.readouterr().err
