"""Study folders from templates, and further studies of a project."""

from dataclasses import replace

import pytest
import yaml

from pipeline.artifacts.project import choose_study
from pipeline.cli import main
from pipeline.core.errors import StudyError
from pipeline.core.template_names import TEMPLATES
from pipeline.scaffold.init import add_study, create_project
from pipeline.scaffold.templates import NewStudy, Template
from pipeline.study.loader import load_study

STUDIES = [one for one in Template if one is not Template.SPREADSHEET]


def test_every_template_has_a_summary():
    assert {one.value for one in Template} == set(TEMPLATES)


@pytest.mark.parametrize("template", STUDIES)
def test_a_new_project_is_complete(template, tmp_path, monkeypatch):
    folder = create_project(NewStudy(name="my-shop", template=template), tmp_path)
    monkeypatch.chdir(folder)

    study, _ = choose_study().load()

    assert study.study.name == "my-shop"
    assert study.trains is template.trains
    stages = yaml.safe_load((folder / "dvc.yaml").read_text("utf-8"))["stages"]
    data = study.dataset.path if study.trains else study.experiment.log_path
    assert stages["study"]["deps"] == [data, "requirements.txt"]
    assert ("raw_events" in stages) is template.generates
    kept = (
        folder / "data/log" if template is Template.AB_TEST else folder / "data/raw"
    ) / ".gitignore"
    assert kept.is_file()
    assert {".dagster", ".env", ".gitignore", "README.md", "pyproject.toml"} <= {
        one.name for one in folder.iterdir()
    }
    assert "#" in (folder / "params.yaml").read_text("utf-8")


@pytest.mark.parametrize("template", [Template.SYNTHETIC, Template.SERVE])
def test_a_synthetic_shops_model_is_that_of_the_default_study(template, tmp_path, project_root):
    """With another, the guardrail may leave fewer preferences than the plan has groups."""
    folder = create_project(NewStudy(name="my-shop", template=template), tmp_path)

    study = load_study(folder / "params.yaml")

    default = load_study(project_root / "params.yaml")
    for section in ("synthetic", "sessions", "model", "training"):
        assert getattr(study, section) == getattr(default, section)
    assert study.evaluation == replace(default.evaluation, extra_cutoffs=())
    assert study.experiment.guardrails == default.experiment.guardrails
    assert study.experiment.groups == default.experiment.groups


@pytest.mark.parametrize("template", STUDIES)
def test_a_further_study_is_a_file_of_studies_and_stages_of_dvc(template, tmp_path, monkeypatch):
    folder = create_project(NewStudy(name="shop", template=Template.SYNTHETIC), tmp_path)
    monkeypatch.chdir(folder)

    file = add_study(NewStudy(name="spring", template=template, is_added=True), folder)

    study, paths = choose_study("spring").load()
    assert file == paths.params_file == folder / "studies/spring.yaml"
    data = study.dataset.path if study.trains else study.experiment.log_path
    assert data.startswith("data/spring")
    stages = yaml.safe_load((folder / "dvc.yaml").read_text("utf-8"))["stages"]
    assert stages["spring"]["cmd"] == "paretoscope study --study spring"
    assert all("studies/shop" in next(iter(out)) for out in stages["study"]["outs"])
    assert all("studies/spring" in next(iter(out)) for out in stages["spring"]["outs"])
    assert choose_study().load()[0].study.name == "shop"


def test_past_tests_are_a_folder_with_an_example(tmp_path):
    folder = create_project(NewStudy(name="tests", template=Template.SPREADSHEET), tmp_path)

    assert sorted(one.name for one in folder.iterdir()) == ["README.md", "tests.csv"]
    assert "paretoscope meta-analysis tests.csv" in (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["My Shop", "../up", "", "study", "-x"])
def test_a_name_that_is_not_valid_is_refused(name, tmp_path):
    with pytest.raises(StudyError, match="is not valid; expected lower-case letters"):
        create_project(NewStudy(name=name, template=Template.GA4), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/mine.txt").touch()
    with pytest.raises(StudyError, match="exists and is not empty"):
        create_project(NewStudy(name="shop", template=Template.GA4), tmp_path)

    folder = create_project(NewStudy(name="other", template=Template.GA4), tmp_path)
    with pytest.raises(StudyError, match="--add"):
        create_project(NewStudy(name="nested", template=Template.GA4), folder)
    with pytest.raises(StudyError, match=r"params\.yaml is already the study other"):
        add_study(NewStudy(name="other", template=Template.GA4, is_added=True), folder)


def test_the_command_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert main(["init", "my-test", "--template", "ab-test"]) == 0

    text = capsys.readouterr().out
    assert "cd my-test && paretoscope study   # after you have put your data into data/log" in text
    assert "git init && dvc init" in text
    assert main(["init", "my-test", "--template", "ab-test"]) == 1
    assert "choose another name" in capsys.readouterr().err
