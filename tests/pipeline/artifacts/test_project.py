"""The studies of a project: which one is chosen, and what may not be confused."""

import pytest

from pipeline.artifacts.project import choose_study, loaded_studies, project_studies, study_of_file
from pipeline.core.errors import MissingArtifact, StudyError

TEXT = (
    "study: {{name: {name}}}\ndataset: {{format: otto, path: log}}\n"
    "experiment: {{source: held-out-replay}}\n"
)


def write(file, name):
    file.parent.mkdir(exist_ok=True)
    file.write_text(TEXT.format(name=name), encoding="utf-8")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a default study and two further ones."""
    for name in ("PARETOSCOPE_STUDY", "PARETOSCOPE_PARAMS", "PARETOSCOPE_ONLY"):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path / "params.yaml", "shop")
    write(tmp_path / "studies/autumn.yaml", "autumn")
    write(tmp_path / "studies/spring.yml", "spring")
    (tmp_path / "studies/Not A Study.yaml").touch()
    (tmp_path / "studies/notes.md").touch()
    monkeypatch.chdir(tmp_path / "studies")
    return tmp_path


def test_params_yaml_is_the_default_study_and_files_of_studies_are_further_ones(project):
    found = [(one.prefix, one.name(), one.flag) for one in project_studies(project)]

    assert found == [
        ("", "shop", ""),
        ("autumn", "autumn", "--study autumn"),
        ("spring", "spring", "--study spring"),
    ]


@pytest.mark.usefixtures("project")
def test_a_study_is_chosen_by_name_by_file_or_by_the_environment(monkeypatch, project):
    elsewhere = project / "draft.yaml"
    write(elsewhere, "draft")

    assert choose_study().name() == "shop"
    assert choose_study("shop").path == project / "params.yaml"
    assert choose_study("spring").path == project / "studies/spring.yml"
    assert choose_study(params=elsewhere).flag == "--params draft.yaml"
    assert choose_study(params=project / "studies/autumn.yaml") == choose_study("autumn")
    monkeypatch.setenv("PARETOSCOPE_STUDY", "autumn")
    assert choose_study().name() == "autumn"
    assert choose_study("spring").name() == "spring"  # what is typed comes first
    monkeypatch.setenv("PARETOSCOPE_PARAMS", str(elsewhere))
    assert choose_study().name() == "draft"
    assert [one.name() for one in loaded_studies()] == ["shop", "autumn", "spring", "draft"]
    monkeypatch.setenv("PARETOSCOPE_ONLY", "1")
    assert [one.name() for one in loaded_studies()] == ["draft"]


@pytest.mark.usefixtures("project")
def test_an_unknown_study_is_refused_with_those_that_there_are():
    with pytest.raises(
        StudyError, match=r"no study 'summer'; the studies of .* are shop"
    ) as caught:
        choose_study("summer")

    assert "spring (studies/spring.yml)" in str(caught.value)
    with pytest.raises(StudyError, match="no file"):
        choose_study(params=project_file("nowhere.yaml"))


def project_file(name):
    return choose_study().root / name


def test_a_study_has_the_name_of_its_file(project):
    write(project / "studies/autumn.yaml", "winter")

    with pytest.raises(
        StudyError, match=r"studies/autumn\.yaml: study\.name = winter, expected autumn"
    ):
        choose_study("autumn").load()


def test_two_studies_never_write_the_same_artifacts(project):
    write(project / "params.yaml", "spring")
    for one in project_studies(project)[::2]:
        with pytest.raises(StudyError, match=r"both have study\.name = spring"):
            one.load()
    assert choose_study("autumn").load()[0].study.name == "autumn"


def test_a_broken_study_does_not_disturb_the_others(project):
    (project / "params.yaml").write_text("study: [", encoding="utf-8")

    study, paths = choose_study("spring").load()

    assert (study.study.name, paths.folder) == ("spring", project / "data/studies/spring")
    assert paths.params_file == project / "studies/spring.yml"


def test_a_file_outside_any_project_makes_its_folder_one(tmp_path):
    write(tmp_path / "mine.yaml", "mine")

    found = study_of_file(tmp_path / "mine.yaml")

    assert (found.root, found.prefix) == (tmp_path, "")
    assert found.load()[1].folder == tmp_path / "data/studies/mine"


def test_without_a_project_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingArtifact, match=r"no params\.yaml"):
        choose_study()


def test_commands_in_messages_are_for_the_study(project, monkeypatch):
    message = (
        "x is missing. Create it with: dagster asset materialize --select x (or paretoscope study)"
    )
    default, spring = project_studies(project)[0], choose_study("spring")

    monkeypatch.setenv("DAGSTER_MODULE_NAME", "assets.definitions")
    assert default.adapt(message) == message
    monkeypatch.delenv("DAGSTER_MODULE_NAME")
    assert "Create it with: paretoscope study --select x (or" in default.adapt(message)
    assert spring.adapt(message) == (
        "x is missing. Create it with: paretoscope study --study spring --select x (or paretoscope "
        "study --study spring)"
    )
