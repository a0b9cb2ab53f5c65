"""Throughput and latency of the endpoint, of /health (no model, no log), and of the model alone.

    python benchmarks/serving.py --write

Server and load generator are two processes on two cores. The load is open: requests are sent at the
times of a Poisson process, whether or not earlier ones have finished, and latency counts from the
scheduled time. After the rates of the table, the highest one within the limit is searched, to 5%. All
lists are recomputed from the log. ``--write`` updates ``results/serving.md``.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import polars as pl
import torch
from machine import CORES, described, run_alone, use_two_cores

from models.checkpoint import CheckpointFacts, catalogue_fingerprint, save_checkpoint
from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.scoring.recommend import next_scores
from models.training.configuration import TrainingConfig
from pipeline.artifacts.storage import StudyPaths, write_json
from pipeline.experiment.design.traffic_plan import PLAN, Group, Incumbent, TrafficPlan
from pipeline.serving.http.server import serve
from pipeline.serving.ranking.rank import RankRequest, rank
from pipeline.serving.ranking.snapshot import Snapshot, load_snapshot
from pipeline.study import PARAMS_FILE, Study, load_study

RESULTS = Path(__file__).parent / "results" / "serving.md"
ROOT = Path(__file__).parents[1]
ITEMS = 50_000
GROUPS = 5
LIMIT_MS = 50.0
RATES = (100, 200, 300, 400, 450, 500, 550, 600)
EMPTY_RATES = (600, 1200, 1800)
HIGHER = 1.25
"""The next rate after one within the limit."""
PRECISION = 0.05
LEAST_STEP = 10
SECONDS = 10.0
WARM_UP_SECONDS = 3.0
CONNECTIONS = 256
CHECK_BATCH = 64
SCORE_TOLERANCE = 1e-4
"""Items with closer scores may be swapped: the order of summation changes the last digits."""


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="duration per rate")
    parser.add_argument("--rates", type=int, nargs="+", default=RATES)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.serve:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        study, paths = open_study(arguments.serve)
        serve(study, paths, port=0)
    elif arguments.child:
        print(json.dumps(child(json.loads(arguments.child))))
    else:
        text = report(arguments)
        print(text)
        if arguments.write:
            RESULTS.write_text(text, encoding="utf-8")


def report(arguments: argparse.Namespace) -> str:
    """All results as Markdown."""
    before, *_ = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_study(root)
        with warm_server(root, "/recommend", arguments.seconds) as measure:
            lists = searched(measure, arguments.rates)
        wrong = run({"do": "check", "root": folder})
        with warm_server(root, "/health", arguments.seconds) as measure:
            empty = searched(measure, EMPTY_RATES)
        limit = run({"do": "limit", "root": folder})
    best, best_empty = highest(lists), highest(empty)
    return "\n".join(
        [
            "# Serving: lists per second",
            "",
            (
                "`python benchmarks/serving.py --write` on "
                f"{described('torch', 'fastapi', 'uvicorn', 'aiohttp')}. {ITEMS:,} items, hidden size "
                f"64, two layers, {GROUPS} groups, sessions of 1 to 30 clicks, lists of 20; every list is "
                "logged (fsync) before the response. The load is open (Poisson arrivals, "
                f"{arguments.seconds:.0f} s per rate, after a warm-up); its generator shares the "
                f"{CORES} cores, and latency counts from the scheduled time. Load average of the "
                f"minute before: {before:.1f}."
            ),
            "",
            "| scheduled per second | completed per second | p50 | p90 | p99 | errors | fallbacks |",
            "|---|---|---|---|---|---|---|",
            *(row(one) for one in lists),
            "",
            (
                f"Highest rate with p90 ≤ {LIMIT_MS:.0f} ms: **{best} requests per second**. /health of "
                f"the same server, without model and log: {best_empty} (p90 {p90(empty, best_empty):.1f} ms). Both "
                f"are found by halving, to {PRECISION:.0%}. The model, "
                f"without HTTP and log, on one core: {limit['alone']:.0f} lists per second one by one, "
                + ", ".join(
                    f"{rate:.0f} in batches of {size}" for size, rate in limit["batches"].items()
                )
                + f"; the product with the item embeddings alone {limit['product']:.0f} in batches of 8."
            ),
            "",
            (
                f"{wrong['rows']:,} lists were recomputed from the log, {wrong['fallbacks']} were "
                f"fallbacks: {wrong['wrong']} wrong ({wrong['moved']} had items whose scores differ by "
                f"less than {SCORE_TOLERANCE} in a different order)."
            ),
            "",
        ]
    )


def highest(measurements: list[dict[str, Any]]) -> int:
    """The highest rate with p90 within the limit and no errors; 0 if there is none."""
    return max((one["rate"] for one in measurements if is_within_limit(one)), default=0)


def is_within_limit(one: dict[str, Any]) -> bool:
    """Whether the p90 is within the limit, without errors and fallbacks."""
    return one["p90"] <= LIMIT_MS and not one["errors"] and not one["fallbacks"]


def searched(
    measure: Callable[[int], dict[str, Any]], rates: tuple[int, ...]
) -> list[dict[str, Any]]:
    """The results at the rates, then at others until the highest within the limit is known to 5%."""
    found = [measure(rate) for rate in rates]
    while True:
        passed = highest(found)
        failed = min((one["rate"] for one in found if one["rate"] > passed), default=None)
        if failed is None:
            found.append(measure(round(HIGHER * passed)))
        elif failed - passed > max(PRECISION * failed, LEAST_STEP):
            found.append(measure((passed + failed) // 2))
        else:
            return sorted(found, key=lambda one: one["rate"])


def p90(measurements: list[dict[str, Any]], rate: int) -> float:
    """The p90 at a rate."""
    return next((one["p90"] for one in measurements if one["rate"] == rate), float("nan"))


def row(one: dict[str, Any]) -> str:
    """A row of the table."""
    times = " | ".join(f"{one[name]:.1f} ms" for name in ("p50", "p90", "p99"))
    return f"| {one['rate']} | {one['completed']:.0f} | {times} | {one['errors']} | {one['fallbacks']} |"


@contextmanager
def warm_server(
    root: Path, route: str, seconds: float
) -> Iterator[Callable[[int], dict[str, Any]]]:
    """A server process after a warm-up; yields what measures the client's side at a rate."""
    with server(root) as url:
        load = {"do": "load", "url": url, "route": route}
        run({**load, "rate": RATES[0], "seconds": WARM_UP_SECONDS})
        yield lambda rate: run({**load, "rate": rate, "seconds": seconds})


@contextmanager
def server(root: Path):  # noqa: ANN201 - a context of its URL
    """A server process of a study; yields its URL."""
    process = subprocess.Popen(  # noqa: S603 - this file
        [sys.executable, __file__, "--serve", str(root)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = next((line for line in process.stderr if "http://" in line), "")
        yield line.split(" on ")[1].strip()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run a task in a new process."""
    found, _ = run_alone([sys.executable, __file__, "--child", json.dumps(task)])
    print(json.dumps({**task, **found}), file=sys.stderr)
    return {**task, **found}


def child(task: dict[str, Any]) -> dict[str, Any]:
    """Run a task in this process."""
    match task["do"]:
        case "load":
            # A full collection of what this process imports takes 0.2 s, in which it sends nothing
            # and reads no response: at 600 requests a second that would be the p99.
            gc.freeze()
            gc.disable()
            return asyncio.run(load(task["url"], task["route"], task["rate"], task["seconds"]))
        case "check":
            return check(*open_study(Path(task["root"])))
        case _:
            torch.set_num_threads(1)
            return limits(load_snapshot(*open_study(Path(task["root"]))))


async def load(url: str, route: str, rate: int, seconds: float) -> dict[str, Any]:
    """Send requests at the times of a Poisson process; returns percentiles of the latency."""
    rng = np.random.default_rng(rate)
    scheduled = np.cumsum(rng.exponential(1 / rate, size=round(rate * seconds)))
    bodies = [json.dumps(request(rng)).encode() for _ in scheduled]
    times: list[float] = []
    errors = fallbacks = 0
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession(url, connector=connector, headers=headers) as session:
        started = time.perf_counter()

        async def one(moment: float, body: bytes) -> None:
            nonlocal errors, fallbacks
            try:
                method, sent = ("POST", body) if route == "/recommend" else ("GET", None)
                async with session.request(method, route, data=sent) as response:
                    content = await response.read()
                    errors += response.status != 200
                    fallbacks += route == "/recommend" and b'"fallback":null' not in content
            except aiohttp.ClientError:
                errors += 1
            times.append(time.perf_counter() - started - moment)

        trequests: list[asyncio.Task[None]] = []
        for moment, body in zip(scheduled.tolist(), bodies, strict=True):
            delay = started + moment - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            trequests.append(asyncio.create_task(one(moment, body)))
        await asyncio.gather(*trequests)
        seconds_taken = time.perf_counter() - started
    percentiles = statistics.quantiles(times, n=100)
    return {
        "completed": (len(times) - errors) / seconds_taken,
        "p50": 1000 * percentiles[49],
        "p90": 1000 * percentiles[89],
        "p99": 1000 * percentiles[98],
        "errors": errors,
        "fallbacks": fallbacks,
    }


def request(rng: np.random.Generator) -> dict[str, Any]:
    """A user with a session of 1 to 30 clicks; popular items are more frequent."""
    clicks = (ITEMS * rng.beta(0.5, 2.0, size=rng.integers(1, 31))).astype(int)
    return {"user": f"u{rng.integers(10**9)}", "session": [f"item-{n}" for n in clicks]}


def check(study: Study, paths: StudyPaths) -> dict[str, Any]:
    """Recompute every logged list from the scores of all items."""
    snapshot = load_snapshot(study, paths)
    index, model = snapshot.model.recommender.index, snapshot.model.recommender.model
    counts = {"rows": 0, "fallbacks": 0, "moved": 0, "wrong": 0}
    files = sorted((paths.root / study.serving.log_path).glob("impressions-*.jsonl"))
    logged = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
    ranked = [one for one in logged if one["fallback"] is None]
    counts["rows"], counts["fallbacks"] = len(logged), len(logged) - len(ranked)
    for start in range(0, len(ranked), CHECK_BATCH):
        some = ranked[start : start + CHECK_BATCH]
        sessions = [np.array([index[item] for item in one["session"]]) for one in some]
        preference_BO = torch.tensor([one["preference"] for one in some])
        scores_BI = next_scores(model, sessions, preference_BO)
        values_BK, items_BK = torch.topk(scores_BI, some[0]["k"], dim=1)
        for row, one in enumerate(some):
            items = torch.tensor([index[item] for item in one["items"]])
            found = scores_BI[row, items]
            is_best = (found - values_BK[row]).abs().max() < SCORE_TOLERANCE
            is_logged = (found - torch.tensor(one["scores"])).abs().max() < SCORE_TOLERANCE
            counts["wrong"] += not (is_best and is_logged and len(items.unique()) == one["k"])
            counts["moved"] += not torch.equal(items, items_BK[row])
    return counts


def limits(snapshot: Snapshot) -> dict[str, Any]:
    """Lists per second of the model alone."""
    rng = np.random.default_rng(0)
    index = snapshot.model.recommender.index
    requests = [
        RankRequest(
            session=np.array([index[item] for item in request(rng)["session"]]),
            preference=snapshot.plan.groups[n % GROUPS].preference,
            k=20,
            excluded=np.array([], dtype=np.int64),
            ts=1_760_000_000_000,
        )
        for n in range(256)
    ]

    def rate(size: int) -> float:
        rank(snapshot.model, requests[:size])
        started = time.perf_counter()
        for start in range(0, len(requests), size):
            rank(snapshot.model, requests[start : start + size])
        return len(requests) / (time.perf_counter() - started)

    table_ID = snapshot.model.recommender.model.item_embedding.weight.detach()
    hidden_BD = torch.randn(8, table_ID.shape[1], generator=torch.Generator().manual_seed(0))
    started = time.perf_counter()
    for _ in range(100):
        _ = hidden_BD @ table_ID.T
    product = 800 / (time.perf_counter() - started)
    return {"alone": rate(1), "batches": {n: rate(n) for n in (4, 8, 16, 32)}, "product": product}


def open_study(root: Path) -> tuple[Study, StudyPaths]:
    """The study of the benchmark, and its paths."""
    study = load_study(root / PARAMS_FILE, {"study.name": "bench"})
    return study, StudyPaths.of(study, root)


def write_study(root: Path, n_items: int = ITEMS) -> None:
    """Write a finished study with untrained weights."""
    (root / PARAMS_FILE).write_text((ROOT / PARAMS_FILE).read_text("utf-8"), encoding="utf-8")
    study, paths = open_study(root)
    names = [f"item-{n}" for n in range(n_items)]
    for asset in ("sessions", "conditioned_model", "traffic_plan"):
        paths.artifact(asset).mkdir(parents=True)
    pl.DataFrame(
        {
            "index": pl.Series(range(n_items), dtype=pl.Int32),
            "item": names,
            "train_clicks": range(n_items, 0, -1),
        }
    ).write_parquet(paths.artifact("sessions", "items.parquet"))
    facts = CheckpointFacts(
        catalogue=catalogue_fingerprint(names),
        best_epoch=1,
        training=TrainingConfig(),
        reference=(6.0, 3.0),
        hypervolume=0.5,
        seed=0,
    )
    model = build_model(ModelConfig(), n_items=n_items, n_objectives=2, seed=0)
    save_checkpoint(model, facts, paths.artifact("conditioned_model"))
    groups = tuple(
        Group(
            name=f"g{n + 1}",
            preference_id=f"p{n:02}",
            preference=(n / (GROUPS - 1), 1 - n / (GROUPS - 1)),
            first_bucket=10_000 // GROUPS * n,
            last_bucket=10_000 // GROUPS * (n + 1) - 1,
        )
        for n in range(GROUPS)
    )
    plan = TrafficPlan(
        experiment=study.experiment.name,
        salt="bench",
        list_length=20,
        groups=groups,
        incumbent=Incumbent(preference_id="p00", preference=groups[0].preference),
    )
    write_json(paths.artifact("traffic_plan", PLAN), plan.as_dict())


if __name__ == "__main__":
    main()
