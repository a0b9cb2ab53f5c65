"""Reading params.yaml: overrides by dotted key, and invalid files."""

import pytest

from pipeline.core.errors import StudyError
from pipeline.study import load_study


def test_overrides_change_only_the_named_values(project_root):
    params = project_root / "params.yaml"
    before = load_study(params).as_dict()

    after = load_study(params, {"training.epochs": 1, "study.name": "quick"}).as_dict()

    before["training"]["epochs"] = 1
    before["study"]["name"] = "quick"
    assert after == before


def test_an_override_can_replace_a_whole_section(project_root):
    changed = load_study(project_root / "params.yaml", {"evaluation": {"cutoff": 5}})

    assert (changed.evaluation.cutoff, changed.evaluation.preferences) == (5, 11)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (
            "training.epoch",
            1,
            "training.epoch = 1: unknown key; did you mean 'epochs'? accepted are ['batch_size'",
        ),
        ("training.epochs", "1", "training.epochs = '1': Input should be a valid integer"),
        ("trainings.epochs", 1, "override 'trainings.epochs': no section 'trainings'"),
        ("study.name.first", 1, "override 'study.name.first': no section 'study.name'"),
        ("regression.hypotheses.0.id", "H9", "no section 'regression.hypotheses.0'"),
        ("epochs", 1, "epochs = 1: unknown key; accepted are ['dataset', "),
        ("", 1, " = 1: unknown key"),
        ("training.", 1, "training. = 1: unknown key"),
    ],
)
def test_a_wrong_override_names_its_key(project_root, key, value, words):
    with pytest.raises(StudyError) as caught:
        load_study(project_root / "params.yaml", {key: value})

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "contains NoneType, expected sections such as 'study:'"),
        (b"- study\n- shop\n", "contains list, expected sections"),
        (b"just words", "contains str, expected sections"),
        (b"study: [1, 2", "is not valid YAML: while parsing a flow sequence"),
        (b"study:\n\tname: x\n", "is not valid YAML"),
        (b"study: {name: a}\nname: !!python/object:os.system {}\n", "is not valid YAML"),
        (b"study: \xff\xfe\n", "is not valid YAML"),
        (b"study: \x00\n", "is not valid YAML"),
        (b"study: 2025-13-45\n", "is not valid YAML: month must be in 1..12"),
        (b"study: " + b"9" * 5000, "is not valid YAML: Exceeds the limit"),
        (b"[" * 1000, "is not valid YAML: maximum recursion depth"),
        (b"study: &self\n  name: *self\n", "JSON cannot represent: Circular reference"),
        (b"study:\n  ? [a, b]\n  : 1\n", "is not valid YAML"),
        (b"study:\n  ? 2025-09-01\n  : 1\n", "JSON cannot represent: keys must be str"),
    ],
    ids=[
        "empty",
        "list",
        "text",
        "open-bracket",
        "tab",
        "python-object",
        "not-utf-8",
        "zero-byte",
        "impossible-date",
        "endless-number",
        "endless-nesting",
        "self-reference",
        "list-as-key",
        "date-as-key",
    ],
)
def test_an_invalid_file_raises_one_error(tmp_path, content, words):
    params = tmp_path / "params.yaml"
    params.write_bytes(content)

    with pytest.raises(StudyError) as caught:
        load_study(params)

    assert words in str(caught.value)


def test_a_missing_file_is_named_with_its_folder(tmp_path):
    with pytest.raises(StudyError) as caught:
        load_study(tmp_path / "params.yaml")

    assert str(caught.value).startswith(f"no params.yaml in {tmp_path}; run in the project's")


def test_a_folder_instead_of_the_file_is_named(tmp_path):
    (tmp_path / "params.yaml").mkdir()

    with pytest.raises(StudyError, match=r"cannot read .*params\.yaml: Is a directory"):
        load_study(tmp_path / "params.yaml")
