r"""Exact ranks against MultiTRON's test loop, and against the machine's own matrix products.

    python benchmarks/evaluation.py --reference /path/to/MultiTRON --write

Every run is a process of its own on two cores. Both programs evaluate a network of the same
architecture and size on the same sessions. The machine's rate is that of a large float32 product,
measured in the same process; the work that is needed is 2 · targets · items · width operations a
preference. ``--write`` writes ``results/evaluation.md``.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import multitron
import torch
from logs import otto_like
from machine import CORES, described, run_alone, use_two_cores

from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.preferences import preference_grid
from models.scoring.ranking import count_above
from models.scoring.target_scores import score_targets
from models.tokens import SessionTokens

RESULTS = Path(__file__).parent / "results" / "evaluation.md"
BATCH = 256
OTTO_ITEMS = 1_860_000
REPEATS = 3
CASES = [
    {"items": 20_000, "hidden_size": 64, "sessions": 5 * BATCH, "preferences": 1},
    {"items": 20_000, "hidden_size": 64, "sessions": 5 * BATCH, "preferences": 6},
    {"items": 20_000, "hidden_size": 200, "sessions": 2 * BATCH, "preferences": 1},
    {"items": 200_000, "hidden_size": 64, "sessions": 2 * BATCH, "preferences": 1},
    {"items": 200_000, "hidden_size": 64, "sessions": 2 * BATCH, "preferences": 6},
]


def main() -> None:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of MultiTRON")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.child:
        torch.set_num_threads(CORES)
        print(json.dumps(child(json.loads(arguments.child), arguments.reference)))
        return
    text = report(arguments)
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def report(arguments: argparse.Namespace) -> str:
    """Everything that was measured, as Markdown."""
    lines = [
        "# Evaluation: exact ranks against MultiTRON's test loop",
        "",
        (
            "`python benchmarks/evaluation.py --reference … --write` on "
            f"{described('torch', 'numpy')}. Two layers; seconds are medians of {REPEATS} (of 1 for "
            "the reference). *Of sgemm* is the rate of the operations that are needed over that of "
            "a 4,096³ product in the same process."
        ),
        "",
        (
            "| items | hidden size | targets | preferences | reference | ours, ranks | times the "
            "reference | of sgemm | ours with full-softmax loss | speed-up |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        reference = run({**case, "program": "reference"}, arguments)
        ours = run({**case, "program": "ours", "loss": False}, arguments)
        loss = run({**case, "program": "ours", "loss": True}, arguments)
        lines.append(
            f"| {case['items']:,} | {case['hidden_size']} | {ours['targets']:,} | {case['preferences']} "
            f"| {reference['seconds']:.1f} s | {ours['seconds']:.2f} s "
            f"| {reference['seconds'] / ours['seconds']:.1f} | {ours['of_sgemm']:.0%} "
            f"| {loss['seconds']:.2f} s | {reference['seconds'] / loss['seconds']:.1f} |"
        )
    large = run({"program": "large", "targets": 10_000}, arguments)
    return "\n".join(
        [
            *lines,
            "",
            (
                f"OTTO's catalogue, {OTTO_ITEMS:,} items, hidden size 64: 10,000 targets ranked in "
                f"{large['seconds']:.1f} s ({large['of_sgemm']:.0%} of sgemm), peak memory "
                f"{large['peak_gib']:.2f} GiB with the table."
            ),
            "",
        ]
    )


def run(what: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--reference", str(arguments.reference)]
    found, usage = run_alone([*command, "--child", json.dumps(what)])
    found["peak_gib"] = usage.ru_maxrss / 2**20
    print(json.dumps({**what, **found}), file=sys.stderr)
    return found


def child(what: dict[str, Any], reference: Path) -> dict[str, Any]:
    """Evaluate with one program."""
    if what["program"] == "large":
        return large_catalogue(what["targets"])
    log = otto_like(sessions=BATCH, items=what["items"], validation=1, test=what["sessions"])
    grid = preference_grid(6)[-what["preferences"] :]
    if what["program"] == "reference":
        return test_loop(reference, log.test, what, grid.tolist())
    config = ModelConfig(
        hidden_size=what["hidden_size"], layers=2, heads=1, feedforward_multiplier=1, dropout=0.05
    )
    model = build_model(config, n_items=what["items"], n_objectives=2, seed=0)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        scores = score_targets(model, log.test, grid, with_click_loss=what["loss"])
        seconds.append(time.perf_counter() - started)
    targets = len(scores[0].rank)
    needed = 2 * targets * what["items"] * what["hidden_size"] * what["preferences"]
    median = statistics.median(seconds)
    return {"seconds": median, "targets": targets, "of_sgemm": needed / median / sgemm_rate()}


def test_loop(
    checkout: Path, tokens: SessionTokens, what: dict[str, Any], grid: list[list[float]]
) -> dict[str, Any]:
    """The reference's test step over its batches, once a preference."""
    model = multitron.build(
        checkout,
        n_items=what["items"],
        width=what["hidden_size"],
        layers=2,
        top=100,
        loss="ssm_and_be",
        learning_rate=1e-3,
        seed=0,
    ).eval()
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file, torch.no_grad():
        multitron.write_sessions(tokens, Path(file.name))
        loader = multitron.batches(
            Path(file.name), tokens.n_sessions, n_items=what["items"], negatives=2048
        )
        started = time.perf_counter()
        for preference in grid:
            model.fixed_beta = preference
            for number, batch in enumerate(islice(loader, tokens.n_sessions // BATCH)):
                model.test_step(batch, number)
        return {"seconds": time.perf_counter() - started}


def large_catalogue(targets: int) -> dict[str, Any]:
    """Ranks over as many items as OTTO's log holds."""
    rng = torch.Generator().manual_seed(0)
    table_ID = torch.randn(OTTO_ITEMS, 64, generator=rng)
    hidden_GPD = torch.randn(1, targets, 64, generator=rng)
    target_P = torch.randint(OTTO_ITEMS, (targets,), generator=rng)
    started = time.perf_counter()
    count_above(hidden_GPD, table_ID, target_P)
    seconds = time.perf_counter() - started
    needed = 2 * targets * OTTO_ITEMS * 64
    return {"seconds": seconds, "of_sgemm": needed / seconds / sgemm_rate()}


def sgemm_rate(size: int = 4096) -> float:
    """Operations per second of a square float32 product; the best of five."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    torch.mm(left, right, out=out)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


if __name__ == "__main__":
    main()
