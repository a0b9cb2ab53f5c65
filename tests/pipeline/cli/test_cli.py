"""The commands: what they print, where they print it, and how they end."""

import json
import subprocess
import sys

import polars as pl
import pytest
import yaml

from pipeline.artifacts.release import FROM_DATA, FROM_NETWORK
from pipeline.artifacts.storage import md5, write_json
from pipeline.cli import main
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.reporting.text.power_summary import plan_lines
from pipeline.results.document import Report
from pipeline.results.serialization import to_dict, write_result
from tests.pipeline.inference.planned import planned_power

SMALL_WORLD = {"items": 60, "categories": 4, "users": 20, "sessions": 50, "days": 5}
RAW = "data/raw/synthetic-shop.jsonl"
STUDY = "data/studies/synthetic-shop"


def git(folder, *arguments):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, check=True)


def write_params(folder, project_root, changes):
    """The repository's params.yaml with some sections changed."""
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))
    for section, keys in changes.items():
        values[section].update(keys)
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


@pytest.fixture
def project(tmp_path, monkeypatch, project_root):
    """A project whose shop has 50 visits; the working directory."""
    write_params(tmp_path, project_root, {"synthetic": SMALL_WORLD})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def finished(project):
    """A project with a finished, released and pinned study."""
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
    for file in (RAW, *(f"{STUDY}/{file}" for file in (*FROM_DATA, *FROM_NETWORK))):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_bytes(file.encode())
    for name, columns in tables.items():
        pl.DataFrame(columns).write_parquet(project / STUDY / name / f"{name}.parquet")
    write_json(project / STUDY / FROM_NETWORK[-1], [])
    outs = [
        {"path": name, "md5": md5(project / name)}
        for name in (RAW, *(f"{STUDY}/{file}" for file in (*FROM_DATA, *FROM_NETWORK)))
    ]
    lock = yaml.safe_dump({"schema": "2.0", "stages": {"study": {"outs": outs}}})
    (project / "dvc.lock").write_text(lock, encoding="utf-8")
    git(project, "init", "--quiet")
    git(project, "add", "dvc.lock")
    git(project, "commit", "--quiet", "--message", "pins")
    assert main(["release"]) == 0
    return project


def set_recall(project, value):
    file = project / STUDY / "offline_metrics/offline_metrics.parquet"
    pl.read_parquet(file).with_columns(value=pl.lit(value)).write_parquet(file)


def test_generate_writes_the_shops_log_and_says_how_long_it_is(project, capsys):
    status = main(["generate"])

    assert (status, *capsys.readouterr()) == (0, f"50 sessions in {RAW}\n", "")
    assert len((project / RAW).read_text("ascii").splitlines()) == 50


def test_generate_works_from_a_folder_of_the_project_and_gives_the_same_bytes(project, monkeypatch):
    main(["generate"])
    first = (project / RAW).read_bytes()
    (project / "docs").mkdir()
    monkeypatch.chdir(project / "docs")

    assert main(["generate"]) == 0

    assert (project / RAW).read_bytes() == first


def test_report_says_where_the_page_lies(project, capsys):
    (project / STUDY / "report").mkdir(parents=True)
    (project / STUDY / "report/index.html").write_text("page", encoding="utf-8")

    status = main(["report"])

    assert (status, *capsys.readouterr()) == (0, f"the report: {STUDY}/report/index.html\n", "")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("command", "file", "asset"),
    [
        ("report", "report/index.html", "regression_report"),
        ("release", "offline_metrics/offline_metrics.parquet", "offline_metrics"),
    ],
    ids=["report", "release"],
)
def test_a_missing_artifact_is_one_line_on_stderr_with_the_command(capsys, command, file, asset):
    status = main([command])

    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(
        f"paretoscope {command}: {STUDY}/{file} is missing. "
        f"Make it with: dagster asset materialize --select {asset} "
    )


@pytest.mark.usefixtures("project")
def test_verify_needs_pins_in_git(capsys):
    status = main(["verify"])

    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("paretoscope verify: git has no committed dvc.lock")


@pytest.mark.usefixtures("finished")
def test_verify_of_the_same_bytes_says_so_for_every_file(capsys):
    capsys.readouterr()

    status = main(["verify"])

    out, err = capsys.readouterr()
    *files, verdict = out.splitlines()
    assert (status, err, verdict) == (0, "", "verified: everything bit for bit")
    assert len(files) == 1 + len(FROM_DATA) + len(FROM_NETWORK)
    assert all(line.startswith("identical to the pin: data/") for line in files)


def test_verify_on_another_processor_says_what_is_close(finished, capsys):
    set_recall(finished, 0.42)
    capsys.readouterr()

    status = main(["verify"])

    *_, close, verdict = capsys.readouterr().out.splitlines()
    table = f"{STUDY}/offline_metrics/offline_metrics.parquet"
    assert (status, close) == (0, f"close to the release: {table}")
    assert verdict.startswith(
        "verified: data bit for bit, what comes out of the network within tolerance"
    )


def test_verify_fails_and_says_what_is_far_and_what_is_different(finished, capsys):
    set_recall(finished, 0.52)
    (finished / RAW).write_bytes(b"other\n")
    capsys.readouterr()

    status = main(["verify"])

    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert f"DIFFERENT from the pin: {RAW}" in lines
    assert "FAR from the release: p00/recall: value 0.52, released 0.4" in lines
    assert lines[-1].startswith("not verified")


def test_release_makes_the_study_the_released_one(finished, capsys):
    set_recall(finished, 0.52)
    capsys.readouterr()

    status = main(["release"])

    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    assert out == "released to data/released/synthetic-shop; commit it with dvc.lock\n"
    assert main(["verify"]) == 0


@pytest.mark.parametrize("command", ["generate", "report", "verify", "release"])
def test_outside_of_a_project_every_command_says_what_it_looks_for(
    tmp_path, monkeypatch, capsys, command
):
    monkeypatch.chdir(tmp_path)

    status = main([command])

    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"paretoscope {command}: no params.yaml in {tmp_path}")


@pytest.mark.parametrize("words", ["[bold]loud[/bold]", "[/]", "a[0]", ":smile:"])
def test_messages_are_printed_as_they_are(project, project_root, capsys, words):
    write_params(project, project_root, {"experiment": {"source": words}})

    status = main(["report"])

    assert status == 1
    assert f"experiment.source = '{words}'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["studdy"], ["report", "--loud"]], ids=str)
def test_a_wrong_call_ends_with_2_and_the_commands(capsys, arguments):
    with pytest.raises(SystemExit) as ending:
        main(arguments)

    out, err = capsys.readouterr()
    assert (ending.value.code, out) == (2, "")
    assert "usage: paretoscope" in err


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["--help"])

    out, err = capsys.readouterr()
    assert (ending.value.code, err) == (0, "")
    for command in ("generate", "report", "verify", "release"):
        assert f"\n    {command} " in out


def test_real_process_fails_without_a_traceback(tmp_path, project_root):
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
    """A project whose experiment is planned."""
    experiment = planned_power()
    folder = project / STUDY / "traffic_plan"
    folder.mkdir(parents=True)
    write_json(folder / "traffic_plan.json", experiment.plan.as_dict())
    write_result(experiment.analysis, folder / "power.json")
    return experiment


def test_plan_prints_groups_days_and_slopes(planned, capsys):
    status = main(["plan"])

    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    lines = plan_lines(planned.plan, planned.analysis, 20)
    assert out.splitlines() == lines


def test_plan_prints_all_there_is_as_json(planned, capsys):
    status = main(["plan", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert status == 0
    assert TrafficPlan.from_dict(found["plan"]) == planned.plan
    assert found["power"] == to_dict(planned.analysis)


@pytest.mark.usefixtures("project")
def test_without_a_plan_the_command_that_makes_it_is_named(capsys):
    status = main(["plan"])

    assert status == 1
    assert "dagster asset materialize --select traffic_plan" in capsys.readouterr().err


def as_json(capsys, *words, status=0):
    """What a command prints with ``--json``."""
    capsys.readouterr()
    assert main([*words, "--json"]) == status
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("project")
def test_generate_as_json(capsys):
    assert as_json(capsys, "generate") == {"sessions": 50, "path": RAW}


def test_verify_and_release_as_json(finished, capsys):
    released = as_json(capsys, "release")
    same = as_json(capsys, "verify")
    (finished / RAW).write_bytes(b"other\n")
    different = as_json(capsys, "verify", status=1)

    assert released == {"folder": "data/released/synthetic-shop"}
    assert (same["passed"], same["different"], RAW in same["identical"]) == (True, [], True)
    assert (different["passed"], different["different"]) == (False, [RAW])


@pytest.fixture
def reported(project):
    """A project with a report."""
    folder = project / STUDY / "report"
    folder.mkdir(parents=True)
    for name in ("index.html", "report.md"):
        (folder / name).write_text("page", encoding="utf-8")
    write_result(Report(hypotheses=(), summary=("H1 is confirmed.",)), folder / "report.json")
    return folder


@pytest.mark.usefixtures("reported")
def test_report_as_json_names_its_faces_and_what_it_says_first(capsys):
    assert as_json(capsys, "report") == {
        "page": f"{STUDY}/report/index.html",
        "markdown": f"{STUDY}/report/report.md",
        "data": f"{STUDY}/report/report.json",
        "summary": ["H1 is confirmed."],
    }


def test_report_is_opened_in_the_browser(reported, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda url: not asked.append(url))

    status = main(["report", "--open"])

    assert (status, asked) == (0, [(reported / "index.html").as_uri()])
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("reported")
def test_without_a_browser_the_page_is_named(monkeypatch, capsys):
    monkeypatch.setattr("webbrowser.open", lambda _: False)

    status = main(["report", "--open"])

    assert status == 1
    assert "no browser can be started here; open " in capsys.readouterr().err


@pytest.mark.usefixtures("reported")
def test_ctrl_c_ends_a_command_as_shells_count_it(monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open", interrupted)

    assert main(["report", "--open"]) == 130
