"""The rules that a policy is asked under."""

from pathlib import Path

from pipeline.steps.unserved_policies import read_rules
from pipeline.study import PARAMS_FILE

PARAMS = Path(__file__).parents[3] / PARAMS_FILE


def test_rules_may_be_asked_of_a_study_that_explores(tmp_path):
    """Its endpoint could not have the two together; the question is about lists that are not drawn."""
    text = PARAMS.read_text("utf-8")
    assert "exploration: null" in text
    params, rules = tmp_path / PARAMS_FILE, tmp_path / "rules.yaml"
    drawn = "exploration: {share: 0.05, temperature: 0.25}"
    params.write_text(text.replace("exploration: null", drawn), "utf-8")
    rules.write_text("rules:\n  - {rule: diversity, method: mmr, strength: 0.3}\n", "utf-8")

    found = read_rules(rules, params)

    assert [one.rule for one in found.rules] == ["diversity"]
    assert found.exploration is None
