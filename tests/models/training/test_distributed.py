"""Several processes: each takes a part of every batch, and together they do what one does."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import astuple, replace
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.modules.module import register_module_forward_pre_hook

from models.batching import make_batch
from models.errors import ModelError
from models.network.configuration import ModelConfig
from models.network.model import ConditionedSessionModel, build_model
from models.objectives.configuration import ClickLoss, Objective
from models.objectives.negatives import CandidateSampler, Negatives
from models.objectives.objectives import Objectives
from models.preferences import sample_preferences
from models.tokens import SessionTokens
from models.training.configuration import TrainingConfig
from models.training.distributed import distributed_context, is_first_process
from models.training.loop import train
from models.training.step import BatchLoss

ITEMS = 10
MODEL = ModelConfig(hidden_size=8, layers=1, heads=1, dropout=0.0, max_length=6)
CONFIG = TrainingConfig(
    epochs=2,
    negatives=Negatives(uniform=4),
    validation_preferences=2,
    learning_rate=0.01,
    threads=1,
    device="cpu",
)
CPU = torch.device("cpu")


def gradients(number, *, model=MODEL, config=CONFIG):
    """Loss, its gradients and the sums of losses of a batch that ``number`` processes share."""
    # sessions of unequal lengths, so that the parts hold unequal numbers of positions
    tokens = SessionTokens.from_lists(
        [[((s + t) % ITEMS, s % 2) for t in range(2 + s)] for s in range(5)]
    )
    batch = make_batch(tokens, torch.arange(5).numpy(), max_length=6)
    generator = torch.Generator().manual_seed(3)
    preference_BO = sample_preferences(5, (0.5, 0.5), generator=generator)
    sampler = CandidateSampler(config.negatives, n_items=ITEMS, popularity_I=torch.ones(ITEMS))
    candidates = sampler.draw(batch.targets_BT[batch.real_BT], generator)
    network = build_model(model, n_items=ITEMS, n_objectives=2, seed=1)
    loss = BatchLoss(network, Objectives(config, n_items=ITEMS), config)
    values, sums_O = [], torch.zeros(2)
    for rank in range(number):
        value, losses_PO = loss(
            batch.part(rank, number), preference_BO[rank::number], candidates, number / 5
        )
        (value / number).backward()  # processes average their gradients
        values.append(value.item() / number)
        sums_O += losses_PO.sum(dim=0)
    return sum(values), [one.grad for one in network.parameters()], sums_O


@pytest.mark.parametrize("number", [2, 3, 5, 7])  # of seven, two have no session
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"negatives": Negatives(uniform=6, top=2)},
        {"negatives": Negatives(uniform=0, all=True)},
        {"click_loss": ClickLoss.GBCE},
        {"objectives": (Objective(loss="click"), Objective(loss="distortion"))},
    ],
    ids=str,
)
def test_parts_of_a_batch_add_up_to_it(number, changes):
    config = replace(CONFIG, **changes)

    loss, gradient, sums_O = gradients(number, config=config)
    whole_loss, whole_gradient, whole_sums_O = gradients(1, config=config)

    assert loss == pytest.approx(whole_loss, rel=1e-5)
    torch.testing.assert_close(sums_O, whole_sums_O)
    for one, other in zip(gradient, whole_gradient, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backbone", ["ligr", "gru4rec"])
def test_a_process_without_a_session_does_not_end_the_others(backbone):
    loss, _, sums_O = gradients(7, model=replace(MODEL, backbone=backbone))
    whole_loss, _, whole_sums_O = gradients(1, model=replace(MODEL, backbone=backbone))

    assert loss == pytest.approx(whole_loss, rel=1e-5)
    torch.testing.assert_close(sums_O, whole_sums_O)


def test_alone_a_process_is_the_first_of_one(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    module, values = torch.nn.Linear(2, 2), torch.tensor([1.0, 2.0])

    with distributed_context("cpu") as alone:
        assert (alone.rank, alone.number, alone.device) == (0, 1, CPU)
        assert alone.wrap(module) is module
        assert alone.total(values).tolist() == [1.0, 2.0]
        assert not torch.distributed.is_initialized()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_auto_takes_the_cpu_where_there_is_no_gpu():
    with distributed_context("auto") as alone:
        assert alone.device == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with (
        pytest.raises(ModelError, match=r"training.device = cuda, but torch finds no GPU; set it"),
        distributed_context("cuda"),
    ):
        pass


def test_a_group_that_exists_is_joined_and_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")  # of whatever started this process
    monkeypatch.setenv("WORLD_SIZE", "2")
    group = torch.distributed.init_process_group
    group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        with distributed_context("cpu") as joined:
            assert (joined.rank, joined.number, joined.device) == (0, 1, CPU)
            assert is_first_process()
        assert torch.distributed.is_initialized()
    finally:
        torch.distributed.destroy_process_group()
    assert not is_first_process()


# Two processes

RUNS = {
    "adamw": replace(CONFIG, batch_size=4),  # of 21 sessions, one is left for the last batch
    "sparse items": replace(
        CONFIG,
        objectives=(Objective(loss="click"), Objective(loss="order"), Objective(loss="cart")),
        negatives=Negatives(uniform=4, in_batch=True),
        batch_size=4,
        sparse_items=True,
        save_every=1,
    ),
}


def run(config, **more):
    sessions = [[((s + t) % ITEMS, s % 2, s % 3 == 0) for t in range(2 + s % 5)] for s in range(21)]
    tokens = SessionTokens.from_lists(sessions)
    return train(tokens, tokens, n_items=ITEMS, model_config=MODEL, config=config, seed=5, **more)


def be_one_of_them(name, folder, killed_after):
    """What each process does; the second is killed in the step after so many."""
    rank, steps = os.environ["RANK"], count()

    def before_a_step(module, _):
        in_training = isinstance(module, ConditionedSessionModel) and module.training
        if in_training and next(steps) == killed_after and rank == "1":
            os.kill(os.getpid(), signal.SIGKILL)

    register_module_forward_pre_hook(before_a_step)
    result = run(RUNS[name], state_file=Path(folder) / "state")
    save_file(result.model.state_dict(), Path(folder) / f"weights {rank}")
    summary = {"steps": next(steps), "curves": [astuple(point) for point in result.curves]}
    (Path(folder) / f"summary {rank}").write_text(json.dumps(summary), "utf-8")


def two_processes(name, folder, *, killed_after=-1):
    """Let torchrun start two processes; what became of it."""
    script = folder / "script.py"
    lines = [
        "import faulthandler, sys",
        "faulthandler.dump_traceback_later(150, exit=True)  # rather than wait for ever",
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})",
        "import test_distributed",
        f"test_distributed.be_one_of_them({name!r}, {str(folder)!r}, {killed_after})",
    ]
    script.write_text("\n".join(lines), "utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    here = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    return subprocess.run(
        [*torchrun, *here, script],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=180,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_learn_what_one_does_and_end_with_the_same_weights(tmp_path, name):
    # the second run is ended once, in its ninth step of twelve
    ended = name == "sparse items"
    if ended:
        assert two_processes(name, tmp_path, killed_after=8).returncode != 0

    done = two_processes(name, tmp_path)
    assert done.returncode == 0, done.stderr

    alone = run(RUNS[name])
    for rank in (0, 1):
        summary = json.loads((tmp_path / f"summary {rank}").read_text("utf-8"))
        names, losses = zip(*((point[:3], point[3]) for point in summary["curves"]), strict=True)
        assert list(names) == [[*astuple(point)[:3]] for point in alone.curves]
        assert losses == pytest.approx([point.loss for point in alone.curves], rel=1e-4)
        # the state of step 8, or of step 7 where the other was ended while it wrote the next
        assert summary["steps"] in ([12 - 8, 12 - 7] if ended else [12])
    first, second = (load_file(tmp_path / f"weights {rank}") for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(weight, second[key]) for key, weight in first.items())
