"""Latency of ``/recommend`` with exploration, next to the same server without, interleaved in one run.

    python benchmarks/exploration.py --write

Three servers of the study of :mod:`serving` run side by side: without exploration, with a share of the lists
explored, and with all. Each gets the load in turn, several times over; the others are idle meanwhile. Every
explored list is drawn again from the log. Before that, the ranking alone is measured in CPU time, which does not
depend on what else the machine does; ``--ranking`` stops there. ``--write`` updates ``results/exploration.md``.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import serving
import torch
from machine import described, use_two_cores

from models.scoring.recommend import best_items, next_scores
from pipeline.serving.ranking.rank import RankRequest, rank
from pipeline.serving.ranking.snapshot import load_snapshot
from pipeline.study import PARAMS_FILE

RESULTS = Path(__file__).parent / "results" / "exploration.md"
RATE = 300
SHARES = (0.0, 0.05, 1.0)
TEMPERATURE = 0.25
BATCH, BATCHES = 8, 60
EXPLORED = (0, 1, 8)
LIMIT_MS = 15.0
TOLERANCE = 1e-2
"""Relative, of a propensity: scores differ in their last digits with the batch."""


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="per share and round")
    parser.add_argument("--ranking", action="store_true", help="the ranking alone, without servers")
    arguments = parser.parse_args()
    use_two_cores()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        lines = ranking_lines(Path(folder) / "ranking")
        if not arguments.ranking:
            lines += latency_lines(Path(folder), arguments.rounds, arguments.seconds)
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def ranking_lines(root: Path) -> list[str]:
    """CPU time of a batch with explored lists, next to one without, as Markdown."""
    write_study(root, SHARES[1])
    snapshot = load_snapshot(*serving.open_study(root))
    rng = np.random.default_rng(0)
    index = snapshot.model.recommender.index
    requests = [
        RankRequest(
            session=np.array([index[item] for item in serving.request(rng)["session"]]),
            preference=snapshot.plan.groups[n % serving.GROUPS].preference,
            k=20,
            excluded=np.array([], dtype=np.int64),
            ts=1_760_000_000_000,
        )
        for n in range(BATCHES * BATCH)
    ]
    times: dict[int, list[float]] = {n: [] for n in EXPLORED}
    for number, start in enumerate(range(0, len(requests), BATCH)):
        batch = requests[start : start + BATCH]
        for n in EXPLORED:
            explored = [
                replace(one, explored_as=f"{number}-{row}") for row, one in enumerate(batch[:n])
            ]
            began = time.process_time()
            rank(snapshot.model, [*explored, *batch[n:]])
            times[n].append(1000 * (time.process_time() - began))
    own = times[0]
    rows = [
        f"| {n} | {statistics.median(found):.2f} ms | "
        f"{statistics.median(a - b for a, b in zip(found, own, strict=True)):+.2f} ms |"
        for n, found in times.items()
    ]
    return [
        "# Exploration: cost in time",
        "",
        (
            f"`python benchmarks/exploration.py --write` on {described('torch', 'fastapi', 'uvicorn', 'aiohttp')}. "
            f"{serving.ITEMS:,} items, lists of 20, explored ones drawn from the 200 best items at temperature "
            f"{TEMPERATURE:g}."
        ),
        "",
        "## The ranking alone",
        "",
        (
            f"CPU time of a batch of {BATCH} requests on one core, and its growth against the same batch without "
            f"explored lists; medians of {BATCHES} batches, interleaved."
        ),
        "",
        "| explored lists in the batch | CPU time | growth |",
        "|---|---|---|",
        *rows,
        "",
    ]


def latency_lines(folder: Path, rounds: int, seconds: float) -> list[str]:
    """Latency of the endpoint as Markdown."""
    before, *_ = os.getloadavg()
    roots = [folder / f"share-{share:g}" for share in SHARES]
    for root, share in zip(roots, SHARES, strict=True):
        write_study(root, share)
    found = interleaved(roots, rounds, seconds)
    checked = [check(root) for root in roots]
    grown = growth(found[1], found[0])
    verdict = "met" if statistics.median(grown) < LIMIT_MS else "missed"
    drawn, wrong = (sum(one[name] for one in checked) for name in ("explored", "wrong"))
    lists = ", ".join(f"{one['explored']:,} of {one['rows']:,}" for one in checked)
    return [
        "## Latency of /recommend",
        "",
        (
            f"{RATE} requests per second (Poisson arrivals, {seconds:.0f} s), {rounds} rounds in which three servers get "
            "the load in turn; medians of the rounds. Every list is logged (fsync). The load generator shares the two "
            f"cores. Load average of the minute before: {before:.1f}."
        ),
        "",
        "| explored | p50 | p90 | p99 | growth of p99, median of rounds | least and largest | errors | fallbacks |",
        "|---|---|---|---|---|---|---|---|",
        *(row(share, one, found[0]) for share, one in zip(SHARES, found, strict=True)),
        "",
        f"Goal: with {SHARES[1]:.0%} explored, p99 grows by less than {LIMIT_MS:.0f} ms: {verdict}.",
        "",
        (
            f"Explored lists in the logs: {lists}. All {drawn:,} were drawn again from the impression's id and the "
            f"model's scores: {wrong} differ in items or by more than {TOLERANCE:.0%} of a propensity."
        ),
        "",
    ]


def row(share: float, rounds: list[dict[str, Any]], off: list[dict[str, Any]]) -> str:
    """A row of the table."""
    times = " | ".join(
        f"{statistics.median(one[name] for one in rounds):.1f} ms" for name in ("p50", "p90", "p99")
    )
    grown = growth(rounds, off)
    change = f"{statistics.median(grown):+.1f} ms | {min(grown):+.1f} to {max(grown):+.1f} ms"
    change = change if share else "– | –"
    errors, fallbacks = (sum(one[name] for one in rounds) for name in ("errors", "fallbacks"))
    return f"| {share:.0%} | {times} | {change} | {errors} | {fallbacks} |"


def growth(rounds: list[dict[str, Any]], off: list[dict[str, Any]]) -> list[float]:
    """By how much p99 is larger than in the same round without exploration."""
    return [one["p99"] - other["p99"] for one, other in zip(rounds, off, strict=True)]


def write_study(root: Path, share: float) -> None:
    """Write the study of the benchmark of serving, with exploration."""
    root.mkdir()
    serving.write_study(root)
    if share:
        params = (root / PARAMS_FILE).read_text("utf-8")
        section = f"exploration: {{share: {share}, temperature: {TEMPERATURE}}}"
        assert "exploration: null" in params
        (root / PARAMS_FILE).write_text(params.replace("exploration: null", section), "utf-8")


def interleaved(roots: list[Path], rounds: int, seconds: float) -> list[list[dict[str, Any]]]:
    """The client-side results of each server in each round."""
    found: list[list[dict[str, Any]]] = [[] for _ in roots]
    with ExitStack() as stack:
        urls = [stack.enter_context(serving.server(root)) for root in roots]
        loads = [{"do": "load", "url": url, "route": "/recommend", "rate": RATE} for url in urls]
        for load in loads:
            serving.run({**load, "seconds": serving.WARM_UP_SECONDS})
        for number in range(rounds):
            for place in range(len(roots)):
                turn = (number + place) % len(roots)
                found[turn].append(serving.run({**loads[turn], "seconds": seconds}))
    return found


def check(root: Path) -> dict[str, int]:
    """Draw every explored list of a log again."""
    study, paths = serving.open_study(root)
    snapshot = load_snapshot(study, paths)
    model, index = snapshot.model.recommender.model, snapshot.model.recommender.index
    files = sorted((paths.root / study.serving.log_path).glob("impressions-*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
    explored = [one for one in rows if one["explored"]]
    wrong = 0
    for start in range(0, len(explored), serving.CHECK_BATCH):
        some = explored[start : start + serving.CHECK_BATCH]
        sessions = [np.array([index[item] for item in one["session"]]) for one in some]
        preference_BO = torch.tensor([one["preference"] for one in some])
        scores_BI = next_scores(model, sessions, preference_BO)
        values_BC, items_BC = best_items(scores_BI, some[0]["candidates"])
        for one, items_C, values_C in zip(some, items_BC.numpy(), values_BC.numpy(), strict=True):
            assert snapshot.model.exploration is not None
            drawn = snapshot.model.exploration.draw(one["impression"], values_C, one["k"])
            names = [snapshot.model.recommender.items[item] for item in items_C[drawn.indices]]
            logged = one["position_propensities"]
            same = np.allclose(drawn.propensities, logged, rtol=TOLERANCE, atol=0)
            wrong += not (same and names == one["items"])
    return {"rows": len(rows), "explored": len(explored), "wrong": wrong}


if __name__ == "__main__":
    main()
