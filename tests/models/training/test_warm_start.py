"""A warm start continues from the last finished state, on a catalogue that has grown and forgotten."""

from dataclasses import replace

import pytest
import torch

from models.errors import CheckpointError, ModelError
from models.network.configuration import Positions
from models.objectives.configuration import Objective
from models.tokens import SessionTokens
from models.training.state import read_state
from models.training.warm_start import WarmStart, carry_over
from tests.models.training.test_resume import (
    CONFIG,
    ITEMS,
    MODEL,
    STEPS_AN_EPOCH,
    assert_same,
    chains,
    interrupted_run,
    run,
    steps_counted,
)

TABLE = "item_embedding.weight"
BEFORE = tuple(f"item {number}" for number in range(ITEMS))
AFTER = ("new", "alone", *BEFORE[:1:-1])
"""Items 0 and 1 have left, two are new, and the others have other indices."""
WEEKLY = replace(CONFIG, warm_start_epochs=2)
CONFIGS = {"adamw": WEEKLY, "sparse items": replace(WEEKLY, sparse_items=True)}
SECOND = SessionTokens.from_lists(
    [[(2, 0), (0, 1), (3, 0)], [(3, 1), (4, 0)], [(0, 0), (3, 0)], [(5, 0), (6, 1), (7, 0)]] * 5
)
"""Next to the new item 0, item 2 is clicked once and item 3 twice; item 1 is not clicked."""


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """The finished state of the first run by the name of its configuration."""
    files = {name: tmp_path_factory.mktemp(name) / "finished.safetensors" for name in CONFIGS}
    for name, file in files.items():
        start = WarmStart(file=file.with_name("none"), items=BEFORE)
        run(file, config=CONFIGS[name], warm_start=start)
    return files


@pytest.fixture(params=CONFIGS)
def last(request, states):
    """A configuration, and the file of the finished state of the first run."""
    return CONFIGS[request.param], states[request.param]


@pytest.fixture
def week(request, states, tmp_path):
    """The second run's configuration, its own state file, and what it continues from."""
    name = getattr(request, "param", "adamw")
    finished = tmp_path / "finished.safetensors"
    finished.write_bytes(states[name].read_bytes())
    start = WarmStart(file=finished, items=AFTER)
    return second(CONFIGS[name]), tmp_path / "state.safetensors", start


def second(config):
    return {"config": config, "tokens": SECOND, "seed": 6}


def carried(last, fresh=None):
    config, file = last
    saved = read_state(file)
    fresh = {**saved.weights, TABLE: torch.full((ITEMS, 8), 9.0)} if fresh is None else fresh
    start = WarmStart(file=file, items=AFTER)
    return saved, carry_over(
        saved, start, lineage=saved.lineage, fresh=fresh, config=config, tokens=SECOND
    )


def test_known_items_keep_their_rows_and_new_ones_begin_beside_those_clicked_next_to_them(last):
    saved, initial = carried(last)

    old, new = saved.progress.best.weights[TABLE], initial.weights[TABLE]
    assert torch.equal(new[2:], old[2:].flip(0))
    assert torch.allclose(new[0], (new[2] + 2 * new[3]) / 3)
    assert torch.equal(new[1], torch.full((8,), 9.0))


def test_all_other_weights_are_those_of_the_best_epoch(last):
    saved, initial = carried(last)

    for name, weight in saved.progress.best.weights.items():
        assert name == TABLE or torch.equal(initial.weights[name], weight)


def test_adam_goes_on_and_new_items_begin_without_momentum(last):
    saved, initial = carried(last)

    table = "1.0" if last[0].sparse_items else "0.0"
    known = saved.optimizers[f"{table}.exp_avg_sq"][2:]
    assert known.any()
    assert torch.equal(initial.optimizers[f"{table}.exp_avg_sq"][2:], known.flip(0))
    assert torch.allclose(initial.optimizers[f"{table}.exp_avg_sq"][0], known.mean(dim=0))
    assert not initial.optimizers[f"{table}.exp_avg"][:2].any()
    others = [name for name in saved.optimizers if not name.startswith(f"{table}.exp")]
    for name in others:
        assert torch.equal(initial.optimizers[name], saved.optimizers[name])


def test_the_run_takes_the_epochs_of_a_warm_start(week):
    arguments, file, start = week

    with steps_counted() as steps:
        result = run(file, warm_start=start, **arguments)

    assert steps[0] == 2 * STEPS_AN_EPOCH
    assert {point.epoch for point in result.curves} == {1, 2}


def test_without_a_last_model_it_is_trained_anew(week, tmp_path):
    arguments, file, start = week

    found = run(file, warm_start=replace(start, file=tmp_path / "none"), **arguments)

    assert_same(found, run(**arguments))


@pytest.mark.parametrize(("week", "after"), [("adamw", 1), ("sparse items", 4)], indirect=["week"])
def test_an_interrupted_warm_start_ends_the_same_bit_for_bit(week, tmp_path, after):
    arguments, file, start = week
    whole = run(tmp_path / "whole", warm_start=start, **arguments)

    interrupted_run(file, after=after, warm_start=start, **arguments)
    resumed = run(file, warm_start=start, **arguments)

    assert_same(resumed, whole)


def test_a_state_is_not_resumed_after_its_source_has_changed(week, tmp_path):
    arguments, file, start = week
    interrupted_run(file, after=4, warm_start=start, **arguments)
    other = tmp_path / "other"
    run(
        other,
        config=arguments["config"],
        seed=9,
        warm_start=WarmStart(file=tmp_path / "none", items=BEFORE),
    )
    other.replace(start.file)

    with steps_counted() as steps:
        run(file, warm_start=start, **arguments)

    assert steps[0] == 2 * STEPS_AN_EPOCH


def test_the_last_run_again_trains_nothing(week):
    arguments, file, start = week
    first = run(file, warm_start=start, **arguments)
    file.replace(start.file)

    with steps_counted() as steps:
        again = run(file, warm_start=start, **arguments)

    assert steps[0] == 0
    assert_same(again, first)


def test_a_third_week_continues_from_the_second(week):
    arguments, file, start = week
    run(file, warm_start=start, **arguments)
    file.replace(start.file)
    before = read_state(start.file)

    run(file, warm_start=start, **arguments | {"tokens": chains(step=2)})

    assert read_state(file).lineage.source == before.digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_config": replace(MODEL, hidden_size=16)}, "its model.hidden_size was 8, now 16"),
        (
            {"model_config": replace(MODEL, positions=Positions.END)},
            "its model.positions was start, now end",
        ),
        (
            {
                "config": replace(
                    WEEKLY, objectives=(Objective(loss="order"), Objective(loss="click"))
                )
            },
            r"its training.objectives are \['click', 'order'\], now \['order', 'click'\]",
        ),
        (
            {
                "config": replace(
                    WEEKLY,
                    objectives=(Objective(loss="click"), Objective(loss="order", scale=2.0)),
                )
            },
            "its training.objectives.1.scale was 6.0, now 2.0",
        ),
        (
            {"items": tuple("abcdefghij")},
            "none of its 10 items is among the 10 of the new catalogue",
        ),
    ],
    ids=["width", "same shapes", "objectives", "scale", "items"],
)
def test_a_model_that_cannot_be_continued_is_refused_before_any_step(week, changes, words):
    arguments, file, start = week
    start = replace(start, items=changes.get("items", AFTER))
    network = {name: change for name, change in changes.items() if name != "items"}

    with steps_counted() as steps, pytest.raises(ModelError, match=words) as refused:
        run(file, warm_start=start, **arguments | network)

    assert steps[0] == 0
    assert f"{start.file} cannot be continued" in str(refused.value)
    assert "Delete the file to train the model from scratch" in str(refused.value)


def test_other_optimisers_are_refused(week):
    arguments, file, start = week
    config = arguments["config"]
    other = replace(config, sparse_items=not config.sparse_items)

    with pytest.raises(ModelError, match=f"its training.sparse_items was {config.sparse_items}"):
        run(file, warm_start=start, **arguments | {"config": other})


def test_a_state_of_a_run_that_has_not_finished_an_epoch_is_refused(week):
    arguments, file, start = week
    interrupted_run(file, after=2, warm_start=start, **arguments)
    file.replace(start.file)

    with pytest.raises(ModelError, match="its run has not finished"):
        run(file, warm_start=start, **arguments | {"seed": 8})


def test_a_damaged_source_is_refused(week):
    arguments, file, start = week
    content = bytearray(start.file.read_bytes())
    content[-1] ^= 1
    start.file.write_bytes(content)

    with pytest.raises(CheckpointError, match="its content does not have its digest") as refused:
        run(file, warm_start=start, **arguments)

    assert f"{start.file} is not a readable state" in str(refused.value)
