r"""From 26.5 million impressions to a verdict, against a bare load and row-level statsmodels.

    python benchmarks/inference.py --write

Impressions of 2 million users over 14 days are drawn (``experiment.source: direct``) with the groups and
slopes of the paper's experiment, and written as one parquet file per day; 5 million of them also as
500 files. Every measurement runs in a separate process on two cores. The lower bound of the ingestion is DuckDB's ``CREATE TABLE AS SELECT`` of
the same files into a database file. ``--write`` writes ``results/inference.md``.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from machine import described, run_alone, use_two_cores

from pipeline.core.contracts import ALL_TARGETS, OFFLINE_METRICS
from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.experiment.kpis.aggregate import ExperimentAggregates, aggregate
from pipeline.experiment.log.ingest import ingest
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs, relative_change
from pipeline.quality.runner import check_experiment_log
from pipeline.simulator.fault_injection import write_simulated_log
from pipeline.simulator.planted_slopes import DirectSimulation
from pipeline.simulator.shop_experiment import SimulationConfig
from pipeline.study import (
    PAPER_HYPOTHESES,
    ExperimentConfig,
    RegressionConfig,
    SimulatorConfig,
    SyntheticConfig,
)

RESULTS = Path(__file__).parent / "results" / "inference.md"
IMPRESSION_MILLIONS = (5.0, 10.0, 26.5)
MANY_FILES = 500
MANY_FILES_MILLIONS = 5.0
USERS_PER_IMPRESSION = 2 / 26.5
DAYS = 14
CTR, CVR, SLOPE = 0.10, 0.027, 0.9
RECALL = (0.4500, 0.4571, 0.4776, 0.4933, 0.4995)
DENSITY = (0.04081, 0.04071, 0.04052, 0.04016, 0.04000)
STATSMODELS_ROWS = 2_000_000
REPEATS = 3

PLAN = TrafficPlan(
    experiment="paper",
    salt="paper",
    list_length=20,
    groups=tuple(
        Group(
            name=f"g{n + 1}",
            preference_id=f"p{n}",
            preference=(n / 4, 1 - n / 4),
            first_bucket=N_BUCKETS // 5 * n,
            last_bucket=N_BUCKETS // 5 * (n + 1) - 1,
        )
        for n in range(5)
    ),
)


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--millions", type=float, nargs="+", default=IMPRESSION_MILLIONS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.child:
        print(json.dumps(child(json.loads(arguments.child))))
        return
    text = report(arguments.millions, arguments.repeats)
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def report(millions: list[float], repeats: int) -> str:
    """Run all measurements; returns the report in Markdown."""
    with tempfile.TemporaryDirectory(prefix="paretoscope-") as name:
        rows = [measure(MANY_FILES_MILLIONS, Path(name), repeats, n_files=MANY_FILES)]
        rows += [measure(million, Path(name), repeats) for million in millions]
    introduction = (
        "`python benchmarks/inference.py --write` on "
        f"{described('duckdb', 'polars', 'statsmodels')}. Seconds are medians of {repeats}, but for "
        "*draw* (writing the log, once); *bare load* is `CREATE TABLE AS SELECT` of the same files."
    )
    heads = (
        "| million impressions | files | draw | peak memory of draw | parquet | bare load | ingestion | "
        "relative to bare load | checks | repeated ingestion | one more file | aggregation | "
        "four hypotheses | peak memory |"
    )
    lines = [
        "# From impressions to a verdict",
        "",
        introduction,
        "",
        heads,
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {r['million']} | {r['files']} | {r['draw']:.1f} s | {r['draw_gib']:.2f} GiB | {r['mib']:.0f} MiB | "
            f"{r['bare']:.1f} s | {r['ingest']:.1f} s | {r['ingest'] / r['bare']:.2f} | "
            f"{r['check']:.1f} s | {r['repeat']:.2f} s | {r['one_day']:.1f} s | "
            f"{r['aggregate']:.1f} s | {r['hypotheses']:.2f} s | {r['peak']:.2f} GiB |"
            for r in rows
        ),
        "",
        compared_with_rows(rows[-1], repeats),
        "",
    ]
    return "\n".join(lines)


def measure(
    million: float, folder: Path, repeats: int, *, n_files: int | None = None
) -> dict[str, Any]:
    """All measurements of a log of one size; one file per day, or ``n_files``."""
    files = folder / f"log-{million}"
    files.mkdir()
    drawn, draw_gib = run_case(work="draw", files=str(files), million=str(million))
    if n_files:
        split(files, n_files)
    found: dict[str, list[float]] = {}
    peak = 0.0
    for _ in range(repeats):
        database = folder / "log.duckdb"
        for work in ("bare", "ingest", "repeat", "check", "aggregate", "one_day"):
            print(f"{million} million, {n_files or 'daily'} files: {work}", file=sys.stderr)
            if work in {"bare", "ingest"}:
                database.unlink(missing_ok=True)
            result, gib = run_case(work=work, files=str(files), database=str(database))
            for key in ("seconds", "hypotheses"):
                if key in result:
                    found.setdefault(work if key == "seconds" else key, []).append(result[key])
            peak = max(peak, gib if work != "bare" else 0.0)
    size = sum(file.stat().st_size for file in files.iterdir()) / 2**20
    count = sum(1 for _ in files.iterdir())
    shutil.rmtree(files)
    medians = {name: statistics.median(times) for name, times in found.items()}
    known = {"draw": drawn["seconds"], "draw_gib": draw_gib, "peak": peak}
    return {"million": million, "files": count, "mib": size} | known | medians


def split(folder: Path, n_files: int) -> None:
    """Replace the files of a log by so many of about the same size, whose names sort by time."""
    days = sorted(folder.iterdir())
    for number, day in enumerate(days):
        pieces = n_files * (number + 1) // len(days) - n_files * number // len(days)
        table = pl.read_parquet(day)
        for piece in range(pieces):
            first, last = (table.height * end // pieces for end in (piece, piece + 1))
            part = table.slice(first, last - first)
            part.write_parquet(day.with_name(f"{day.stem}-{piece:03d}{day.suffix}"))
        day.unlink()


def compared_with_rows(largest: dict[str, Any], repeats: int) -> str:
    """Comparison with statsmodels on one row per impression, scaled to the whole log."""
    times = [run_case(work="statsmodels")[0] for _ in range(repeats)]
    single, every = (
        statistics.median(one[name] for one in times) for name in ("single", "all models")
    )
    scale = 4 * largest["million"] * 1e6 / STATSMODELS_ROWS
    ours = largest["aggregate"] + largest["hypotheses"]
    return (
        f"Row-level statsmodels with user-clustered errors, on {STATSMODELS_ROWS:,} impressions: "
        f"{single:.1f} s for the logistic regression only, {every:.0f} s with the models of the report "
        "that can be fitted to rows (Poisson, curvature, day effects, novelty, leave-one-out over five "
        "groups; without the 119 fits of the permutation test). For four hypotheses on "
        f"{largest['million']} million impressions that is {single * scale:,.0f} s and "
        f"{every * scale:,.0f} s. Ours, with all estimates of the report, is "
        f"{every * scale / ours:,.0f} times faster from the database (aggregation and estimates; "
        f"{single * scale / ours:,.0f} times compared with the logistic regression only) and "
        f"{every * scale / largest['hypotheses']:,.0f} times faster from the aggregates "
        f"({single * scale / largest['hypotheses']:,.0f})."
    )


def run_case(**case: str) -> tuple[dict[str, float], float]:
    """Run one measurement in a separate process; returns its seconds and peak memory in GiB."""
    result, usage = run_alone([sys.executable, __file__, "--child", json.dumps(case)])
    return result, usage.ru_maxrss / 2**20


def child(case: dict[str, Any]) -> dict[str, Any]:
    """One measurement, in the separate process."""
    if case["work"] == "statsmodels":
        return row_level()
    if case["work"] == "draw":
        started = time.perf_counter()
        draw(float(case["million"]) * 1e6, Path(case["files"]))
        return {"seconds": time.perf_counter() - started}
    files, database = log_files(Path(case["files"])).files, Path(case["database"])
    started = time.perf_counter()
    match case["work"]:
        case "bare":
            with duckdb.connect(str(database)) as connection:
                connection.execute(
                    "CREATE TABLE impressions AS SELECT * FROM read_parquet(?)",
                    [[str(file.path) for file in files]],
                )
        case "ingest" | "repeat":
            ingest(files, PLAN, database)
        case "check":
            check_experiment_log(database)
        case "one_day":
            shorter = database.with_name("shorter.duckdb")
            shorter.unlink(missing_ok=True)
            ingest(files[:-1], PLAN, shorter)
            started = time.perf_counter()
            ingest(files, PLAN, shorter)
            shorter.unlink()
        case "aggregate":
            sums = aggregate(database, PLAN)
            seconds = time.perf_counter() - started
            return {"seconds": seconds, "hypotheses": estimates(sums)}
        case other:
            raise ValueError(other)
    return {"seconds": time.perf_counter() - started}


def estimates(sums: ExperimentAggregates) -> float:
    """Seconds for all estimates of the paper's four hypotheses, from the aggregates."""
    values: dict[str, tuple[float, ...]] = {"recall": RECALL, "order_density": DENSITY}
    values["recall_order_density"] = tuple(r * d for r, d in zip(RECALL, DENSITY, strict=True))
    metrics = pl.DataFrame(
        [
            {
                "preference_id": f"p{n}",
                "preference": [],
                "metric": metric,
                "segment": ALL_TARGETS,
                "value": value,
                "higher_is_better": True,
            }
            for metric, values_G in values.items()
            for n, value in enumerate(values_G)
        ],
        schema=OFFLINE_METRICS.schema,
    )
    section = RegressionConfig(hypotheses=PAPER_HYPOTHESES)
    started = time.perf_counter()
    inputs = RegressionInputs(
        metrics, None, sums.group_kpis, daily_totals=sums.daily_totals, planned_days=DAYS
    )
    estimate_hypotheses(inputs, section, seed=1)
    return time.perf_counter() - started


def row_level() -> dict[str, float]:
    """Seconds of statsmodels on one row per impression, with errors clustered by user."""
    import statsmodels.api as sm  # noqa: PLC0415 - only this child needs it

    rng = np.random.default_rng(3)
    user = rng.integers(0, STATSMODELS_ROWS // 13, STATSMODELS_ROWS)
    group, day = user % 5, rng.integers(0, DAYS, STATSMODELS_ROWS)
    x = (np.array(RECALL) / RECALL[0] - 1)[group]
    y = (rng.random(STATSMODELS_ROWS) < CTR * (1 + SLOPE * x)).astype(float)

    def fit(model: Any, *columns: Any, rows: Any = slice(None)) -> None:
        design = np.column_stack([np.ones_like(x), x, *columns])[rows]
        model(y[rows], design).fit(disp=False, cov_type="cluster", cov_kwds={"groups": user[rows]})

    started = time.perf_counter()
    fit(sm.Logit)
    single = time.perf_counter() - started
    days = (day[:, None] == np.arange(1, DAYS)).astype(float)
    fit(sm.Poisson)
    fit(sm.Logit, x**2 / np.ptp(x))
    fit(sm.Logit, days)
    fit(sm.Logit, days, x * np.log1p(day))
    for left_out in range(5):
        fit(sm.Logit, rows=group != left_out)
    return {"single": single, "all models": time.perf_counter() - started}


def draw(impressions: float, folder: Path) -> None:
    """Write a log with the slopes of the paper, one file per day."""
    users = round(impressions * USERS_PER_IMPRESSION)
    config = SimulationConfig(
        synthetic=SyntheticConfig(),
        experiment=ExperimentConfig(users=users, days=DAYS),
        simulator=SimulatorConfig(),
        seed=1,
    )
    x_ctr, x_cvr = relative_change(np.array(RECALL)), relative_change(np.array(DENSITY))
    simulation = DirectSimulation.of(PLAN, config, x_ctr=x_ctr, x_cvr=x_cvr)
    rng = np.random.default_rng(1)
    write_simulated_log(simulation.days(), PLAN, config.simulator.faults, folder, rng=rng)


if __name__ == "__main__":
    main()
