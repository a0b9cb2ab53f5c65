"""Our own runs: the conditioned model, and the same network trained on clicks alone."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from equal_search.logs import PeerLog
from models.network.configuration import ModelConfig
from models.network.model import ConditionedSessionModel
from models.objectives.configuration import DISTORTION_SCALE, Objective
from models.training.co_occurrence import start_from_co_occurrence
from models.training.configuration import ItemVectors, Regulariser, TrainingConfig
from models.training.loop import train
from pipeline.study import PARAMS_FILE, load_study

ROOT = Path(__file__).parents[2]
CLICKS = torch.tensor([[1.0, 0.0]])
_ALONE = 1e4
"""Concentration of the only objective that counts: its weight is 1 in every session."""
_IGNORED = 1e9
"""Worst value of the other objective: so large that the click loss alone selects the epoch."""
_SAMPLE = 2000
"""Sessions from whose epoch the rate of training is measured."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run of ours.

    Attributes:
        model: The network of the best epoch.
        seconds: Processor seconds of training and its validations.
        epochs: Its epochs.
    """

    model: ConditionedSessionModel
    seconds: float
    epochs: int


def configuration(
    log: PeerLog, overrides: Mapping[str, Any], *, clicks_alone: bool
) -> tuple[ModelConfig, TrainingConfig]:
    """The default study's network and training, with the log's second objective."""
    study = load_study(ROOT / PARAMS_FILE, dict(overrides))
    training = replace(study.training, device="cpu", threads=1)
    uniform = min(training.negatives.uniform, log.log.n_items)
    training = replace(training, negatives=replace(training.negatives, uniform=uniform))
    if not log.has_orders:
        click, _ = training.objectives
        second = Objective(loss="distortion", scale=DISTORTION_SCALE, concentration=0.1)
        training = replace(training, objectives=(click, second))
    if clicks_alone:
        click, second = training.objectives
        training = replace(
            training,
            objectives=(
                replace(click, concentration=_ALONE), replace(second, concentration=1 / _ALONE, reference=_IGNORED),
            ),
            regulariser=Regulariser.NONE,
        )  # fmt: skip
    return study.model, training


def train_for(
    log: PeerLog, model: ModelConfig, config: TrainingConfig, *, seconds: float, seed: int
) -> Trained:
    """As many clicks as fit in the time, in epochs of one length that is at most the log's.

    The schedule of the learning rate needs their number before training, so the rate is measured
    first, on sessions of the log; that time does not count.
    """
    passes = (seconds - start_seconds(log, model, config)) / epoch_seconds(log, model, config)
    epochs = max(1, math.ceil(passes))
    share = min(1.0, max(passes, 0.0) / epochs)
    sessions = max(1, int(share * log.log.train.n_sessions))
    config = replace(config, epochs=epochs, sessions_per_epoch=sessions)
    started = time.process_time()
    trained = train(
        log.log.train,
        log.log.validation,
        n_items=log.log.n_items,
        model_config=model,
        config=config,
        seed=seed,
    )
    return Trained(trained.model, time.process_time() - started, epochs)


def start_seconds(log: PeerLog, model: ModelConfig, config: TrainingConfig) -> float:
    """Processor seconds before the first step: those of an item table from co-occurrence."""
    if config.initial_items is ItemVectors.RANDOM:
        return 0.0
    table = nn.Embedding(log.log.n_items, model.hidden_size)
    started = time.process_time()
    start_from_co_occurrence(table, log.log.train, seed=0)
    return time.process_time() - started


def epoch_seconds(log: PeerLog, model: ModelConfig, config: TrainingConfig) -> float:
    """Expected processor seconds of an epoch and its validation."""
    tokens = log.log.train
    config = replace(config, epochs=1, initial_items=ItemVectors.RANDOM)
    run = partial(train, n_items=log.log.n_items, model_config=model, config=config, seed=0)
    number = min(_SAMPLE, tokens.n_sessions)
    chosen = np.random.default_rng(0).choice(tokens.n_sessions, number, replace=False)
    some, one = tokens.take(chosen), log.log.validation.take(np.arange(1))
    run(one, one)  # warms up
    seconds = []
    for training, validation in ((one, one), (some, one), (one, log.log.validation)):
        started = time.process_time()
        run(training, validation)
        seconds.append(time.process_time() - started)
    every_run, training, validation = seconds
    clicks = (len(tokens.items) - tokens.n_sessions) / (len(some.items) - some.n_sessions)
    return max(0.0, training - every_run) * clicks + validation
