"""Configurations: every field matters, and what cannot be meant is refused with what to change."""

import json
import logging
from dataclasses import FrozenInstanceError, asdict, fields, replace
from functools import cache

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from models.errors import ModelError
from models.network.configuration import Activation, Conditioning, ModelConfig, Positions
from models.objectives.configuration import ClickLoss, Negatives, Objective
from models.tokens import SessionTokens
from models.training.configuration import (
    HypervolumeOf,
    ItemVectors,
    Precision,
    PreferenceSampling,
    Regulariser,
    Scalarisation,
    TrainingConfig,
)
from models.training.loop import train

CLICK = Objective(loss="click", concentration=0.5)
ORDER = Objective(loss="order", scale=4.0, concentration=0.5)
TWICE = (CLICK, ORDER, replace(CLICK, scale=2.0))
ALL = Negatives(uniform=0, all=True)
MIXTURE = Conditioning.LOW_RANK_MIXTURE
MODEL = ModelConfig(
    backbone="tron",
    hidden_size=8,
    layers=1,
    heads=1,
    dropout=0.1,
    max_length=5,
    conditioning=Conditioning.CONCATENATION,
)
TRAINING = TrainingConfig(
    objectives=(CLICK, ORDER),
    epochs=1,
    batch_size=4,
    negatives=Negatives(uniform=5),
    validation_preferences=2,
    threads=1,
)
STALE = {
    "epochs": 3,
    "learning_rate": 0.3,
    "regulariser": Regulariser.NONE,
    "initial_items": ItemVectors.RANDOM,
}
"""A rate so high that the first epoch stays the best."""

# Another value of each field and, where the field needs another one to matter, that one.
OTHER_MODEL = {
    "backbone": ("gru4rec", {}),
    "conditioning": (Conditioning.FILM, {}),
    "rank": (2, {"conditioning": MIXTURE}),
    "hidden_size": (12, {}),
    "layers": (2, {}),
    "heads": (2, {}),
    "feedforward_multiplier": (3, {}),
    "activation": (Activation.RELU, {}),
    "dropout": (0.3, {}),
    "max_length": (4, {}),
    "positions": (Positions.END, {}),
}
OTHER_TRAINING = {
    "objectives": ((ORDER, CLICK), {}),
    "click_loss": (ClickLoss.GBCE, {}),
    "gbce_calibration": (0.3, {"click_loss": ClickLoss.GBCE}),
    "negatives": (Negatives(uniform=6), {}),
    "scalarisation": (Scalarisation.SMOOTH_TCHEBYCHEFF, {}),
    "smoothness": (0.5, {"scalarisation": Scalarisation.SMOOTH_TCHEBYCHEFF}),
    "regulariser": (Regulariser.ANGLE, {}),
    "regulariser_weight": (0.3, {}),
    "preference_sampling": (PreferenceSampling.BATCH, {}),
    "epochs": (2, {}),
    "sessions_per_epoch": (4, {}),
    "batch_size": (5, {}),
    "learning_rate": (0.004, {}),
    "warmup_ratio": (0.9, {}),
    "weight_decay": (0.5, {}),
    "gradient_clip": (0.1, {}),
    "sparse_items": (True, {}),
    "initial_items": (ItemVectors.RANDOM, {}),
    "precision": (Precision.BFLOAT16, {}),
}
OTHER_CHOICE = {
    "patience": (1, STALE),
    "hypervolume_of": (HypervolumeOf.METRICS, {}),
    "validation_preferences": (3, {}),
}
OTHER_OBJECTIVE = {"loss": "cart", "scale": 2.0, "concentration": 0.8, "reference": 1.5}
OTHER_NEGATIVES = {
    "uniform": Negatives(uniform=6),
    "in_batch": Negatives(uniform=5, in_batch=True),
    "top": Negatives(uniform=5, top=2),
    "log_q": Negatives(uniform=5, log_q=True),
    "all": ALL,
}
ELSEWHERE = {"device", "threads", "save_every", "warm_start_epochs"}
"""They change where and how training runs, not what comes out of a first one."""


def trained(model_config, config):
    """Scores, curves and front after training on twelve sessions, longer than the window."""
    written = [[((s + 2 * t) % 9, s % 2, s % 3 == 0) for t in range(7)] for s in range(12)]
    tokens = SessionTokens.from_lists(written)
    done = train(tokens, tokens, n_items=9, model_config=model_config, config=config, seed=1)
    session = torch.tensor([[1, 2, 3]]), torch.tensor([3]), torch.tensor([[0.4, 0.6]])
    with torch.no_grad():
        return done.model.score_all(done.model(*session)[0]).tolist(), done.curves, done.front


outcome = cache(trained)


def scores(model_config, config):
    return outcome(model_config, config)[0]


def before_and_after(config, name, others):
    value, needed = others[name]
    before = replace(config, **needed)
    return before, replace(before, **{name: value})


@pytest.mark.slow
def test_equal_configurations_train_equal_models():
    assert trained(replace(MODEL), replace(TRAINING)) == outcome(MODEL, TRAINING)


@pytest.mark.parametrize("name", OTHER_MODEL)
def test_every_field_of_the_model_changes_it(name):
    before, after = before_and_after(MODEL, name, OTHER_MODEL)

    assert scores(after, TRAINING) != scores(before, TRAINING)


@pytest.mark.parametrize("name", OTHER_TRAINING)
def test_every_field_of_the_training_changes_the_model(name):
    before, after = before_and_after(TRAINING, name, OTHER_TRAINING)

    assert scores(MODEL, after) != scores(MODEL, before)


@pytest.mark.parametrize("name", OTHER_CHOICE)
def test_every_field_of_an_epoch_changes_its_state(name):
    before, after = before_and_after(TRAINING, name, OTHER_CHOICE)

    assert scores(MODEL, after) == scores(MODEL, before)  # the same steps, here the same epoch
    assert outcome(MODEL, after)[1:] != outcome(MODEL, before)[1:]


@pytest.mark.parametrize("name", OTHER_OBJECTIVE)
def test_every_field_of_an_objective_changes_the_model(name):
    after = replace(TRAINING, objectives=(CLICK, replace(ORDER, **{name: OTHER_OBJECTIVE[name]})))

    assert scores(MODEL, after) != scores(MODEL, TRAINING)


@pytest.mark.parametrize("name", OTHER_NEGATIVES)
def test_every_field_of_the_negatives_changes_the_model(name):
    after = replace(TRAINING, negatives=OTHER_NEGATIVES[name])

    assert scores(MODEL, after) != scores(MODEL, TRAINING)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_training_runs_on(threads, caplog):
    def look(record):
        seen.append(torch.get_num_threads())
        return record

    seen, before, logger = [], torch.get_num_threads(), logging.getLogger("models.training.loop")
    caplog.set_level(logging.INFO, logger=logger.name)
    logger.addFilter(look)  # training logs once an epoch
    try:
        trained(MODEL, replace(TRAINING, threads=threads, batch_size=12))
    finally:
        logger.removeFilter(look)

    assert seen == [threads]
    assert torch.get_num_threads() == before


def test_no_field_is_left_out_above():
    def names(config):
        return {field.name for field in fields(config)}

    assert names(ModelConfig) == set(OTHER_MODEL)
    assert names(TrainingConfig) == {*OTHER_TRAINING, *OTHER_CHOICE, *ELSEWHERE}
    assert names(Objective) == set(OTHER_OBJECTIVE)
    assert names(Negatives) == set(OTHER_NEGATIVES)


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (ModelConfig, "conditioning", "hypernetwork"),
        (ModelConfig, "conditioning", "film"),  # a word is a choice in JSON and YAML only
        (ModelConfig, "rank", 0),
        (ModelConfig, "hidden_size", 0),
        (ModelConfig, "layers", 0),
        (ModelConfig, "heads", 0),
        (ModelConfig, "feedforward_multiplier", 0),
        (ModelConfig, "dropout", 1.0),
        (ModelConfig, "dropout", -0.1),
        (ModelConfig, "max_length", 1),
        (ModelConfig, "hidden_size", "64"),
        (ModelConfig, "hidden_size", 64.0),
        (TrainingConfig, "objectives", ()),
        (TrainingConfig, "objectives", (CLICK,)),
        (TrainingConfig, "objectives", ("click", "order")),
        (TrainingConfig, "gbce_calibration", 1.1),
        (TrainingConfig, "gbce_calibration", -0.1),
        (TrainingConfig, "smoothness", 0.0),
        (TrainingConfig, "regulariser_weight", -0.1),
        (TrainingConfig, "epochs", 0),
        (TrainingConfig, "epochs", True),
        (TrainingConfig, "sessions_per_epoch", 0),
        (TrainingConfig, "patience", 0),
        (TrainingConfig, "validation_preferences", 1),
        (TrainingConfig, "batch_size", 0),
        (TrainingConfig, "learning_rate", 0.0),
        (TrainingConfig, "learning_rate", float("inf")),
        (TrainingConfig, "warmup_ratio", 1.0),
        (TrainingConfig, "weight_decay", -1.0),
        (TrainingConfig, "gradient_clip", 0.0),
        (TrainingConfig, "sparse_items", 1),
        (TrainingConfig, "threads", 0),
        (TrainingConfig, "save_every", 0),
        (TrainingConfig, "momentum", 0.9),
        (Negatives, "uniform", -1),
        (Negatives, "top", 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_value_out_of_range_is_refused_by_name(config, name, value):
    with pytest.raises(ValidationError, match=name):
        config(**{name: value})


@pytest.mark.parametrize("name", ["scale", "concentration", "reference"])
@pytest.mark.parametrize("value", [0.0, -0.5, float("nan"), float("inf")])
def test_an_objectives_numbers_are_positive_and_finite(name, value):
    with pytest.raises(ValidationError, match=name):
        Objective(loss="click", **{name: value})


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (
            ModelConfig,
            {"hidden_size": 9, "heads": 2},
            "hidden_size = 9 is not divisible by model.heads = 2",
        ),
        (
            Objective,
            {"loss": "dwell"},
            "objectives = 'dwell' is unknown; built-in: click, order, cart, rev",
        ),
        (
            Objective,
            {"loss": "Click"},
            r"'Click' is unknown.* write an import path, 'package\.module:name'",
        ),
        (
            Objective,
            {"loss": "ours:margin"},
            "ours:margin needs a 'reference', its worst useful value",
        ),
        (TrainingConfig, {"objectives": TWICE}, r"a loss twice: \['click', 'order', 'click'\]"),
        (Negatives, {"uniform": 0}, "draws none; set uniform, in_batch or all"),
        (Negatives, {"uniform": 5, "top": 6}, "top = 6 exceeds uniform = 5, .*; lower it"),
        (Negatives, {"all": True}, "all compares with every item; set uniform: 0, in_batch: false"),
        (Negatives, {"all": True, "uniform": 0, "in_batch": True}, "and log_q: false"),
        (Negatives, {"all": True, "uniform": 0, "log_q": True}, "and log_q: false"),
        (TrainingConfig, {"negatives": ALL, "click_loss": ClickLoss.GBCE}, "negatives.all: false"),
        (TrainingConfig, {"negatives": ALL, "sparse_items": True}, "set one of them to false"),
        (TrainingConfig, {"device": "tpu"}, "'tpu'; accepted are 'auto', 'cpu' and 'cuda'"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(config, values, words):
    with pytest.raises(ModelError, match=words):
        config(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"uniform": 0, "in_batch": True},
        {"uniform": 0, "in_batch": True, "top": 100},  # how many there are depends on the batch
        {"uniform": 5, "top": 5},
        {"uniform": 0, "all": True, "top": 3},
        {"uniform": 5, "in_batch": True, "log_q": True},
    ],
    ids=str,
)
def test_negatives_that_can_be_drawn_are_accepted(values):
    Negatives(**values)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_before_training():
    with pytest.raises(ModelError, match="torch finds no GPU; set it to auto or cpu"):
        trained(MODEL, replace(TRAINING, device="cuda"))


CONFIGS = [
    MODEL,
    ModelConfig(backbone="our.models:Mine", conditioning=MIXTURE, positions=Positions.END),
    TRAINING,
    TrainingConfig(
        objectives=(CLICK, Objective(loss="our.losses:margin", reference=2.0), ORDER),
        negatives=Negatives(uniform=0, in_batch=True, log_q=True),
        precision=Precision.BFLOAT16,
        patience=3,
    ),
]


@pytest.mark.parametrize("config", CONFIGS, ids=["model", "other-model", "training", "other"])
def test_configuration_survives_json(config):
    read = TypeAdapter(type(config)).validate_json(json.dumps(asdict(config)))

    assert read == config


@pytest.mark.parametrize("config", [MODEL, TRAINING, CLICK, TRAINING.negatives], ids=type)
def test_configuration_is_frozen(config):
    with pytest.raises(FrozenInstanceError):
        setattr(config, fields(config)[0].name, 1)
