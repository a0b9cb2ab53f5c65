"""How long a run takes: from the last run of each asset, scaled by its work; else a wider guess."""

import pytest

from pipeline.artifacts.storage import StudyPaths, write_json
from pipeline.steps.duration import DataSize, DurationModel, LastRun, work_of
from pipeline.study import parse_study

SIZE = DataSize(events=200_000, items=3000, train_clicks=150_000, test_clicks=20_000)


@pytest.fixture
def study(small_params):
    return parse_study(small_params)


def test_the_first_run_has_a_wide_range(study):
    # at 20,000 clicks per second: 1 s + 150,000 clicks x epochs / 20,000
    expected = 1 + 150_000 * study.training.epochs / 20_000

    found = DurationModel(study=study, size=SIZE).predict(["conditioned_model"])

    assert (found.low, found.high) == pytest.approx((0.5 * expected, 4 * expected))
    assert not found.is_measured


def test_the_last_run_predicts_the_next_one(study):
    last = {"events": LastRun(4.0, 50_000.0), "pareto_front": LastRun(6.0)}

    found = DurationModel(study=study, size=SIZE, last_run=last.get).predict(last)

    assert (found.low, found.high) == pytest.approx((0.7 * 10, 1.6 * 10))
    assert found.is_measured


def test_twice_the_work_takes_less_than_twice_as_long(study):
    last = {"events": LastRun(4.0, 50_000.0)}  # 200,000 events: 1 s + 2 s at the general rate
    twice = DataSize(events=400_000, items=3000, train_clicks=1, test_clicks=1)  # 1 s + 4 s

    found = DurationModel(study=study, size=twice, last_run=last.get).predict(["events"])

    assert found.high == pytest.approx(1.6 * 4.0 * 5 / 3)


def test_what_has_no_last_run_widens_the_range(study):
    last = {"events": LastRun(4.0, 50_000.0)}
    model = DurationModel(study=study, size=SIZE, last_run=last.get)

    both = model.announce(["events", "pareto_front"])

    assert both.endswith("(no earlier run to go by)")
    assert model.announce(["events"]).endswith("(from the rates of the last run)")


def test_data_that_has_not_been_counted_has_no_prediction_before_a_run(study):
    new = DurationModel(study=study, size=None)
    known = DurationModel(study=study, size=None, last_run={"events": LastRun(40.0)}.get)

    assert new.predict(["events"]) is None
    assert new.announce(["events"]) == (
        "the run will take an unknown time: its data has not been counted yet (first run)"
    )
    assert known.announce(["events"]) == (
        "the run will take 30 to 65 seconds (from the rates of the last run)"
    )


def write_counts(
    paths: StudyPaths, *, events: int, train: tuple[int, int], test: tuple[int, int]
) -> None:
    """Artifacts with these numbers of events, and of clicks and sessions of two splits; 3 items."""
    sessions = {"items": 3}
    for split, (clicks, number) in {"train": train, "test": test}.items():
        sessions |= {f"{split}_clicks": clicks, f"{split}_sessions": number}
    for asset, content in {"events": {"events": events}, "sessions": sessions}.items():
        paths.artifact(asset).mkdir(parents=True)
        write_json(paths.artifact(asset, "summary.json"), content)


def test_sizes_are_the_counts_of_the_artifacts(study, tmp_path):
    paths = StudyPaths(root=tmp_path, name=study.study.name)
    assert DataSize.of(study, paths) is None
    write_counts(paths, events=9, train=(5, 2), test=(2, 1))

    found = DataSize.of(study, paths)

    assert found == DataSize(events=9, items=3, train_clicks=5, test_clicks=2)
    assert found is not None
    scores = work_of("preference_scores", study, found)
    assert (scores.amount, scores.unit) == (2 * 3 * study.evaluation.preferences, "scores")


def test_samples_are_less_work(small_params, tmp_path):
    sampled = parse_study(
        small_params
        | {"training": small_params.get("training", {}) | {"sessions_per_epoch": 30}}
        | {"evaluation": small_params.get("evaluation", {}) | {"sessions": 10}}
    )
    paths = StudyPaths(root=tmp_path, name=sampled.study.name)
    write_counts(paths, events=900, train=(500, 100), test=(200, 50))

    found = DataSize.of(sampled, paths)

    assert found == DataSize(events=900, items=3, train_clicks=150, test_clicks=40)


def test_a_study_that_trains_nothing_needs_no_counts(tmp_path):
    variants = {"control": 1.0, "treatment": 1.0}
    experiment = {"source": "files", "log_path": "data/log", "variants": variants}
    study = parse_study({"study": {"name": "ab"}, "experiment": experiment})

    assert DataSize.of(study, StudyPaths(root=tmp_path, name="ab")) == DataSize()
