"""Reading params.yaml: overrides by dotted key, and invalid files."""

from datetime import date

import pytest

from pipeline.core.errors import StudyError
from pipeline.study import load_study

BOMB = b"a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + b"".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n".encode()
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Three hundred bytes for 9^9 values."""


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


def test_an_override_adds_a_section_that_the_file_leaves_out(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("study: {name: a, seed: 1}\ndataset: {format: otto, path: log}\n", "utf-8")

    changed = load_study(file, {"model.hidden_size": 16, "training.negatives.uniform": 64})

    assert (changed.model.hidden_size, changed.training.negatives.uniform) == (16, 64)
    assert changed.model.layers == load_study(file).model.layers


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
        ("epochs", 1, "epochs = 1: unknown key; accepted are ['compute', 'dataset', "),
        ("", 1, " = 1: unknown key"),
        ("training.", 1, "training. = 1: unknown key"),
    ],
)
def test_a_wrong_override_names_its_key(project_root, key, value, words):
    with pytest.raises(StudyError) as caught:
        load_study(project_root / "params.yaml", {key: value})

    assert words in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "contains nothing, expected sections such as 'study:'"),
        (b"- study\n- shop\n", "contains list, expected sections"),
        (b"just words", "contains str, expected sections"),
        (b"study: [1, 2", "is not valid YAML: line 1, column 13: while parsing a flow sequence"),
        (b"study:\n\tname: x\n", "line 2, column 1: while scanning for the next token found"),
        (b"study:\n\tname: x\n", "indent with spaces, not tabs"),
        (b"study: {name: a}\nname: !!python/object:os.system {}\n", "line 2: the tag"),
        (b"study:\n  name: \xff\xfe\n", "line 2 is not UTF-8 text (byte 0xff); save the file"),
        ("study: Ä\n".encode("utf-16"), "line 1 is not UTF-8 text"),
        (b"study: \x00\n", "is not valid YAML: unacceptable character #x0000"),
        (b"study: " + b"9" * 5000, "line 1: a number of 5,000 digits is not accepted"),
        (b"[" * 100_000, "is not valid YAML: lists or sections are nested too deeply"),
        (b"study: &self\n  name: *self\n", "nested too deeply"),
        (b"study:\n  ? [a, b]\n  : 1\n", "line 2: a key is empty, a list or a section"),
        (b'study:\n  name: a\n  "": 1\n', "line 3: a key is empty"),
        (b"study: {{ name }}\n", "line 1: a key is empty, a list or a section"),
        (b"base: &b {name: a}\nstudy:\n  <<: *b\n", "line 3: merge keys (<<) are not supported"),
        (b"study: {name: a}\n---\nstudy: {name: b}\n", "line 2, column 1: a second document"),
        (b"study:\n  name: a\nsize: 1\nstudy:\n", "study is given twice, in line 1 and in line 4"),
        (b'a:\n  b:\n  - {c: 1, "c": 2}\n', "a.b.0.c is given twice, in line 3 and in line 3"),
        (b"users:\n  1: g1\n  '1': g2\n", "users.1 is given twice, in line 2 and in line 3"),
        (b"#" * 10_000_000, "is not valid YAML: it has 10,000,000 bytes, expected at most"),
        (BOMB, "line 1: more than 100,000 values, repeated by aliases (*name)"),
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


def test_an_invalid_value_is_named_with_its_line_and_what_to_write(project_root, tmp_path):
    text = (project_root / "params.yaml").read_text("utf-8")
    lines = text.splitlines()
    line = lines.index("  epochs: 10") + 1
    (tmp_path / "params.yaml").write_text(text.replace("  epochs: 10\n", "  epochs: 010\n"))

    with pytest.raises(StudyError) as caught:
        load_study(tmp_path / "params.yaml")

    assert f"- line {line}: training.epochs = '010': Input should be a valid integer" in str(
        caught.value
    )
    assert "write a decimal number without quotes, leading zeros or separators" in str(caught.value)


def test_keys_that_contradict_each_other_are_named_with_their_lines(project_root, tmp_path):
    text = (project_root / "params.yaml").read_text("utf-8")
    lines = text.splitlines()
    (tmp_path / "params.yaml").write_text(text.replace("  groups: 5\n", "  groups: 12\n"))

    with pytest.raises(StudyError) as caught:
        load_study(tmp_path / "params.yaml")

    groups, preferences = (lines.index(f"  {key}") + 1 for key in ("groups: 5", "preferences: 11"))
    assert f"experiment.groups: line {groups}" in str(caught.value)
    assert f"evaluation.preferences: line {preferences}" in str(caught.value)


def test_an_overridden_value_has_no_line(project_root):
    with pytest.raises(StudyError, match=r"- training\.epochs = 0: Input should be greater"):
        load_study(project_root / "params.yaml", {"training.epochs": 0})


def test_a_byte_order_mark_changes_nothing(project_root, tmp_path):
    data = (project_root / "params.yaml").read_bytes()
    (tmp_path / "params.yaml").write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))

    assert load_study(tmp_path / "params.yaml") == load_study(project_root / "params.yaml")


@pytest.mark.parametrize(
    "user", ["0012345", "yes", "12:30", "1e5", "010", "0x1F", "null", "~", "2025-09-01", "1_000"]
)
def test_a_user_is_who_is_written(project_root, tmp_path, user):
    text = (project_root / "params.yaml").read_text("utf-8")
    forced = text.replace("forced_assignment: {}", f"forced_assignment: {{{user}: g3, 7: g1}}")
    (tmp_path / "params.yaml").write_text(forced)

    study = load_study(tmp_path / "params.yaml")

    assert study.experiment.forced_assignment == {user: "g3", "7": "g1"}


@pytest.mark.parametrize("day", ["2025-09-01", '"2025-09-01"', "'2025-09-01'"])
def test_a_day_needs_no_quotes(project_root, tmp_path, day):
    text = (project_root / "params.yaml").read_text("utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("first_day: null", f"first_day: {day}"))

    assert load_study(tmp_path / "params.yaml").experiment.first_day == date(2025, 9, 1)
