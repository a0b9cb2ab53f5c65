import json
import logging
from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from models.configuration import ModelConfig, Objective, TrainingConfig
from models.errors import ModelError
from models.tokens import SessionTokens
from models.training import train

MODEL = ModelConfig(width=8, layers=1, heads=1, dropout=0.1, max_length=5)
TRAINING = TrainingConfig(epochs=2, batch_sessions=4, negatives=5, threads=1)
OTHER_MODEL = {"width": 12, "layers": 2, "heads": 2, "dropout": 0.3, "max_length": 4}
OTHER_TRAINING = {
    "objectives": (Objective.ORDER, Objective.CLICK),
    "loss_scales": (1.0, 3.0),
    "preference_concentration": (0.5, 0.6),
    "non_uniformity_weight": 0.3,
    "epochs": 3,
    "batch_sessions": 5,
    "negatives": 6,
    "learning_rate": 0.004,
    "weight_decay": 0.02,
    "gradient_clip": 0.9,
}


def trained(model_config, config):
    """The model's scores after training on twelve sessions, longer than the window."""
    tokens = SessionTokens.of([[((s + 2 * t) % 9, s % 2) for t in range(7)] for s in range(12)])
    model = train(tokens, tokens, n_items=9, model_config=model_config, config=config, seed=1).model
    with torch.no_grad():
        return model.score_all(model(torch.tensor([[1, 2, 3]]), torch.tensor([[0.4, 0.6]]))[0])


@pytest.fixture(scope="module")
def base():
    return trained(MODEL, TRAINING)


def test_equal_configurations_train_equal_models(base):
    assert torch.equal(trained(replace(MODEL), replace(TRAINING)), base)


@pytest.mark.parametrize("name", OTHER_MODEL)
def test_every_field_of_the_model_changes_it(name, base):
    changed = replace(MODEL, **{name: OTHER_MODEL[name]})

    assert not torch.equal(trained(changed, TRAINING), base)


@pytest.mark.parametrize("name", OTHER_TRAINING)
def test_every_field_of_the_training_changes_the_model(name, base):
    changed = replace(TRAINING, **{name: OTHER_TRAINING[name]})

    assert not torch.equal(trained(MODEL, changed), base)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_training_runs_on(threads, caplog):
    def look(record):
        seen.append(torch.get_num_threads())
        return record

    seen, before, logger = [], torch.get_num_threads(), logging.getLogger("models.training")
    caplog.set_level(logging.INFO, logger=logger.name)
    logger.addFilter(look)  # training logs once an epoch
    try:
        trained(MODEL, replace(TRAINING, threads=threads))
    finally:
        logger.removeFilter(look)

    assert seen == [threads] * TRAINING.epochs
    assert torch.get_num_threads() == before


def test_no_field_is_left_out_above():
    assert {field.name for field in fields(ModelConfig)} == set(OTHER_MODEL)
    assert {field.name for field in fields(TrainingConfig)} == {*OTHER_TRAINING, "threads"}


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (ModelConfig, "width", 0),
        (ModelConfig, "layers", 0),
        (ModelConfig, "heads", 0),
        (ModelConfig, "dropout", 1.0),
        (ModelConfig, "dropout", -0.1),
        (ModelConfig, "max_length", 1),
        (ModelConfig, "width", "64"),
        (ModelConfig, "width", 64.0),
        (TrainingConfig, "objectives", (Objective.CLICK,)),
        (TrainingConfig, "objectives", tuple(Objective)),
        (TrainingConfig, "objectives", ("click", "distortion")),
        (TrainingConfig, "loss_scales", (1.0, 0.0)),
        (TrainingConfig, "preference_concentration", (0.0, 0.5)),
        (TrainingConfig, "non_uniformity_weight", -0.1),
        (TrainingConfig, "epochs", 0),
        (TrainingConfig, "epochs", True),
        (TrainingConfig, "batch_sessions", 0),
        (TrainingConfig, "negatives", 0),
        (TrainingConfig, "learning_rate", 0.0),
        (TrainingConfig, "weight_decay", -1.0),
        (TrainingConfig, "gradient_clip", 0.0),
        (TrainingConfig, "threads", 0),
        (TrainingConfig, "momentum", 0.9),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_value_out_of_range_is_refused_by_name(config, name, value):
    with pytest.raises(ValidationError, match=name):
        config(**{name: value})


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (ModelConfig, {"width": 9, "heads": 2}, "width = 9 is not divisible by model.heads = 2"),
        (TrainingConfig, {"objectives": (Objective.CLICK,) * 2}, "names an objective twice"),
        (TrainingConfig, {"loss_scales": (1.0,)}, "loss_scales has 1 numbers for 2 objectives"),
        (
            TrainingConfig,
            {"preference_concentration": (1.0, 1.0, 1.0)},
            "preference_concentration has 3 numbers for 2 objectives",
        ),
    ],
    ids=["heads", "twice", "scales", "concentration"],
)
def test_fields_that_contradict_each_other_are_refused(config, values, words):
    with pytest.raises(ModelError, match=words):
        config(**values)


@pytest.mark.parametrize("config", [MODEL, TRAINING], ids=["model", "training"])
def test_configuration_is_frozen(config):
    with pytest.raises(FrozenInstanceError):
        setattr(config, fields(config)[0].name, 1)


@pytest.mark.parametrize("config", [MODEL, TRAINING], ids=["model", "training"])
def test_configuration_survives_json(config):
    read = TypeAdapter(type(config)).validate_json(json.dumps(asdict(config)))

    assert read == config
