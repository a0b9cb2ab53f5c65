"""Which choices make a good front: conditioning × sampling of π × regulariser, and the endpoints.

    python benchmarks/ablation.py --write

trains every combination on one generated log, with the same steps and the same seeds, then the
default with other draws of π, and against networks that were trained on one objective alone.
Everything is measured on test sessions that chose nothing. ``--write`` writes
``results/ablation.md``.
"""

import argparse
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from logs import Log, otto_like
from machine import CORES, described, use_two_cores

from models.fronts import FrontQuality, loss_front, metric_front
from models.network.configuration import Conditioning, ModelConfig
from models.objectives.configuration import Negatives
from models.preferences import preference_grid
from models.scoring.target_scores import score_targets
from models.training.configuration import (
    ItemVectors,
    PreferenceSampling,
    Regulariser,
    Scalarisation,
    TrainingConfig,
)
from models.training.loop import train

RESULTS = Path(__file__).parent / "results" / "ablation.md"
CUTOFF = 20
PREFERENCES = 11
ALONE = 1e4
"""Concentration of the only objective that counts: its weight is 1 in every session."""

MODEL = ModelConfig(backbone="tron")
TRAINING = TrainingConfig(
    negatives=Negatives(uniform=512), batch_size=128, learning_rate=5e-3, threads=1
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
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    use_two_cores()
    log = otto_like(sessions=arguments.sessions, items=2_000, validation=500, test=1_000)
    parts = (heading(arguments), *(PARTS[name](log, arguments) for name in arguments.parts))
    text = "\n".join(line for part in parts for line in part)
    print(text)
    if arguments.write:
        RESULTS.write_text(text + "\n", encoding="utf-8")


def heading(arguments: argparse.Namespace) -> list[str]:
    """What was run on which machine."""
    return [
        "# Ablation: what makes a good front",
        "",
        (
            f"`python benchmarks/ablation.py --sessions {arguments.sessions} --epochs "
            f"{arguments.epochs} --seeds {arguments.seeds} --parts {' '.join(arguments.parts)} "
            f"--write` on {described('torch', 'numpy')}. "
            "Generated log, 2,000 items; `tron`, hidden size 64, 2 layers, 512 uniform negatives, "
            f"click + order; mean ± standard deviation over {arguments.seeds} seeds; "
            f"{PREFERENCES} preferences, 1,000 test sessions, exact ranks; {CORES} runs at a time, "
            "one core each."
        ),
        "",
    ]


def combinations(log: Log, arguments: argparse.Namespace) -> list[str]:
    """The table of all combinations, the best hypervolume in metric space first."""
    choices = list(product(Conditioning, PreferenceSampling, SPREADS))
    found = measure_all(
        log,
        [
            (
                replace(MODEL, conditioning=conditioning),
                replace(TRAINING, preference_sampling=sampling, **SPREADS[spread]),
            )
            for conditioning, sampling, spread in choices
        ],
        arguments,
    )
    rows: list[tuple[float, str]] = []
    for choice, runs in zip(choices, found, strict=True):
        best = statistics.mean(run["metrics"] for run in runs)
        rows.append((best, f"| {' | '.join(choice)} | {cells(runs)} |"))
    return [
        f"| conditioning | π drawn per | regulariser or scalarisation {HEADER}",
        "|---|---|---" + RULE,
        *(line for _, line in sorted(rows, reverse=True)),
        "",
    ]


def concentrations(log: Log, arguments: argparse.Namespace) -> list[str]:
    """The default with preferences drawn nearer the endpoints, and nearer the middle."""
    lines = [
        "## Concentration of the Dirichlet distribution of preferences",
        "",
        "| concentration " + HEADER,
        "|---" + RULE,
    ]
    choices = (0.1, 0.25, 0.5, 1.0)
    configs = [
        replace(
            TRAINING,
            objectives=tuple(replace(one, concentration=choice) for one in TRAINING.objectives),
        )
        for choice in choices
    ]
    found = measure_all(log, [(MODEL, config) for config in configs], arguments)
    rows = zip(choices, found, strict=True)
    return [*lines, *(f"| {choice} | {cells(runs)} |" for choice, runs in rows), ""]


def starts(log: Log, arguments: argparse.Namespace) -> list[str]:
    """Both starts of the item table, with the paper's backbone and LiGR."""
    choices = list(product(ItemVectors, (MODEL.backbone, "ligr")))
    found = measure_all(
        log,
        [
            (replace(MODEL, backbone=backbone), replace(TRAINING, initial_items=start))
            for start, backbone in choices
        ],
        arguments,
    )
    return [
        "## Start of the item table",
        "",
        f"| item table | backbone {HEADER}",
        "|---|---" + RULE,
        *(
            f"| {' | '.join(choice)} | {cells(runs)} |"
            for choice, runs in zip(choices, found, strict=True)
        ),
        "",
    ]


def cells(runs: list[dict[str, float]]) -> str:
    """Mean and standard deviation of every column over the seeds."""
    return " | ".join(spread_of([run[key] for run in runs], digits) for key, digits in COLUMNS)


HEADER = (
    "| hypervolume, Recall@20 × OD@20 | hypervolume, losses | Recall@20 at the click-only endpoint "
    "| Recall@20 span | OD@20 span | cross-angle | non-dominated | seconds |"
)
RULE = "|---|---|---|---|---|---|---|---|"
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


def endpoints(log: Log, arguments: argparse.Namespace) -> list[str]:
    """The endpoints of the default against networks trained on one objective, at equal steps."""
    click, order = TRAINING.objectives
    alone = [
        (replace(click, concentration=ALONE), replace(order, concentration=1 / ALONE)),
        (replace(click, concentration=1 / ALONE), replace(order, concentration=ALONE)),
    ]
    single = replace(TRAINING, regulariser=Regulariser.NONE)
    configs = [TRAINING, *(replace(single, objectives=objectives) for objectives in alone)]
    both, *only = measure_all(log, [(MODEL, config) for config in configs], arguments)
    lines = [
        "## Endpoints against networks trained on one objective alone",
        "",
        "| endpoint | measure | conditioned | alone | ratio of means |",
        "|---|---|---|---|---|",
    ]
    measures = [
        ("clicks", "click_recall", "Recall@20"),
        ("orders", "order_recall", "Recall@20 of ordered clicks"),
    ]
    for (name, key, label), runs in zip(measures, only, strict=True):
        ours, theirs = ([run[key] for run in some] for some in (both, runs))
        ratio = statistics.mean(ours) / statistics.mean(theirs)
        lines.append(
            f"| {name} | {label} | {spread_of(ours, 3)} | {spread_of(theirs, 3)} | {ratio:.2f} |"
        )
    return lines


Choice = tuple[ModelConfig, TrainingConfig]


def measure_all(
    log: Log, choices: list[Choice], arguments: argparse.Namespace
) -> list[list[dict[str, float]]]:
    """The runs of each choice, one a seed."""
    jobs = [
        (log, model, replace(config, epochs=arguments.epochs), seed)
        for model, config in choices
        for seed in range(arguments.seeds)
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CORES, context, torch.set_num_threads, (1,)) as pool:
        runs = list(pool.map(measure, *zip(*jobs, strict=True)))
    return [runs[start : start + arguments.seeds] for start in range(0, len(runs), arguments.seeds)]


def measure(log: Log, model: ModelConfig, config: TrainingConfig, seed: int) -> dict[str, float]:
    """Train one network, and measure its front on test."""
    started = time.perf_counter()
    trained = train(
        log.train, log.validation, n_items=log.n_items, model_config=model, config=config, seed=seed
    )
    seconds = time.perf_counter() - started
    grid = preference_grid(PREFERENCES)
    scores = score_targets(trained.model, log.test, grid)
    points = np.array([one.recall_and_order_density(CUTOFF) for one in scores])
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


def spread_of(values: list[float], digits: int) -> str:
    """Mean and standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"


PARTS = {
    "combinations": combinations,
    "concentrations": concentrations,
    "endpoints": endpoints,
    "starts": starts,
}


if __name__ == "__main__":
    main()
