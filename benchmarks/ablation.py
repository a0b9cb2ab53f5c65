"""Which choices make a good front: conditioning × sampling of π × regulariser, and the corners.

    python benchmarks/ablation.py --write

trains every combination on one generated log, with the same steps and the same seeds, and then the
default against networks that were trained on one objective alone. Everything is measured on test
sessions that chose nothing. ``--write`` writes ``results/ablation.md``.
"""

import argparse
import statistics
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from logs import Log, otto_like
from machine import CORES, described, use_two_cores

from models.configuration import (
    Conditioning,
    ModelConfig,
    Negatives,
    PreferenceSampling,
    Regulariser,
    Scalarisation,
    TrainingConfig,
)
from models.fronts import FrontQuality, loss_front, metric_front
from models.preferences import preference_grid
from models.scoring import TargetScores, score_targets
from models.training.loop import train

RESULTS = Path(__file__).parent / "results" / "ablation.md"
CUTOFF = 20
PREFERENCES = 11
ALONE = 1e4
"""Concentration of the only objective that counts: its weight is 1 in every session."""

MODEL = ModelConfig()
TRAINING = TrainingConfig(
    negatives=Negatives(uniform=512), batch_sessions=128, learning_rate=5e-3, threads=CORES
)
SPREADS = {
    "none": {"regulariser": Regulariser.NONE},
    "non-uniformity": {"regulariser": Regulariser.NON_UNIFORMITY},
    "angle": {"regulariser": Regulariser.ANGLE},
    "smooth Tchebycheff": {
        "regulariser": Regulariser.NONE,
        "scalarisation": Scalarisation.SMOOTH_TCHEBYCHEFF,
    },
}


def main() -> None:
    """Parse the command line and run everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=8_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    use_two_cores()
    torch.set_num_threads(CORES)
    log = otto_like(sessions=arguments.sessions, items=2_000, validation=500, test=1_000)
    text = "\n".join([*heading(arguments), *combinations(log, arguments), *corners(log, arguments)])
    print(text)
    if arguments.write:
        RESULTS.write_text(text + "\n", encoding="utf-8")


def heading(arguments: argparse.Namespace) -> list[str]:
    """What was run on which machine."""
    return [
        "# What makes a good front",
        "",
        (
            f"`python benchmarks/ablation.py --sessions {arguments.sessions} --epochs "
            f"{arguments.epochs} --seeds {arguments.seeds} --write` on {described('torch', 'numpy')}. "
            "Generated log, 2,000 items; `tron`, width 64, 2 layers, 512 uniform negatives, "
            f"click + order; mean ± standard deviation over {arguments.seeds} seeds; "
            f"{PREFERENCES} preferences, 1,000 test sessions, exact ranks."
        ),
        "",
    ]


def combinations(log: Log, arguments: argparse.Namespace) -> list[str]:
    """The table of all combinations, the best hypervolume in metric space first."""
    rows: list[tuple[float, str]] = []
    for conditioning, sampling, (name, spread) in product(
        Conditioning, PreferenceSampling, SPREADS.items()
    ):
        runs = [
            measure(
                log,
                replace(MODEL, conditioning=conditioning),
                replace(TRAINING, preference_sampling=sampling, epochs=arguments.epochs, **spread),
                seed,
            )
            for seed in range(arguments.seeds)
        ]
        cells = " | ".join(spread_of([run[key] for run in runs], digits) for key, digits in COLUMNS)
        best = statistics.mean(run["metrics"] for run in runs)
        rows.append((best, f"| {conditioning} | {sampling} | {name} | {cells} |"))
        print(rows[-1][1], flush=True)
    return [
        (
            "| conditioning | π drawn per | spreads the front | hypervolume, Recall@20 × OD@20 "
            "| hypervolume, losses | click corner's Recall@20 | Recall@20 span | OD@20 span "
            "| cross-angle | non-dominated | seconds |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(line for _, line in sorted(rows, reverse=True)),
        "",
    ]


COLUMNS = [
    ("metrics", 4),
    ("losses", 3),
    ("click_recall", 3),
    ("recall_span", 3),
    ("density_span", 4),
    ("cross_angle", 1),
    ("non_dominated", 2),
    ("seconds", 0),
]


def corners(log: Log, arguments: argparse.Namespace) -> list[str]:
    """The default's corners against networks that know one objective only, at the same steps."""
    click, order = TRAINING.objectives
    alone = {
        "clicks": (replace(click, concentration=ALONE), replace(order, concentration=1 / ALONE)),
        "orders": (replace(click, concentration=1 / ALONE), replace(order, concentration=ALONE)),
    }
    config = replace(TRAINING, epochs=arguments.epochs)
    lines = [
        "## Corners against networks trained on one objective alone",
        "",
        "| corner | measure | conditioned | alone | ratio of means |",
        "|---|---|---|---|---|",
    ]
    seeds = range(arguments.seeds)
    both = [measure(log, MODEL, config, seed) for seed in seeds]
    for name, key, label in (
        ("clicks", "click_recall", "Recall@20"),
        ("orders", "order_recall", "Recall@20 of ordered clicks"),
    ):
        single = replace(config, objectives=alone[name], regulariser=Regulariser.NONE)
        only = [measure(log, MODEL, single, seed) for seed in seeds]
        ours, theirs = ([run[key] for run in runs] for runs in (both, only))
        ratio = statistics.mean(ours) / statistics.mean(theirs)
        lines.append(
            f"| {name} | {label} | {spread_of(ours, 3)} | {spread_of(theirs, 3)} | {ratio:.2f} |"
        )
    return lines


def measure(log: Log, model: ModelConfig, config: TrainingConfig, seed: int) -> dict[str, float]:
    """Train one network, and measure its front on test."""
    started = time.perf_counter()
    trained = train(
        log.train, log.validation, n_items=log.n_items, model_config=model, config=config, seed=seed
    )
    seconds = time.perf_counter() - started
    grid = preference_grid(PREFERENCES)
    scores = [score_targets(trained.model, log.test, preference) for preference in grid]
    points = np.array([recall_and_density(one) for one in scores])
    losses = np.array([(one.click_loss.mean(), one.order_loss.mean()) for one in scores])
    weights = grid.double().numpy()
    reference = np.array([np.log(log.n_items), config.objectives[1].reference or 3.0])
    in_losses: FrontQuality = loss_front(losses, weights, reference=reference)
    in_metrics: FrontQuality = metric_front(points, weights)
    ordered = scores[0].ordered
    return {
        "metrics": in_metrics.hypervolume,
        "losses": in_losses.hypervolume,
        "click_recall": float(points[-1, 0]),
        "order_recall": float((scores[0].rank[ordered] <= CUTOFF).mean()),
        "recall_span": float(np.ptp(points[:, 0])),
        "density_span": float(np.ptp(points[:, 1])),
        "cross_angle": in_losses.cross_angle or 0.0,
        "non_dominated": in_metrics.non_dominated_share,
        "seconds": seconds,
    }


def recall_and_density(scores: TargetScores) -> tuple[float, float]:
    """Recall@20 and OD@20; 0 where nothing is hit."""
    hit = scores.rank <= CUTOFF
    return float(hit.mean()), float(scores.ordered[hit].mean()) if hit.any() else 0.0


def spread_of(values: list[float], digits: int) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    main()
