"""Training, exact ranks, scoring and serving alone and next to two busy processes.

    python benchmarks/busy.py --write

Two threads on two cores, which two endless loops also want: a fair share is half. Threads that wait
for each other either spin briefly (``GOMP_SPINCOUNT=1000``, what ``import models`` sets), sleep at
once (``passive``), or spin for long (``active``, what OpenMP does by itself). Every run is a process of its own, medians are of three runs,
and the conditions take turns. ``--write`` writes ``results/busy.md``.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from logs import otto_like
from machine import CORES, described, run_alone, use_two_cores
from serving import warm_server, write_study

from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.objectives.configuration import Negatives, Objective
from models.preferences import preference_grid
from models.scoring.ranking import count_above
from models.scoring.target_scores import score_targets
from models.training.configuration import TrainingConfig
from models.training.loop import train

RESULTS = Path(__file__).parent / "results" / "busy.md"
REPEATS = 3
WAITING = {"brief": "1000", "passive": "0", "active": "30000000000"}
"""Turns of a thread that waits (``GOMP_SPINCOUNT``), by name; OpenMP's own are those of ``active``."""
NEIGHBOURS = (0, 2)
ITEMS = 20_000
REQUESTS_PER_SECOND = 100
SERVING_SECONDS = 6.0


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", choices=WORK, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.child:
        torch.set_num_threads(CORES)
        print(json.dumps(WORK[arguments.child]()))
        return
    text = report()
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def report() -> str:
    """All results as Markdown."""
    lines = [
        "# Work next to other programs",
        "",
        (
            f"`python benchmarks/busy.py --write` on {described('torch')}. Two threads; medians of "
            f"{REPEATS}; *busy* is next to two endless loops on the same two cores, where a fair share "
            "is half. Waiting threads spin briefly (*brief*, the default of Paretoscope), sleep (*passive*) or "
            "spin for long (*active*, the default of OpenMP)."
        ),
        "",
        "| work | alone: brief | passive | active | busy: brief | passive | active | busy over alone, brief |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, unit in UNITS.items():
        found = conditions(name)
        share = found["brief", 2] / found["brief", 0]
        cells = (found[waiting, neighbours] for neighbours in NEIGHBOURS for waiting in WAITING)
        lines.append(
            f"| {name} | {' | '.join(unit.format(cell) for cell in cells)} | {share:.2f} |"
        )
    return "\n".join([*lines, ""])


def conditions(name: str) -> dict[tuple[str, int], float]:
    """The medians of a workload by how threads wait and the number of busy neighbours."""
    found = {condition: [] for condition in itertools.product(WAITING, NEIGHBOURS)}
    for _ in range(REPEATS):
        for (waiting, neighbours), values in found.items():
            with busy(neighbours):
                command = [sys.executable, __file__, "--child", name]
                value, _ = run_alone(command, GOMP_SPINCOUNT=WAITING[waiting])
            values.append(value)
            print(name, waiting, neighbours, value, file=sys.stderr)
    return {condition: statistics.median(values) for condition, values in found.items()}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many endless loops in processes of their own, inside the block."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def train_small() -> float:
    """Clicks per second of training at the size of the default study."""
    return train_clicks(hidden_size=64, layers=2, negatives=512, sessions=2000)


def train_large() -> float:
    """Clicks per second of training at the size of MultiTRON's configuration for OTTO."""
    return train_clicks(hidden_size=200, layers=3, negatives=16_384, sessions=200)


def train_clicks(*, hidden_size: int, layers: int, negatives: int, sessions: int) -> float:
    """Clicks per second of one epoch of training."""
    log = otto_like(sessions=sessions, items=ITEMS, validation=20, test=1)
    config = TrainingConfig(
        objectives=(Objective(loss="click"), Objective(loss="order", scale=4.0)),
        negatives=Negatives(uniform=negatives),
        epochs=1,
        device="cpu",
        threads=CORES,
    )
    model = ModelConfig(hidden_size=hidden_size, layers=layers)
    started = time.perf_counter()
    train(log.train, log.validation, n_items=log.n_items, model_config=model, config=config, seed=0)
    seconds = time.perf_counter() - started
    return int(np.minimum(log.train.lengths - 1, model.max_length).sum()) / seconds


def rank_targets() -> float:
    """Exact ranks per second: the counting of items above a target alone."""
    rng = torch.Generator().manual_seed(0)
    table_ID = torch.randn(ITEMS, 64, generator=rng)
    target_P = torch.randint(ITEMS, (10_000,), generator=rng)
    hidden_GPD = torch.randn(1, len(target_P), 64, generator=rng)
    started = time.perf_counter()
    count_above(hidden_GPD, table_ID, target_P)
    return len(target_P) / (time.perf_counter() - started)


def score() -> float:
    """Targets per second of scoring under six preferences, with the full-softmax loss."""
    log = otto_like(sessions=1, items=ITEMS, validation=1, test=400)
    model = build_model(ModelConfig(), n_items=ITEMS, n_objectives=2, seed=0)
    started = time.perf_counter()
    scores = score_targets(model, log.test, preference_grid(6), with_click_loss=True)
    return len(scores[0].rank) / (time.perf_counter() - started)


def serve_lists() -> float:
    """The 90th percentile of the latency of lists, in milliseconds, at a steady rate."""
    with tempfile.TemporaryDirectory() as folder:
        write_study(Path(folder), ITEMS)
        with warm_server(Path(folder), "/recommend", SERVING_SECONDS) as measure:
            found = measure(REQUESTS_PER_SECOND)
    if found["errors"]:
        msg = f"{found['errors']} requests failed"
        raise RuntimeError(msg)
    return found["p90"]


WORK = {
    "training": train_small,
    "training, OTTO's size": train_large,
    "exact ranks": rank_targets,
    "scoring": score,
    "serving": serve_lists,
}
UNITS = {
    "training": "{:,.0f} clicks/s",
    "training, OTTO's size": "{:,.0f} clicks/s",
    "exact ranks": "{:,.0f} targets/s",
    "scoring": "{:,.0f} targets/s",
    "serving": "p90 {:.0f} ms",
}


if __name__ == "__main__":
    main()
