"""A study with ``training.warm_start_epochs`` continues every week, and survives a kill at any write."""

import json
import os
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml

from models.checkpoint import checkpoint_fingerprint
from models.errors import CheckpointError
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import ITEMS
from pipeline.recommender.recommender import Recommender
from pipeline.recommender.train import FINISHED, fit_study
from pipeline.study import Study, parse_study
from tests.models.training.test_resume import printed_by
from tests.pipeline.recommender.test_train import N_ITEMS, write_tokens

STATE = "conditioned_model.state.safetensors"


@pytest.fixture
def study(small_params) -> Study:
    study = parse_study(small_params)
    return replace(study, training=replace(study.training, warm_start_epochs=1))


def write_week(paths, week):
    """Sessions of items from ``100 + 10 * week`` on: ten items leave every week, ten are new."""
    folder = paths.artifact("sessions")
    folder.mkdir(parents=True, exist_ok=True)
    write_tokens(folder, ordered=[False, week % 2 == 1, True, False, False])
    first = 100 + 10 * week
    items = {
        "index": range(N_ITEMS),
        "item": range(first, first + N_ITEMS),
        "train_clicks": [1] * N_ITEMS,
    }
    ITEMS.validate(pl.DataFrame(items, schema_overrides={"index": pl.Int32})).write_parquet(
        folder / "items.parquet"
    )


@pytest.fixture
def paths(study, tmp_path):
    paths = StudyPaths.of(study, tmp_path)
    write_week(paths, 0)
    return paths


def epochs(trained):
    return max(point.epoch for point in trained.curves)


def model(paths):
    return checkpoint_fingerprint(paths.artifact("conditioned_model"))


def test_each_week_continues_from_the_last_and_serves_its_own_items(study, paths):
    assert epochs(fit_study(study, paths)) == study.training.epochs
    write_week(paths, 1)

    assert epochs(fit_study(study, paths)) == 1

    assert Recommender.load(paths).items[0] == "110"
    assert paths.artifact(FINISHED).exists()
    assert not paths.artifact(STATE).exists()


def test_the_same_week_again_changes_nothing(study, paths):
    fit_study(study, paths)
    write_week(paths, 1)
    fit_study(study, paths)
    before, state = model(paths), paths.artifact(FINISHED).read_bytes()

    fit_study(study, paths)

    assert (model(paths), paths.artifact(FINISHED).read_bytes()) == (before, state)


def test_without_the_parameter_every_model_is_trained_anew(study, paths):
    fit_study(study, paths)
    from_scratch = replace(study, training=replace(study.training, warm_start_epochs=None))

    assert epochs(fit_study(from_scratch, paths)) == study.training.epochs

    assert not paths.artifact(FINISHED).exists()


def test_a_damaged_state_leaves_the_model_that_was(study, paths):
    fit_study(study, paths)
    before = model(paths)
    paths.artifact(FINISHED).write_bytes(b"\x80\x04pickle")
    write_week(paths, 1)

    with pytest.raises(CheckpointError, match=r"finished\.safetensors is not a readable state"):
        fit_study(study, paths)

    assert model(paths) == before


def be_killed(folder: Path) -> None:
    """In a process of one thread, which may fork: a week killed at each of its renames, and started again."""
    torch.set_num_threads(1)
    study = parse_study(yaml.safe_load((folder / "params.yaml").read_text("utf-8")))
    found: list[dict[str, str]] = []
    while not found or found[-1]["ended"] == "killed":
        root = shutil.copytree(folder / "second-week", folder / str(len(found)))
        paths = StudyPaths.of(study, root)
        ended = _in_child(study, paths, renames=len(found))
        _in_child(study, paths, renames=None)
        found.append({"ended": ended, "model": model(paths)})
    sys.stdout.write(json.dumps(found))


def _in_child(study: Study, paths: StudyPaths, *, renames: int | None) -> str:
    """Fit in a child that kills itself after so many renames."""
    child = os.fork()
    if child == 0:
        rename, done = Path.replace, iter(range(10**9))

        def counted(self, target):
            if next(done) == renames:
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(self, target)

        Path.replace = counted
        fit_study(study, paths)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


@pytest.mark.slow
def test_a_week_that_is_killed_at_any_rename_ends_as_one_that_is_not(study, tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(study.as_dict()), encoding="utf-8")
    second_week = StudyPaths.of(study, tmp_path / "second-week")
    write_week(second_week, 0)
    fit_study(study, second_week)
    write_week(second_week, 1)
    program = f"import pathlib; from {__name__} import be_killed; be_killed(pathlib.Path({str(tmp_path)!r}))"

    *killed, whole = printed_by(program)
    assert whole["ended"] == "exit 0"
    assert len(killed) >= 3  # saved states, the published folder, the finished state
    assert {one["model"] for one in killed} == {whole["model"]}
