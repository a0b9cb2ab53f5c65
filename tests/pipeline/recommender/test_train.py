"""The study's network is fitted to its sessions and published whole."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.errors import ModelError
from models.network.configuration import ModelConfig
from models.objectives.configuration import Objective
from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import ITEMS, Split
from pipeline.core.errors import DataError, MissingArtifact
from pipeline.recommender.recommender import Recommender
from pipeline.recommender.train import fit_study
from pipeline.sessions.token_store_writer import TokenWriter
from pipeline.study import parse_study

N_ITEMS = 70


@pytest.fixture
def study(small_params):
    return parse_study(small_params)


@pytest.fixture
def paths(study, tmp_path):
    """A study's folder with sessions in which item i is followed by i + 1."""
    paths = StudyPaths.of(study, tmp_path)
    folder = paths.artifact("sessions")
    folder.mkdir(parents=True)
    write_tokens(folder, ordered=[False, False, True, False, False])
    items = {
        "index": range(N_ITEMS),
        "item": range(100, 100 + N_ITEMS),
        "train_clicks": [1] * N_ITEMS,
    }
    ITEMS.validate(pl.DataFrame(items, schema_overrides={"index": pl.Int32})).write_parquet(
        folder / "items.parquet"
    )
    return paths


def write_tokens(folder, ordered):
    with TokenWriter(folder / "tokens.safetensors") as tokens:
        for split in Split:
            for first in range(0, N_ITEMS, 5):
                clicks = pl.DataFrame(
                    {
                        "item": [(first + step) % N_ITEMS for step in range(5)],
                        "ts": [0, 1, 2, 3, 4],
                        "ordered": ordered,
                        "carted": [False] * 5,
                    }
                )
                tokens.append(split, clicks, np.array([5]))


def published(paths):
    return sorted(file.name for file in paths.folder.rglob("conditioned_model*/*"))


def test_checkpoint_and_curves_are_published_and_serve(study, paths):
    trained = fit_study(study, paths)

    folder = paths.artifact("conditioned_model")
    facts = json.loads((folder / "model.json").read_text("utf-8"))
    curves = pl.read_parquet(folder / "learning_curves.parquet")
    recommender = Recommender.load(paths)
    assert facts["best_epoch"] == trained.best_epoch
    assert facts["hypervolume"] == trained.front.hypervolume
    assert len(facts["reference"]) == 2
    assert set(curves["objective"]) == {"click", "order", "hypervolume"}
    assert recommender.items[0] == "100"
    assert not paths.artifact("conditioned_model.state.safetensors").exists()


def test_a_failed_fit_leaves_the_old_model(study, paths):
    fit_study(study, paths)
    before = published(paths)
    broken = replace(study, model=ModelConfig(backbone="nowhere:Backbone"))

    with pytest.raises(ModelError, match="nowhere"):
        fit_study(broken, paths)

    assert published(paths) == before


def test_revenue_takes_the_values_of_the_file_the_study_names(study, paths):
    objectives = (Objective(loss="click"), Objective(loss="revenue"))
    study = replace(study, training=replace(study.training, objectives=objectives))
    rows = "".join(f"{item},{item % 3}\n" for item in range(100, 100 + N_ITEMS))
    (paths.root / "values.csv").write_text(f"item,value\n{rows}")

    with pytest.raises(ModelError, match=r"dataset\.item_attributes"):
        fit_study(study, paths)
    trained = fit_study(
        replace(study, dataset=replace(study.dataset, item_attributes="values.csv")), paths
    )

    losses = [point.loss for point in trained.curves if point.objective == "revenue"]
    assert losses[-2] < losses[0]


def test_missing_sessions_are_named_with_the_command_that_makes_them(study, tmp_path):
    with pytest.raises(MissingArtifact, match="--select sessions"):
        fit_study(study, StudyPaths.of(study, tmp_path))


@pytest.mark.parametrize(("loss", "followed"), [("order", "an order"), ("cart", "a cart")])
def test_an_objective_without_labels_is_refused_before_training(study, paths, loss, followed):
    write_tokens(paths.artifact("sessions"), ordered=[False] * 5)
    objectives = (Objective(loss="click"), Objective(loss=loss))
    study = replace(study, training=replace(study.training, objectives=objectives))

    with pytest.raises(DataError) as refused:
        fit_study(study, paths)

    message = str(refused.value)
    assert f"the objective {loss} needs clicks that are followed by {followed}" in message
    assert f"none of the {N_ITEMS} train clicks is" in message
    assert "objectives: [{loss: click}, {loss: distortion, scale: 0.1}]" in message
    assert "regression.hypotheses: []" in message
    assert not published(paths)


def test_clicks_alone_train_against_distortion(study, paths):
    write_tokens(paths.artifact("sessions"), ordered=[False] * 5)
    objectives = (Objective(loss="click"), Objective(loss="distortion", scale=0.1))
    study = replace(study, training=replace(study.training, objectives=objectives))

    trained = fit_study(study, paths)

    assert {point.objective for point in trained.curves} == {"click", "distortion", "hypervolume"}
