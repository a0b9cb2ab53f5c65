"""A URL is no path: it is refused by name at every door, before anything is written."""

from pathlib import Path

import pytest
import yaml

import paretoscope as ps
from pipeline.cli import main
from pipeline.cli.commands import COMMANDS
from pipeline.core.errors import StudyError
from pipeline.core.local_paths import local_path, url_problem
from pipeline.study import load_study, parse_study

URLS = ("s3://bucket/x", "gs://b/x", "http://h/x", "https://me:secret@h/x?token=secret", "az://c/x")
URL = "s3://bucket/x"


@pytest.mark.parametrize(
    "url",
    [*URLS, "S3://b", "abfss://c@a/x", "hdfs://n:1/x", "s3a://b/x", "git+ssh://h/x", " s3://b", Path(URL)],
)  # fmt: skip
def test_a_url_is_no_path(url):
    problem = url_problem(url)

    assert problem is not None
    assert problem.startswith("is a URL (")
    assert "Copy it first, such as with " in problem
    assert "secret" not in problem
    with pytest.raises(StudyError, match=r"^--out is a URL"):
        local_path(url, "--out")


@pytest.mark.parametrize(
    "path",
    ["data/x", "/data/x", "a:b", "C:/data", "./s3:/x", "2026-03-02T10:00:00/x", "", "x//y", "~/s3://x"],
)  # fmt: skip
def test_a_path_is_none(path):
    assert url_problem(path) is None
    assert local_path(path, "--out") == Path(path)


def test_a_file_url_says_what_to_leave_out():
    assert (
        url_problem("file:///data/x") == "is a URL (file://…); expected a path: leave out file://"
    )


PARAMETERS = (
    *("dataset.path", "dataset.item_attributes"),
    *("experiment.log_path", "experiment.variants"),
    *("serving.log_path", "serving.filters.out_of_stock"),
    *("serving.filters.allow", "serving.filters.deny"),
)


def test_the_rules_of_a_candidate_are_refused_by_their_key(project_root):
    candidate = {"preference": "p07", "rules": URL}

    with pytest.raises(StudyError, match=r"rollout\.candidate\.rules is a URL"):
        load_study(project_root / "params.yaml", {"rollout": {"candidate": candidate}})


@pytest.mark.parametrize("key", PARAMETERS)
def test_a_parameter_is_refused_by_its_key(key, project_root):
    with pytest.raises(StudyError) as found:
        load_study(project_root / "params.yaml", {key: "https://me:secret@h/x?token=secret"})

    assert f"{key} is a URL (" in str(found.value)
    assert "secret" not in str(found.value)


def test_a_parameter_is_refused_with_its_line(tmp_path, project_root):
    text = (project_root / "params.yaml").read_text("utf-8")
    lines = text.replace("data/raw/synthetic-shop.jsonl", "gs://shop/raw.jsonl")
    (tmp_path / "params.yaml").write_text(lines, encoding="utf-8")
    line = next(n for n, one in enumerate(lines.splitlines(), 1) if "gs://" in one)

    with pytest.raises(StudyError, match=rf"line {line}: dataset\.path is a URL"):
        load_study(tmp_path / "params.yaml")


def test_addresses_are_no_paths(project_root):
    values = yaml.safe_load((project_root / "params.yaml").read_text("utf-8"))
    values["monitoring"]["endpoint"] = "http://127.0.0.1:8350"

    assert parse_study(values).monitoring.endpoint == "http://127.0.0.1:8350"


COMMAND_LINES = (
    f"doctor --params {URL}",
    *(f"fit {URL}", f"fit counts.csv --report {URL}"),
    *(f"meta-analysis {URL}", f"meta-analysis past.csv --report {URL}"),
    *(f"export {URL}", f"export --out {URL}"),
    *(f"compare {URL}", f"compare a b --out {URL}"),
    f"quickstart --data {URL}",
    *(f"counterfactual --{option} {URL}" for option in ("rules", "model", "log", "policy")),
    *(f"counterfactual --{option} {URL}" for option in ("logging", "realised")),
)  # fmt: skip


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_refuses_it_and_writes_nothing(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    try:
        status = main(line.split())
    except SystemExit as ended:
        status = ended.code

    assert status != 0
    assert "URL (s3://…)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_option_takes_a_path_unchecked():
    options = [option for one in COMMANDS.values() for option in one.arguments]

    assert options
    assert [names for names, values in options if values.get("type") is Path] == []


@pytest.mark.parametrize("variable", ["PARETOSCOPE_PARAMS", "DAGSTER_HOME"])
def test_an_environment_variable_is_refused_by_its_name(
    variable, tmp_path, monkeypatch, capsys, project_root
):
    (tmp_path / "params.yaml").write_bytes((project_root / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, URL)

    assert main(["study"]) != 0

    assert variable in (said := capsys.readouterr().err)
    assert "is a URL (s3://…)" in said
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    "call",
    [ps.open_study, ps.fit, ps.meta_analysis, lambda url: ps.compare([url, "b"])],
)
def test_the_python_api_refuses_it(call):
    with pytest.raises(StudyError, match="is a URL"):
        call(URL)
