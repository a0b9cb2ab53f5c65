"""Resuming: a run that was ended at any moment and started again equals one that was not."""

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch.nn.modules.module import register_module_forward_pre_hook

from models.fronts import FrontQuality
from models.network.configuration import Activation, Conditioning, ModelConfig, Positions
from models.network.model import ConditionedSessionModel
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
from models.training.state import (
    BestEpoch,
    CurvePoint,
    Lineage,
    Progress,
    load_state,
    run_fingerprint,
    save_state,
)

ITEMS = 10
MODEL = ModelConfig(backbone="tron", hidden_size=8, layers=1, heads=1, dropout=0.2, max_length=6)
CONFIG = TrainingConfig(
    epochs=3,
    batch_size=8,
    negatives=Negatives(uniform=4),
    validation_preferences=2,
    learning_rate=0.01,
    save_every=2,
    threads=1,
    device="cpu",
)
SPARSE = replace(CONFIG, sparse_items=True)
STEPS_AN_EPOCH = 3
LINEAGE = Lineage(
    source="source", objectives=({"loss": "click"}, {"loss": "order"}), items=("a\nb", "c")
)


def printed_by(program):
    """The JSON that a program prints in a process of its own, which has one thread and may therefore fork."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Interrupted(Exception):  # noqa: N818 - not an error of the code under test
    """Ends a run from within."""


def chains(step=1, n=20):
    """Sessions of five clicks in which item i is always followed by i + step, in a circle."""
    return SessionTokens.from_lists(
        [[((s + step * t) % ITEMS, s % 2) for t in range(5)] for s in range(n)]
    )


def run(file=None, *, tokens=None, validation=None, **changes):
    arguments = {"n_items": ITEMS, "model_config": MODEL, "config": CONFIG, "seed": 5} | changes
    return train(
        chains() if tokens is None else tokens,
        chains(n=5) if validation is None else validation,
        state_file=file,
        **arguments,
    )


@contextmanager
def steps_counted(*, until=None, in_training=True):
    """How many steps (or passes of validation) a run takes; it is ended in the one after ``until``."""
    steps = [0]

    def hook(module, _):
        if isinstance(module, ConditionedSessionModel) and module.training is in_training:
            if steps[0] == until:
                raise Interrupted
            steps[0] += 1

    handle = register_module_forward_pre_hook(hook)
    try:
        yield steps
    finally:
        handle.remove()


def interrupted_run(file, *, after, in_training=True, **arguments):
    with steps_counted(until=after, in_training=in_training), pytest.raises(Interrupted):
        run(file, **arguments)


def assert_same(one, other):
    """Weights bit for bit, and all results."""
    weights, others = one.model.state_dict(), other.model.state_dict()
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        assert torch.equal(weight, others[name]), name
    assert one.curves == other.curves
    assert (one.best_epoch, one.front, one.reference) == (
        other.best_epoch,
        other.front,
        other.reference,
    )


SAMPLED = replace(CONFIG, batch_size=5, sessions_per_epoch=13)


@pytest.fixture(
    scope="module", params=[CONFIG, SPARSE, SAMPLED], ids=["adamw", "sparse items", "sample"]
)
def whole(request):
    """A configuration, and a run of it that nothing interrupted."""
    return request.param, run(config=request.param)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state.safetensors"


# Exactly the same


def test_a_state_file_changes_nothing(whole, file):
    config, result = whole

    assert_same(run(file, config=config), result)


@pytest.mark.parametrize("after", range(1, 9))
def test_a_run_resumed_after_any_step_equals_one_that_was_not_interrupted(whole, file, after):
    config, result = whole
    interrupted_run(file, after=after, config=config)

    with steps_counted() as steps:
        resumed = run(file, config=config)

    assert_same(resumed, result)
    # saved were the last second step of the epoch, and the ends of epochs
    in_epoch = after % STEPS_AN_EPOCH
    saved = after - in_epoch + (2 if in_epoch == 2 else 0)
    assert steps == [3 * STEPS_AN_EPOCH - saved]


@pytest.mark.parametrize("passes", [0, 3, 5])
def test_a_run_resumed_after_it_ended_in_validation_equals_one_that_did_not(whole, file, passes):
    config, result = whole
    config, every = replace(config, save_every=1), 2  # a pass for each preference
    interrupted_run(file, after=passes, in_training=False, config=config)

    with steps_counted() as steps:
        resumed = run(file, config=config)

    assert_same(resumed, result)
    assert steps == [(2 - passes // every) * STEPS_AN_EPOCH]  # no step is taken twice


def test_a_run_that_is_interrupted_again_and_again_comes_to_the_same_end(whole, file):
    config, result = whole
    config = replace(config, save_every=1)
    for _ in range(3 * STEPS_AN_EPOCH - 1):
        interrupted_run(file, after=1, config=config)

    with steps_counted() as steps:
        resumed = run(file, config=config)

    assert steps == [1]
    assert_same(resumed, result)


def test_a_run_that_was_done_takes_no_step(whole, file):
    config, result = whole
    run(file, config=config)

    with steps_counted() as steps:
        again = run(file, config=config)

    assert steps == [0]
    assert_same(again, result)


def test_patience_is_remembered(file):
    config = replace(CONFIG, epochs=6, patience=1)
    validation = chains(step=-1, n=6)
    result = run(config=config, validation=validation)
    epochs = result.curves[-1].epoch
    assert epochs < 6
    interrupted_run(file, after=STEPS_AN_EPOCH * epochs - 1, config=config, validation=validation)

    assert_same(run(file, config=config, validation=validation), result)


# A process that is killed


def forked(config, file, look):
    """A child that trains, and calls ``look(step)`` before each of its steps."""
    child = os.fork()
    if child:
        return child
    steps = count()

    def hook(module, _):
        if isinstance(module, ConditionedSessionModel) and module.training:
            look(next(steps))

    register_module_forward_pre_hook(hook)
    try:
        run(file, config=config)
    finally:
        os._exit(0)


def progress_of(file):
    """Epoch and step of a state file, which must be whole."""
    load_file(file)
    with safe_open(file, framework="pt") as opened:
        words = json.loads(opened.metadata()["state"])
    return [words["epoch"], words["step"]]


def killed_at_any_time(config, file, kills=3):
    """Kill one child after another; where the state is after each."""
    places = []
    for number in range(kills):
        reading, writing = os.pipe()
        child = forked(config, file, lambda _, end=writing: os.write(end, b"."))
        os.close(writing)
        for _ in range(3 + number % 2):  # a step begins; the kill comes at any time after it
            os.read(reading, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        places.append(progress_of(file))
    return places


def killed_while_writing(config, file):
    """A child that its system kills half way through a write; where the state is before and after."""
    places = []

    def look(step):
        if step == 4:
            half = file.stat().st_size // 2
            os.write(writing, json.dumps(progress_of(file)).encode())
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))

    reading, writing = os.pipe()
    child = forked(config, file, look)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    places = [json.loads(os.read(reading, 100)), progress_of(file)]
    return {"killed by": os.WTERMSIG(status), "places": places}


def be_killed(folder):
    """What happens in a process of one thread, which may therefore fork."""
    torch.set_num_threads(1)
    run()  # what is imported late is imported once, not by every child
    found = {}
    for name, config in KILLED.items():
        file = Path(folder) / f"{name} at any time"
        found[file.name] = killed_at_any_time(config, file)
        file = Path(folder) / f"{name} while writing"
        found[file.name] = killed_while_writing(config, file)
    print(json.dumps(found))  # noqa: T201 - is read by the test


KILLED = {
    name: replace(config, batch_size=2, save_every=1, epochs=2)
    for name, config in (("adamw", CONFIG), ("sparse items", SPARSE))
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder with the state files of runs whose processes were killed, and what was seen."""
    folder = tmp_path_factory.mktemp("killed")
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    program += f"import test_resume; test_resume.be_killed({str(folder)!r})"
    return folder, printed_by(program)


@pytest.fixture(scope="module")
def not_killed():
    """The results of the same runs, undisturbed."""
    return {name: run(config=config) for name, config in KILLED.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_a_process_that_is_killed_leaves_a_whole_state_that_goes_on_to_the_same_end(
    killed, name, not_killed
):
    folder, found = killed
    places = found[f"{name} at any time"]

    with steps_counted() as steps:
        resumed = run(folder / f"{name} at any time", config=KILLED[name])

    assert len(places) == 3
    assert all(one < other for one, other in pairwise(places))  # each went on from the last
    epoch, step = places[-1]
    assert steps == [2 * 10 - 10 * (epoch - 1) - step]
    assert_same(resumed, not_killed[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_a_process_that_is_killed_while_it_writes_leaves_the_state_before(killed, name, not_killed):
    folder, found = killed
    seen = found[f"{name} while writing"]

    resumed = run(folder / f"{name} while writing", config=KILLED[name])

    assert seen == {"killed by": signal.SIGXFSZ, "places": [[1, 4], [1, 4]]}
    assert_same(resumed, not_killed[name])


def test_the_file_is_replaced_not_written_over(file):
    interrupted_run(file, after=3)
    before = file.read_bytes()

    with file.open("rb") as opened:
        run(file)

        assert opened.read() == before
    assert file.read_bytes() != before
    assert list(file.parent.iterdir()) == [file]  # no other file is left


# A state that is not this run's


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """State files as bytes, of runs that were interrupted in their second epoch."""
    found = {}
    for name, config in (("adamw", CONFIG), ("sparse", SPARSE), ("revenue", REVENUE)):
        file = tmp_path_factory.mktemp("states") / name
        interrupted_run(file, after=5, config=config, item_values=VALUES)
        found[name] = file.read_bytes()
    return found


VALUES = np.linspace(0.5, 1.5, ITEMS)
REVENUE = replace(CONFIG, objectives=(Objective(loss="click"), Objective(loss="revenue")))


def assert_fresh(file, *, result=None, **arguments):
    """A run begins at its first step although there is a file, and comes to the end it should."""
    result = result or run(**arguments)
    with steps_counted() as steps:
        found = run(file, **arguments)

    assert steps == [found.curves[-1].epoch * STEPS_AN_EPOCH]
    assert_same(found, result)


@pytest.mark.parametrize(
    "changes",
    [
        {"config": replace(CONFIG, learning_rate=0.02)},
        {"config": replace(CONFIG, epochs=2)},
        {"model_config": replace(MODEL, dropout=0.1)},
        {"seed": 6},
        {"n_items": ITEMS + 1},
        {"tokens": chains(step=2)},
        {"validation": chains(step=2, n=5)},
        {"validation": chains(n=6)},
    ],
    ids=["learning rate", "epochs", "dropout", "seed", "catalogue", "train", "validation", "more"],
)
def test_the_state_of_another_run_is_ignored(states, file, changes):
    file.write_bytes(states["adamw"])

    assert_fresh(file, **changes)


@pytest.mark.parametrize("item_values", [VALUES * 2, VALUES[::-1].copy()], ids=["other", "swapped"])
def test_the_state_of_a_run_with_other_item_values_is_ignored(states, file, item_values):
    file.write_bytes(states["revenue"])

    assert_fresh(file, config=REVENUE, item_values=item_values)


OTHER = {
    "model": {
        "backbone": "ligr",
        "conditioning": Conditioning.FILM,
        "rank": 5,
        "hidden_size": 16,
        "layers": 2,
        "heads": 2,
        "feedforward_multiplier": 3,
        "activation": Activation.RELU,
        "dropout": 0.3,
        "max_length": 7,
        "positions": Positions.END,
    },
    "training": {
        "objectives": (Objective(loss="click", scale=2.0), Objective(loss="order")),
        "click_loss": ClickLoss.GBCE,
        "gbce_calibration": 0.5,
        "negatives": Negatives(uniform=4, log_q=True),
        "scalarisation": Scalarisation.SMOOTH_TCHEBYCHEFF,
        "smoothness": 0.2,
        "regulariser": Regulariser.ANGLE,
        "regulariser_weight": 0.3,
        "preference_sampling": PreferenceSampling.BATCH,
        "initial_items": ItemVectors.RANDOM,
        "epochs": 4,
        "sessions_per_epoch": 12,
        "warm_start_epochs": 2,
        "patience": 2,
        "hypervolume_of": HypervolumeOf.METRICS,
        "validation_preferences": 3,
        "batch_size": 9,
        "learning_rate": 0.02,
        "warmup_ratio": 0.1,
        "weight_decay": 0.02,
        "gradient_clip": 2.0,
        "sparse_items": True,
        "precision": Precision.BFLOAT16,
        "device": "auto",
        "threads": 2,
        "save_every": 3,
    },
}
"""Another value of every field."""


def fingerprint(model=MODEL, training=CONFIG, tokens=None, lineage=LINEAGE, **more):
    tokens = chains(n=5) if tokens is None else tokens
    arguments = {"n_items": ITEMS, "seed": 5, "data": (tokens, chains(n=3))} | more
    return run_fingerprint(training, replace(lineage, model=asdict(model)), **arguments)


def test_every_field_belongs_to_the_run():
    assert set(OTHER["model"]) == {field.name for field in fields(ModelConfig)}
    assert set(OTHER["training"]) == {field.name for field in fields(TrainingConfig)}

    models = [fingerprint(replace(MODEL, **{k: v})) for k, v in OTHER["model"].items()]
    trainings = [
        fingerprint(training=replace(CONFIG, **{k: v})) for k, v in OTHER["training"].items()
    ]

    lineages = [
        fingerprint(lineage=replace(LINEAGE, **change))
        for change in (
            {"source": "another"},
            {"objectives": ({"loss": "order"}, {"loss": "click"})},
            {"items": ("b", "a")},
        )
    ]

    together = [fingerprint(), *models, *trainings, *lineages]
    assert len(set(together)) == len(together)


@pytest.mark.parametrize("name", [field.name for field in fields(SessionTokens)])
def test_every_click_label_and_session_belongs_to_the_run(name):
    tokens = chains(n=5)
    for place_of_change in (1, -2):
        array = getattr(tokens, name).copy()
        array[place_of_change] = 1 - array[place_of_change]

        assert fingerprint(tokens=replace(tokens, **{name: array})) != fingerprint()


def test_the_same_run_has_the_same_fingerprint():
    assert fingerprint(replace(MODEL), replace(CONFIG), chains(n=5)) == fingerprint()


# A state that is damaged


def with_other_words(**changes):
    """The damage of someone who writes other words into a state that is whole otherwise."""

    def damaged(state, file):
        file.write_bytes(state)
        with safe_open(file, framework="pt") as opened:
            words = json.loads(opened.metadata()["state"]) | changes
        return save(load_file(file), metadata={"state": json.dumps(words)})

    return damaged


DAMAGES = {
    "empty": lambda *_: b"",
    "a part": lambda state, _: state[: len(state) // 2],
    "one byte less": lambda state, _: state[:-1],
    "one byte more": lambda state, _: state + b"\0",
    "half of it zeros": lambda state, _: state[: len(state) // 2].ljust(len(state), b"\0"),
    "no state": lambda *_: b"epoch: 2" * 100,
    "no words": lambda *_: save({"loss_sums": torch.zeros(2)}),
    "another step": with_other_words(step=1),
}


@pytest.fixture(scope="module")
def undamaged():
    return run()


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_ignored(states, file, damage, undamaged):
    file.write_bytes(damage(states["adamw"], file))

    assert_fresh(file, result=undamaged)


@pytest.mark.slow
@given(at=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_state_with_any_byte_changed_is_the_same_state_or_none(states, tmp_path, at, byte):
    state, whole = states["adamw"], tmp_path / "whole"
    whole.write_bytes(state)
    with safe_open(whole, framework="pt") as opened:
        mark = json.loads(opened.metadata()["state"])["fingerprint"]
    place = int(at * len(state))
    damaged = tmp_path / "damaged"
    damaged.write_bytes(state[:place] + bytes([byte]) + state[place + 1 :])

    found = load_state(damaged, mark)

    assert found is None or equal_states(found, load_state(whole, mark))


def equal_states(one, other):
    def tensors(state):
        best = state.progress.best
        return {**state.weights, **state.optimizers, "sums": state.progress.loss_sums_O}, {
            **(best.weights if best else {})
        }

    def words(state):
        progress, best = state.progress, state.progress.best
        kept = best and (best.epoch, best.front, best.scalarised)
        return progress.epoch, progress.step, progress.positions, progress.curves, kept

    return words(one) == words(other) and all(
        mine.keys() == yours.keys() and all(torch.equal(mine[key], yours[key]) for key in mine)
        for mine, yours in zip(tensors(one), tensors(other), strict=True)
    )


# What a state holds


def saved(file, progress, **tensors):
    parts = {"weights": {}, "optimizers": {}, "scaler": {}} | tensors
    save_state(file, "mark", progress, lineage=LINEAGE, **parts)


@pytest.mark.slow
@given(
    numbers=st.lists(
        st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2, unique=True
    ),
    epoch=st.integers(1, 10**6),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_number_comes_back_as_it_was(file, numbers, epoch):
    progress = Progress(
        epoch=epoch,
        step=epoch + 1,
        loss_sums_O=torch.tensor(numbers, dtype=torch.float64),
        positions=epoch + 2,
        curves=[CurvePoint(1, "train", "click", numbers[0])],
        best=BestEpoch(
            epoch=epoch - 1,
            front=FrontQuality(
                hypervolume=numbers[0],
                spans=(numbers[1], None),
                spacing=numbers[1],
                non_dominated_share=numbers[0],
                cross_angle=None,
                monotonicity=(None, numbers[1]),
            ),
            scalarised=numbers[1],
            weights={"one.weight": torch.tensor([numbers]).float()},
        ),
    )
    weights = {"one.weight": torch.tensor([numbers[::-1]]).float(), "a/b": torch.tensor(3)}
    optimizers = {"0.1.step": torch.tensor(7.0)}

    saved(file, progress, weights=weights, optimizers=optimizers, scaler={"scale": numbers[0]})
    found = load_state(file, "mark")

    assert found is not None
    assert equal_states(
        found, replace(found, progress=progress, weights=weights, optimizers=optimizers)
    )
    assert (found.fingerprint, found.lineage) == ("mark", LINEAGE)
    assert found.progress.loss_sums_O.dtype == torch.float64
    assert found.scaler == {"scale": numbers[0]}


def test_a_state_is_another_runs_without_its_fingerprint(file):
    saved(file, Progress())

    assert load_state(file, "mark") is not None
    assert load_state(file, "another") is None


def test_no_file_is_no_state(file):
    assert load_state(file, "mark") is None
