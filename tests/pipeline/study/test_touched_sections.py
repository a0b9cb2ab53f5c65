"""Sections that a caller does not read do not refuse it; those it reads do."""

import pytest

from pipeline.core.errors import StudyError
from pipeline.study import SECTIONS, load_study


@pytest.mark.parametrize(
    ("changes", "untouched"),
    [
        ({"serving.threads": 0}, "serving"),
        ({"experiment.groups": 7, "experiment.replicates": 2}, "experiment"),
        ({"experiment.source": "files"}, "experiment"),
        ({"regression.hypotheses": [{"id": "H1", "metric": "x", "kpi": "ctr"}]}, "regression"),
        ({"training.colour": "red"}, "training"),
        ({"evaluation.segments": ["category"]}, "evaluation"),
        ({"simulator": ["no section"]}, "simulator"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_only_touched_sections_are_checked(project_root, changes, untouched):
    params = project_root / "params.yaml"
    others = [name for name in SECTIONS if name != untouched]

    assert load_study(params, changes, others).study.name == "synthetic-shop"
    with pytest.raises(StudyError):
        load_study(params, changes)


def test_an_unknown_section_is_refused_by_every_caller(project_root):
    with pytest.raises(StudyError, match="unknown key"):
        load_study(project_root / "params.yaml", {"training.epochs": 1, "colour": "red"}, ())


def test_an_invalid_experiment_that_is_not_read_does_not_simulate_the_shop(project_root):
    changes = {"experiment.groups": 1}

    study = load_study(project_root / "params.yaml", changes, ("dataset", "synthetic"))

    assert study.experiment.source == "held-out-replay"  # whose raw log may be any
