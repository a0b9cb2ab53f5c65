"""Rules in a file of their own."""

from pathlib import Path

import pytest

from pipeline.core.errors import StudyError
from pipeline.study import PARAMS_FILE, read_rules

PARAMS = Path(__file__).parents[3] / PARAMS_FILE


def test_rules_may_be_asked_of_a_study_that_explores(tmp_path):
    """Its groups could not have the two together; the rules are of lists that are not drawn."""
    text = PARAMS.read_text("utf-8")
    assert "exploration: null" in text
    params, rules = tmp_path / PARAMS_FILE, tmp_path / "rules.yaml"
    drawn = "exploration: {share: 0.05, temperature: 0.25}"
    params.write_text(text.replace("exploration: null", drawn), "utf-8")
    rules.write_text("rules:\n  - {rule: diversity, method: mmr, strength: 0.3}\n", "utf-8")

    found = read_rules(rules, params)

    assert [one.rule for one in found.rules] == ["diversity"]


def test_the_file_has_all_rules_that_apply(tmp_path):
    """The filters and rules of the section serving are not added."""
    params, rules = tmp_path / PARAMS_FILE, tmp_path / "rules.yaml"
    text = PARAMS.read_text("utf-8")
    assert "seen: false" in text
    params.write_text(text.replace("seen: false", "seen: true"), "utf-8")
    rules.write_text("candidates: 50\n", "utf-8")

    found = read_rules(rules, params)

    assert found.is_empty
    assert found.candidates == 50


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read"),
        (b"", "expected the keys candidates, filters, index, rules"),
        (b"- pin\n", "expected the keys"),
        (b"serving: {rules: []}\n", "expected the keys"),
        (b"rules: [\n", "is not valid YAML: line 2"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"rules:\n  - {rule: pin, item: a, position: 0}\n", "rules.0.pin.position = 0"),
        (b"rules:\n  - {rule: pim, item: a, position: 1}\n", "rules.0"),
        (b"filters: {bought: true}\n", "unknown key"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, words):
    file = tmp_path / "summer.yaml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(StudyError) as caught:
        read_rules(file, PARAMS)

    assert words in str(caught.value)
    assert str(file) in str(caught.value)
