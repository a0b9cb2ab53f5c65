"""The section ``rollout``: what is accepted, and what a message says of the rest."""

from pathlib import Path

import pytest

from pipeline.core.errors import StudyError
from pipeline.study import load_study

ROOT = Path(__file__).parents[3]
ARMS = {"candidate": {"preference": "p07"}, "incumbent": {"preference": "p04"}}


def load(**section):
    values = {"release": "spring", **ARMS, **section}
    return load_study(ROOT / "params.yaml", {"rollout": values}).rollout


def stages(*shares):
    return [{"name": f"s{n}", "share": share} for n, share in enumerate(shares)]


def test_defaults_are_the_ladder_of_margins():
    found = load()

    assert [(one.name, one.share, one.margin) for one in found.stages] == [
        ("canary", 0.01, None),
        ("canary-5", 0.05, 0.3),
        ("ramp", 0.25, 0.15),
        ("half", 0.5, 0.05),
        ("full", 1.0, None),
    ]
    assert load_study(ROOT / "params.yaml").rollout is None


def test_the_incumbent_is_that_of_the_experiment_by_default():
    arms = {"release": "spring", "candidate": {"preference": "p07"}}
    named = load_study(ROOT / "params.yaml", {"rollout": arms, "experiment.incumbent": "p04"})

    assert named.rollout.incumbent_arm(named.experiment.incumbent).preference == "p04"
    with pytest.raises(StudyError, match=r"rollout.incumbent: required, but missing"):
        load_study(ROOT / "params.yaml", {"rollout": arms})


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"stages": stages(0.01, 0.5, 0.5, 1.0)}, r"shares \[0.01, 0.5, 0.5, 1.0\] do not rise"),
        ({"stages": stages(0.01, 0.25, 0.5)}, "the last share is 0.5; expected a last stage with"),
        ({"stages": stages(0.1, 0.5, 1.0)}, "the first share is 0.1; expected a canary of at most 0.05"),
        ({"stages": stages(0.01, 0.05, 1.0)}, "the share before the last is 0.05; expected one above"),
        ({"stages": stages(0.01, 0.97, 1.0)}, "expected one above 0.05 and at most 0.95"),
        ({"stages": stages(0.01, 1.0)}, "expected 3 or more"),
        ({"stages": [*stages(0.01, 0.5), {"name": "s0", "share": 1.0}]}, "stages: s0 more than once"),
        ({"stages": [{"name": "a", "share": 0.01, "margin": 0.0}]}, "margin = 0.0: .* greater than 0"),
        ({"requests": {"errors": 0.0}}, "rollout.requests.errors = 0.0: .* greater than 0"),
        ({"requests": {"slow": 0.1}}, "expected one of 'errors', 'late' or 'fallback'"),
        ({"guardrails": ["ctr", "ctr"]}, "ctr more than once"),
        ({"guardrails": ["ctr"], "signals": ["ctr"]}, "ctr more than once"),
        ({"guardrails": []}, "expected 1 or more"),
        ({"release": "Spring 1"}, "rollout.release = 'Spring 1'"),
        ({"no_data_minuts": 5}, "did you mean 'no_data_minutes'"),
    ],
)  # fmt: skip
def test_what_is_refused(section, problem):
    with pytest.raises(StudyError, match=problem):
        load(**section)


def test_a_faulty_entry_is_the_only_fault_of_its_list():
    with pytest.raises(StudyError) as refused:
        load(guardrails=["recall"])

    assert str(refused.value).count("\n") == 1
    assert "rollout.guardrails.0" in str(refused.value)
