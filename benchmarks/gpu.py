r"""What a GPU changes: training, exact ranks and lists on it and on the processor, in one run of ten minutes.

    python benchmarks/gpu.py --write

Every number is of a process of its own. Training is timed in its second epoch; ranks and lists are of random
vectors, on which their cost does not depend. *Of sgemm* is the rate of the operations that ranks need over that of
a large float32 product on the same device. Losses and ranks of both devices are compared, too. ``--write`` writes ``results/gpu.md``, on a GPU only;
``--device cpu --sessions 2000 --items 2000`` tries the program without one.
"""

import argparse
import json
import logging
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from logs import otto_like
from machine import described, run_alone, use_two_cores

from models.network.configuration import ModelConfig
from models.objectives.configuration import Negatives
from models.scoring.ranking import count_above
from models.scoring.recommend import best_items
from models.scoring.tie_rule import TieRule
from models.training.configuration import ItemVectors, Precision, TrainingConfig
from models.training.loop import train

RESULTS = Path(__file__).parent / "results" / "gpu.md"
ITEMS = 20_000
OTTO_ITEMS = 1_860_000
SESSIONS = 8_000
LIST = 20
WIDTH = 64
POSITIONS = 512
REPEATS = 3
_RATE = re.compile(r"(\d+) clicks/s")
TRAININGS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": Precision.BFLOAT16},
    "float32, the whole catalogue as negatives": {"negatives": Negatives(all=True, uniform=0)},
    "float32, OTTO's catalogue, sparse table": {"sparse_items": True, "items": OTTO_ITEMS},
}
RANKS = {"20,000 items": ITEMS, "OTTO's catalogue": OTTO_ITEMS}
BATCHES = (1, 16, 256)


def main() -> None:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="of an epoch of a training")
    parser.add_argument("--items", type=int, help="at most, of every catalogue")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU; --device cpu tries the program without one")
    if arguments.child:
        part, name, device = json.loads(arguments.child)
        print(json.dumps(PARTS[part](name, torch.device(device), arguments)))
        return
    text = report(arguments)
    print(text)
    if arguments.write and arguments.device == "cuda":
        RESULTS.write_text(text, encoding="utf-8")


def report(arguments: argparse.Namespace) -> str:
    """Everything that was measured, as Markdown."""
    gpu = torch.cuda.get_device_name() if arguments.device == "cuda" else "no GPU"
    both = ("cpu", arguments.device)
    lines = [
        "# What a GPU changes",
        "",
        (
            f"`python benchmarks/gpu.py --write` on one {gpu} and {described('torch', 'numpy')}. Hidden size "
            "200 for training (3 layers, 16,384 negatives, 256 sessions a step) and 64 for the rest."
        ),
        "",
        "## Training, clicks per second",
        "",
        "| | processor | GPU | ratio | peak memory of the GPU | click loss, processor | GPU |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in TRAININGS:
        cpu, gpu_run = (measured("train", name, device, arguments) for device in both)
        ratio = gpu_run["rate"] / cpu["rate"]
        lines.append(
            f"| {name} | {cpu['rate']:,.0f} | {gpu_run['rate']:,.0f} | {ratio:.1f} | {gpu_run['peak_gib']:.1f} GiB "
            f"| {cpu['loss']:.4f} | {gpu_run['loss']:.4f} |"
        )
    lines += [
        "",
        "## Exact ranks, billion scores per second",
        "",
        "| | processor | of sgemm | GPU | of sgemm | ratio | equal ranks |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in RANKS:
        cpu, gpu_run = (measured("rank", name, device, arguments) for device in both)
        ratio = gpu_run["rate"] / cpu["rate"]
        same = np.mean(np.array(cpu["ranks"]) == np.array(gpu_run["ranks"]))
        lines.append(
            f"| {name} | {cpu['rate'] / 1e9:.2f} | {cpu['of_sgemm']:.0%} | {gpu_run['rate'] / 1e9:.2f} "
            f"| {gpu_run['of_sgemm']:.0%} | {ratio:.1f} | {same:.1%} |"
        )
    lines += [
        "",
        f"## Lists of {LIST} of OTTO's catalogue, milliseconds a batch",
        "",
        "| sessions in a batch | processor | GPU | ratio |",
        "|---|---|---|---|",
    ]
    for batch in BATCHES:
        cpu, gpu_run = (measured("lists", str(batch), device, arguments) for device in both)
        ratio = cpu["milliseconds"] / gpu_run["milliseconds"]
        lines.append(
            f"| {batch} | {cpu['milliseconds']:.1f} | {gpu_run['milliseconds']:.1f} | {ratio:.1f} |"
        )
    return "\n".join(lines) + "\n"


def measured(part: str, name: str, device: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row on one device, in a process of its own."""
    child = json.dumps([part, name, device])
    command = [sys.executable, __file__, "--device", arguments.device, "--child", child]
    command += ["--sessions", str(arguments.sessions)]
    if arguments.items:
        command += ["--items", str(arguments.items)]
    found, _ = run_alone(command)
    shown = {key: value for key, value in found.items() if key != "ranks"}
    print(part, name, device, shown, file=sys.stderr, flush=True)
    return found


def catalogue(items: int, arguments: argparse.Namespace) -> int:
    """The number of items, unless the arguments limit it."""
    return min(items, arguments.items or items)


def train_row(name: str, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Clicks per second of the second of two epochs, and its training loss."""
    changes = dict(TRAININGS[name])
    items = catalogue(changes.pop("items", ITEMS), arguments)
    log = otto_like(sessions=arguments.sessions, items=items, validation=20, test=0)
    config = TrainingConfig(
        **{"negatives": Negatives(uniform=min(16_384, items // 2)), **changes},
        initial_items=ItemVectors.RANDOM,
        epochs=2,
        device=device.type,
        threads=torch.get_num_threads(),
    )
    model = ModelConfig(backbone="tron", hidden_size=200, layers=3, heads=1, dropout=0.05)
    lines = _Lines()
    logging.getLogger("models.training.loop").addHandler(lines)
    logging.getLogger("models.training.loop").setLevel(logging.INFO)
    trained = train(
        log.train, log.validation, n_items=items, model_config=model, config=config, seed=0
    )
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    losses = [
        one.loss for one in trained.curves if (one.split, one.objective) == ("train", "click")
    ]
    return {
        "rate": float(_RATE.findall(lines.said[-1])[0]),
        "loss": losses[-1],
        "peak_gib": peak / 2**30,
    }


class _Lines(logging.Handler):
    """What the training logs."""

    said: ClassVar[list[str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@torch.no_grad()
def rank_row(name: str, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Scores per second of exact ranks under two preferences, and the ranks."""
    items = catalogue(RANKS[name], arguments)
    generator = torch.Generator().manual_seed(1)
    table_ID = torch.randn(items, WIDTH, generator=generator).to(device)
    hidden_GPD = torch.randn(2, POSITIONS, WIDTH, generator=generator).to(device)
    targets_P = torch.randint(items, (POSITIONS,), generator=generator).to(device)
    side = torch.randn(4096, 4096, device=device)
    seconds, counts = timed(lambda: count_above(hidden_GPD, table_ID, targets_P), device)
    sgemm, _ = timed(lambda: side @ side, device)
    rate = hidden_GPD[..., 0].numel() * items / seconds
    return {
        "rate": rate,
        "of_sgemm": rate * 2 * WIDTH / (2 * 4096**3 / sgemm),
        "ranks": counts.ranks(TieRule.HALF).flatten().tolist(),
    }


@torch.no_grad()
def list_row(name: str, device: torch.device, arguments: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of the lists of one batch, from the hidden states to the items on the processor."""
    items = catalogue(OTTO_ITEMS, arguments)
    table_ID = torch.randn(items, WIDTH, device=device)
    hidden_BD = torch.randn(int(name), WIDTH, device=device)

    def best() -> torch.Tensor:
        return best_items(hidden_BD @ table_ID.T, LIST)[1].cpu()

    seconds, _ = timed(best, device)
    return {"milliseconds": seconds * 1000}


def timed(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Median seconds of a few calls after the first one, and what the work returns."""
    taken: list[float] = []
    found = work()
    while len(taken) < REPEATS:
        started = time.perf_counter()
        found = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken), found


PARTS = {"train": train_row, "rank": rank_row, "lists": list_row}

if __name__ == "__main__":
    main()
