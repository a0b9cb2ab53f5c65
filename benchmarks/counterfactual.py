r"""Counterfactual evaluation: coverage in small worlds, and time and memory of lists and estimators.

    python benchmarks/counterfactual.py coverage lists --write

- ``coverage``: worlds in which a click is examination × attraction, with users who return. How often the
  interval of PBM-IPS, clustered by user, covers the mean of the estimates over the worlds, and how often the interval
  of the lift between two groups with one preference includes 0.
- ``lists``: requests of the finished default study under the preference of every group, in a process of its own.
- ``large``: PBM-IPS of one left-out group on 26.5 million impressions of 20 items under five rankers, in chunks that
  are drawn as they are read, so that no more than one is in memory.

``--write`` writes ``results/counterfactual.md``; parts that are not run keep what it says of them.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from machine import described, run_alone, use_two_cores

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.counterfactual.estimators import sums_of
from pipeline.counterfactual.experiment.examination import ExaminationCurve, ShownLists
from pipeline.counterfactual.experiment.mixture import leave_group_out, weigh_mixture
from pipeline.counterfactual.user_sums import Estimate, UserSums
from pipeline.results.counterfactual import Estimator
from tests.pipeline.counterfactual.clicks import GROUPS, world

RESULTS = Path(__file__).parent / "results" / "counterfactual.md"
PLANTED = ExaminationCurve(exponent=0.6)
SEEDS, NULL_SEEDS = 200, 400
REQUESTS = 130_000
IMPRESSIONS, CHUNK, USERS, LENGTH, CATALOGUE = 26_500_000, 100_000, 2_000_000, 20, 100_000


def coverage() -> str:
    """Coverage of the mean estimate, and the null of two groups with one preference."""
    found = [_left_out(world(seed), 2) for seed in range(SEEDS)]
    values, errors = np.array([(one.value, one.standard_error) for one in found]).T
    covered = np.abs(values - values.mean()) < 1.96 * errors
    null = [_null(seed) for seed in range(NULL_SEEDS)]
    return (
        f"Over {SEEDS} worlds of 1,500 users with 6 requests each, the 95% interval of PBM-IPS, clustered by user, "
        f"covers the mean of the estimates over the worlds in {covered.mean():.1%}; their bias is not in it. Over "
        f"{NULL_SEEDS} worlds of 400 users, the interval of the lift of a group, estimated from three others, over "
        f"another group with the same preference includes 0 in {np.mean(null):.1%}."
    )


def _left_out(shop: Any, group: int) -> Estimate:
    others, rows = leave_group_out(shop.log, group)
    log = weigh_mixture(others, shop.log.lists_GNK[group, rows], shop.click_NK[rows], PLANTED)
    return Estimate.of(sums_of(log, Estimator.IPS))


def _null(seed: int) -> bool:
    shop = world(seed, users=400, preferences=[0.3, 0.3, -0.5, 0.0, 0.5])
    kept = np.flatnonzero(shop.log.group_N > 1)
    others = ShownLists.of(
        shop.log.lists_GNK[:, kept], shop.log.group_N[kept], shop.log.user_N[kept]
    )
    log = weigh_mixture(others, shop.log.lists_GNK[0, kept], shop.click_NK[kept], PLANTED)
    own = np.flatnonzero(shop.log.group_N == 1)
    realised = Estimate.of(
        UserSums.of(shop.log.user_N[own], additive_N=shop.click_NK[own].sum(axis=1))
    )
    lift = Estimate.of(sums_of(log, Estimator.IPS)).lift_over(realised)
    low, high = lift.interval(0.95)
    assert log.support is not None
    return low <= log.support - 1 <= high  # IPS takes what no group shows as without reward


def lists() -> str:
    """Time and memory of the lists of every group."""
    found, usage = run_alone([sys.executable, __file__, "--child"])
    return (
        f"The lists of {found['requests']:,} requests of the default study under {found['policies']} policies take "
        f"{found['processor']:.0f} s of processor time ({found['seconds']:.0f} s by the clock, next to whatever else "
        f"ran), {usage.ru_maxrss / 2**20:.1f} GiB at most; {found['chains']:,} chains per policy serve them, since the "
        "requests of a session are its beginnings."
    )


def _lists_child() -> None:
    from pipeline.artifacts.project import loaded_studies  # noqa: PLC0415
    from pipeline.counterfactual.experiment.paired_table import TABLE  # noqa: PLC0415
    from pipeline.experiment.design.traffic_plan import read_plan  # noqa: PLC0415
    from pipeline.recommender.recommender import Recommender  # noqa: PLC0415

    _, paths = loaded_studies()[0].load()
    file = paths.require("paired_lists", TABLE)
    table = pl.read_parquet(file, columns=["session"], n_rows=REQUESTS)
    sessions = [one.to_numpy().astype(np.int64) for one in table["session"]]
    recommender, plan = Recommender.load(paths), read_plan(paths)
    wall, processor = time.perf_counter(), time.process_time()
    chains = recommender.chains(sessions)
    for group in plan.groups:
        recommender.policy_lists(chains, group.preference, k=plan.list_length)
    result = {
        "requests": len(sessions),
        "policies": len(plan.groups),
        "chains": len(chains.chains),
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
    }
    print(json.dumps(result))


def large() -> str:
    """Time and memory of the estimator on many impressions."""
    found, usage = run_alone([sys.executable, __file__, "--large-child"])
    return (
        f"PBM-IPS of one left-out group on {found['impressions']:,} impressions of {LENGTH} items under five rankers, "
        f"in chunks of {CHUNK:,}: {found['seconds']:.0f} s ({found['processor']:.0f} s of processor time) without "
        f"drawing the lists, {usage.ru_maxrss / 2**20:.1f} GiB at most, for {found['users']:,} users."
    )


def _large_child() -> None:
    """Sums per user are all that the chunks leave behind."""
    wall = processor = 0.0
    rows_U, value_U = np.zeros(USERS), np.zeros(USERS)
    for number in range(IMPRESSIONS // CHUNK):
        log, click_NK = _drawn(np.random.default_rng(number))
        started, began = time.perf_counter(), time.process_time()
        others, rows = leave_group_out(log, 2)
        weighted = weigh_mixture(others, log.lists_GNK[2, rows], click_NK[rows], PLANTED)
        sums = sums_of(weighted, Estimator.IPS)
        rows_U[: len(sums.rows_U)] += sums.rows_U
        value_U[: len(sums.rows_U)] += sums.additive_U
        wall += time.perf_counter() - started
        processor += time.process_time() - began
    nothing = np.empty((USERS, 0))
    total = UserSums(rows_U=rows_U, additive_U=value_U, numerator_UJ=nothing, control_UJ=nothing)
    found = Estimate.of(total)
    result = {
        "impressions": IMPRESSIONS,
        "users": found.users,
        "value": found.value,
        "seconds": wall,
        "processor": processor,
    }
    print(json.dumps(result))


def _drawn(rng: np.random.Generator) -> tuple[ShownLists, np.ndarray]:
    """A chunk: windows of one order of the catalogue, a few places apart from ranker to ranker."""
    start_N = rng.integers(0, CATALOGUE - 4 * GROUPS, CHUNK)
    place_GK = 2 * np.arange(GROUPS)[:, None] + rng.permuted(
        np.tile(np.arange(LENGTH), (GROUPS, 1)), axis=1
    )
    group_N = rng.integers(0, GROUPS, CHUNK)
    log = ShownLists.of(
        (start_N[None, :, None] + place_GK[:, None, :]).astype(np.int32),
        group_N,
        rng.integers(0, USERS, CHUNK),
    )
    return log, rng.random((CHUNK, LENGTH)) < 0.05 * PLANTED.at(LENGTH)


PARTS = {"coverage": coverage, "lists": lists, "large": large}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="coverage, lists, large; default: all"
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--large-child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.child:
        _lists_child()
    elif arguments.large_child:
        _large_child()
    else:
        found = {name: PARTS[name]() for name in arguments.parts or PARTS}
        print("\n\n".join(found.values()))
        if arguments.write:
            _write(found)


def _write(found: dict[str, str]) -> None:
    known = RESULTS.read_text("utf-8") if RESULTS.exists() else ""
    sections = {
        part.partition("\n")[0].strip(): part.partition("\n")[2].strip()
        for part in known.split("\n## ")[1:]
    }
    sections |= {name: f"{text}\n\n{described('numpy', 'torch')}" for name, text in found.items()}
    body = "\n\n".join(f"## {name}\n\n{sections[name]}" for name in PARTS if name in sections)
    head = "# Counterfactual evaluation\n\nBy `python benchmarks/counterfactual.py --write`; see its help."
    RESULTS.write_text(f"{head}\n\n{body}\n", "utf-8")


if __name__ == "__main__":
    main()
