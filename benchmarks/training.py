r"""The conditioned model against MultiTRON's: clicks per second, and fronts after equal time.

    python benchmarks/training.py --reference /path/to/MultiTRON \\
        --retailrocket /path/to/click_sequences.parquet --write

Every run is a process of its own, on the same data, at the same size, with the same number of
negatives, on the same two cores (or, with ``--device cuda``, one GPU). Ours trains first; the
reference gets as many seconds as ours took, validation included. Both are scored by exact ranks on
all test targets under 11 preferences. ``--write`` writes ``results/training.md``. The reference's
checkout is an argument and needs ``pytorch-lightning``; none of it is here.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import multitron
import numpy as np
import torch
from logs import Log, otto_like, retailrocket
from machine import CORES, described, run_alone, use_two_cores
from torch import Tensor

from models.batching import ordered_batches
from models.fronts import hypervolume
from models.network.configuration import ModelConfig
from models.objectives.configuration import Negatives, Objective
from models.objectives.objectives import label_loss
from models.preferences import preference_grid
from models.scoring.ranking import count_above
from models.scoring.tie_rule import TieRule
from models.tokens import SessionTokens
from models.training.configuration import Precision, TrainingConfig
from models.training.loop import train

RESULTS = Path(__file__).parent / "results" / "training.md"
PARTS = ["speed", "otto-like", "retailrocket"]
"""What can be measured: clicks per second, and the fronts on either log."""
PREFERENCES = 11
CUTOFF = 20
TOP = 100
LEARNING_RATE = {"reference": 1e-3, "ours": 5e-3}
CONCENTRATION = 0.1
"""Of ours; the reference draws with its own, 0.5."""
SIZES = {
    "small": {"hidden_size": 64, "layers": 2, "negatives": 2048},
    "otto": {"hidden_size": 200, "layers": 3, "negatives": 16_384},
}
"""Width 64 is what fits an equal-time comparison on two cores; ``otto`` is the reference's own
configuration for OTTO."""


def main() -> None:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, required=True, help="a checkout of MultiTRON")
    parser.add_argument("--retailrocket", type=Path, help="click_sequences.parquet")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, nargs=2, default=[16, 18], help="of ours, by log")
    parser.add_argument("--steps", type=int, default=5, help="of the reference's speed runs")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        use_two_cores()
    if arguments.child:
        print(json.dumps(child(json.loads(arguments.child), arguments)))
        return
    if "retailrocket" in arguments.parts and not arguments.retailrocket:
        parser.error(
            "--parts retailrocket needs --retailrocket, the path of click_sequences.parquet"
        )
    text = report(arguments)
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def report(arguments: argparse.Namespace) -> str:
    """Everything that was measured, as Markdown."""
    gpu = f"; {torch.cuda.get_device_name()}" if arguments.device == "cuda" else ""
    lines = [
        "# Training: the conditioned model against MultiTRON",
        "",
        (
            "`python benchmarks/training.py --reference … --retailrocket … --parts "
            f"{' '.join(arguments.parts)} --write` on "
            f"{described('torch', 'numpy')}{gpu}"
        ),
        "",
    ]
    if "speed" in arguments.parts:
        lines += speed(arguments)
    if "otto-like" in arguments.parts:
        lines += fronts("otto-like", arguments.epochs[0], arguments)
    if "retailrocket" in arguments.parts:
        lines += fronts("retailrocket", arguments.epochs[1], arguments)
    return "\n".join(lines) + "\n"


def speed(arguments: argparse.Namespace) -> list[str]:
    """Clicks per second at the size of the reference's configuration for OTTO."""
    shared = {"log": "otto-like", "size": "otto", "seed": 0, "evaluate": False}
    reference = [
        run({**shared, "program": "reference", "steps": arguments.steps}, arguments)
        for _ in range(3)
    ]
    base = statistics.median(one["clicks_a_second"] for one in reference)
    lines = [
        "## Clicks per second: hidden 200, 3 layers, 16,384 shared negatives, the top 100 count",
        "",
        "| program | clicks/s (median of 3) | times the reference | peak memory |",
        "|---|---|---|---|",
        f"| reference | {base:,.0f} | 1 | {reference[0]['peak_gib']:.1f} GiB |",
    ]
    for name, extra in OURS.items():
        if "precision" in extra and not computes_in_bfloat16(arguments.device):
            lines.append(f"| {name} | not run: the processor has no bfloat16 | | |")
            continue
        ours = [
            run({**shared, "program": "ours", "epochs": 1, "sessions": 8_000, **extra}, arguments)
            for _ in range(3)
        ]
        rate = statistics.median(one["clicks_a_second"] for one in ours)
        lines.append(
            f"| {name} | {rate:,.0f} | {rate / base:.1f} | {ours[0]['peak_gib']:.1f} GiB |"
        )
    return [*lines, ""]


OURS = {
    "ours": {},
    "ours, bfloat16": {"precision": "bfloat16"},
    "ours, all negatives count": {"top": None},
}


def computes_in_bfloat16(device: str) -> bool:
    """Whether the device does so in hardware; elsewhere it is several times slower than float32."""
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return device == "cuda" or "avx512_bf16" in flags or "amx_bf16" in flags


def fronts(log: str, epochs: int, arguments: argparse.Namespace) -> list[str]:
    """Fronts after equal time, one pair of runs a seed."""
    second = "order" if log == "otto-like" else "distortion"
    lines = [
        f"## Fronts after equal time: {log}, click + {second}, hidden 64, 2 layers, 2,048 negatives",
        "",
        (
            f"Learning rate {LEARNING_RATE['reference']} and {LEARNING_RATE['ours']}; preferences "
            f"from a Dirichlet of 0.5 (as in the reference) and {CONCENTRATION}. 11 preferences, "
            "all test targets, exact ranks."
        ),
        "",
        (
            "| seed | program | seconds | clicks trained | Recall@20 from … to | OD@20 from … to "
            f"| cross-entropy from … to | {second} loss from … to | hypervolume |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ratios: list[tuple[float, float, float]] = []
    for seed in range(arguments.seeds):
        shared = {"log": log, "size": "small", "seed": seed, "evaluate": True}
        ours = run({**shared, "program": "ours", "epochs": epochs}, arguments)
        reference = run({**shared, "program": "reference", "seconds": ours["seconds"]}, arguments)
        lines += [row(seed, "reference", reference), row(seed, "ours", ours)]
        ratios.append(
            (
                ours["hypervolume"] / reference["hypervolume"],
                np.ptp(ours["recall"]) / np.ptp(reference["recall"]),
                ours["recall"][-1] / reference["recall"][-1],
            )
        )
    medians = [statistics.median(values) for values in zip(*ratios, strict=True)]
    return [
        *lines,
        "",
        (
            f"Ours over the reference's, median of {arguments.seeds} seeds: hypervolume "
            f"{medians[0]:.2f}, Recall@20 span {medians[1]:.2f}, Recall@20 at the click-only endpoint "
            f"{medians[2]:.2f}."
        ),
        "",
    ]


def row(seed: int, program: str, found: dict[str, Any]) -> str:
    """One line of a table of fronts."""
    ranges = " | ".join(
        f"{min(found[name]):.{digits}f} … {max(found[name]):.{digits}f}"
        for name, digits in (("recall", 3), ("density", 4), ("click_loss", 2), ("second_loss", 2))
    )
    return (
        f"| {seed} | {program} | {found['seconds']:.0f} | {found['clicks']:,} | {ranges} "
        f"| {found['hypervolume']:.3f} |"
    )


def run(what: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--reference", str(arguments.reference)]
    command += ["--device", arguments.device, "--child", json.dumps(what)]
    if arguments.retailrocket:
        command += ["--retailrocket", str(arguments.retailrocket)]
    found, usage = run_alone(command)
    found["peak_gib"] = usage.ru_maxrss / 2**20
    print(json.dumps({**what, **found}), file=sys.stderr)
    return found


def child(what: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one program and score it."""
    torch.set_num_threads(CORES)
    log = open_log(what, arguments)
    size = SIZES[what["size"]]
    program = train_ours if what["program"] == "ours" else train_reference
    seconds, clicks, states, table = program(what, log, size, arguments)
    found = {"seconds": seconds, "clicks": clicks, "clicks_a_second": clicks / seconds}
    if what["evaluate"]:
        found |= measure(states, table, log.test, with_orders=what["log"] == "otto-like")
    return found


def open_log(what: dict[str, Any], arguments: argparse.Namespace) -> Log:
    """The run's data."""
    if what["log"] == "retailrocket":
        return retailrocket(arguments.retailrocket, validation=1000, test=3000)
    sessions = what.get("sessions", 50_000)
    validation = 1000 if what["evaluate"] else 20
    return otto_like(sessions=sessions, items=20_000, validation=validation, test=3000)


Trained = tuple[float, int, Callable[[Tensor, Tensor, Tensor], Tensor], Tensor]


def train_ours(
    what: dict[str, Any], log: Log, size: dict[str, int], arguments: argparse.Namespace
) -> Trained:
    """Ours; the seconds include validation and data preparation."""
    second = Objective(loss="order", scale=4.0, concentration=CONCENTRATION)
    if what["log"] == "retailrocket":
        second = Objective(loss="distortion", concentration=CONCENTRATION)
    config = TrainingConfig(
        objectives=(Objective(loss="click", concentration=CONCENTRATION), second),
        negatives=Negatives(uniform=size["negatives"], top=what.get("top", TOP)),
        epochs=what["epochs"],
        batch_size=256,
        learning_rate=LEARNING_RATE["ours"],
        precision=Precision(what.get("precision", "float32")),
        device=arguments.device,
        threads=CORES,
    )
    model = ModelConfig(
        backbone="tron",
        hidden_size=size["hidden_size"],
        layers=size["layers"],
        heads=1,
        feedforward_multiplier=1,
        dropout=0.05,
    )
    validation = log.validation
    started = time.perf_counter()
    trained = train(
        log.train,
        validation,
        n_items=log.n_items,
        model_config=model,
        config=config,
        seed=what["seed"],
    )
    seconds = time.perf_counter() - started
    clicks = what["epochs"] * int(np.minimum(log.train.lengths - 1, model.max_length).sum())
    return seconds, clicks, trained.model, trained.model.item_embedding.weight


def train_reference(
    what: dict[str, Any], log: Log, size: dict[str, int], arguments: argparse.Namespace
) -> Trained:
    """The reference, without its validation."""
    orders = what["log"] == "otto-like"
    model = multitron.build(
        arguments.reference,
        n_items=log.n_items,
        width=size["hidden_size"],
        layers=size["layers"],
        top=TOP,
        loss="ssm_and_be" if orders else "ssm_and_distortion",
        learning_rate=LEARNING_RATE["reference"],
        seed=what["seed"],
    ).to(arguments.device)
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        multitron.write_sessions(log.train, Path(file.name))
        loader = multitron.batches(
            Path(file.name), log.train.n_sessions, n_items=log.n_items, negatives=size["negatives"]
        )
        if not what["evaluate"]:
            multitron.train_for(model, loader, seconds=1e9, steps=1)  # the first one warms up
        _, clicks, seconds = multitron.train_for(
            model, loader, seconds=what.get("seconds", 1e9), steps=what.get("steps")
        )
    model = model.cpu().eval()

    def states(inputs_BT: Tensor, lengths_B: Tensor, preference_BO: Tensor) -> Tensor:
        return multitron.hidden_states(model, inputs_BT, lengths_B, preference_BO[0])

    return seconds, clicks, states, multitron.item_table(model)


@torch.no_grad()
def measure(
    states: Callable[[Tensor, Tensor, Tensor], Tensor],
    table_ID: Tensor,
    tokens: SessionTokens,
    *,
    with_orders: bool,
) -> dict[str, Any]:
    """Exact metrics and full-catalogue losses of all test targets under an even grid."""
    grid = preference_grid(PREFERENCES)
    rows = [score(states, table_ID, tokens, preference, orders=with_orders) for preference in grid]
    recall, density, click, second = (list(column) for column in zip(*rows, strict=True))
    knows_nothing = float(np.log(len(table_ID)))
    points = np.array([click, second]).T
    # From the losses of a model that knows nothing; an even distribution is the best distortion.
    reference = [knows_nothing, 3.0 if with_orders else 2 * knows_nothing]
    ideal = [0.0, 0.0 if with_orders else knows_nothing]
    return {
        "recall": recall,
        "density": density,
        "click_loss": click,
        "second_loss": second,
        "hypervolume": hypervolume(points, reference=np.array(reference), ideal=np.array(ideal)),
    }


def score(
    states: Callable[[Tensor, Tensor, Tensor], Tensor],
    table_ID: Tensor,
    tokens: SessionTokens,
    preference_O: Tensor,
    *,
    orders: bool,
) -> tuple[float, float, float, float]:
    """Recall@20, OD@20, cross-entropy and the second loss."""
    hits, ordered_hits, targets = 0, 0, 0
    click_loss, second_loss = 0.0, 0.0
    for batch in ordered_batches(tokens, batch_size=128, max_length=50):
        preference_BO = preference_O.expand(len(batch.sessions), -1)
        hidden_BTD = states(batch.inputs_BT, batch.lengths_B, preference_BO)
        targets_P = batch.targets_BT[batch.real_BT]
        ordered_P = batch.ordered_BT[batch.real_BT]
        hidden_PD = hidden_BTD[batch.real_BT]
        counts = count_above(hidden_PD[None], table_ID, targets_P, with_lse=True)
        positive_P, lse_P = counts.positive_GP[0], counts.lse_GP[0]
        mean_P = hidden_PD @ table_ID.mean(dim=0)
        second_P = label_loss(positive_P, ordered_P) if orders else lse_P - mean_P
        hit_P = counts.ranks(TieRule.HALF)[0] <= CUTOFF
        targets += len(targets_P)
        hits += int(hit_P.sum())
        ordered_hits += int((ordered_P[hit_P] > 0).sum())
        click_loss += float((lse_P - positive_P).double().sum())
        second_loss += float(second_P.double().sum())
    return hits / targets, ordered_hits / max(1, hits), click_loss / targets, second_loss / targets


if __name__ == "__main__":
    main()
