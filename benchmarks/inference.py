r"""From 26.5 million exposures to a verdict, against a bare load and row-level statsmodels.

    python benchmarks/inference.py --write

Exposures of 2 million users over 14 days are drawn so that groups and their rates are those of the
paper's experiment, and written as a parquet file a day. Every measurement is a process of its own
on two cores. The limit of taking a log in is DuckDB's ``CREATE TABLE AS SELECT`` of the same files
into a database file. ``--write`` writes ``results/inference.md``.
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

from pipeline.experiment.assignment import N_BUCKETS
from pipeline.experiment.ingestion import ingest
from pipeline.experiment.kpis import sum_up
from pipeline.experiment.plan import Group, TrafficPlan
from pipeline.inference.evidence import Evidence
from pipeline.inference.hypotheses import estimate_hypotheses
from pipeline.quality.runner import check_experiment_log
from pipeline.schemas import ALL_TARGETS, DAY_MS, EXPOSURES, OFFLINE_METRICS
from pipeline.study import PAPER_HYPOTHESES, RegressionSection

RESULTS = Path(__file__).parent / "results" / "inference.md"
EXPOSURE_MILLIONS = (5.0, 10.0, 26.5)
USERS_A_MILLION = 2_000_000 / 26.5
DAYS = 14
FIRST_TS = 1_767_571_200_000
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
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--millions", type=float, nargs="+", default=EXPOSURE_MILLIONS)
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
    """Measure and say what was found."""
    with tempfile.TemporaryDirectory(prefix="paretoscope-") as name:
        rows = [measured(million, Path(name), repeats) for million in millions]
    about = (
        "`python benchmarks/inference.py --write` on "
        f"{described('duckdb', 'polars', 'statsmodels')}. Seconds are medians of {repeats}; *bare* "
        "is `CREATE TABLE AS SELECT` of the same parquet files."
    )
    heads = (
        "| million exposures | parquet | bare | taken in | times bare | checks | the same files "
        "again | one day more | group sums | four hypotheses | peak memory |"
    )
    lines = [
        "# From exposures to a verdict",
        "",
        about,
        "",
        heads,
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {r['million']} | {r['mib']:.0f} MiB | {r['bare']:.1f} s | {r['take_in']:.1f} s | "
            f"{r['take_in'] / r['bare']:.2f} | {r['check']:.1f} s | {r['again']:.2f} s | "
            f"{r['a_day']:.1f} s | {r['sums']:.1f} s | {r['hypotheses']:.2f} s | {r['peak']:.2f} GiB |"
            for r in rows
        ),
        "",
        compared_with_rows(rows[-1], repeats),
        "",
    ]
    return "\n".join(lines)


def measured(million: float, folder: Path, repeats: int) -> dict[str, Any]:
    """Everything about a log of one size."""
    files = folder / f"log-{million}"
    files.mkdir()
    write_exposures(round(million * 1e6), files)
    found: dict[str, list[float]] = {}
    peak = 0.0
    for _ in range(repeats):
        database = folder / "log.duckdb"
        for work in ("bare", "take_in", "again", "check", "sums", "a_day"):
            if work in {"bare", "take_in"}:
                database.unlink(missing_ok=True)
            result, gib = alone(work=work, files=str(files), database=str(database))
            for key in ("seconds", "hypotheses"):
                if key in result:
                    found.setdefault(work if key == "seconds" else key, []).append(result[key])
            peak = max(peak, gib if work != "bare" else 0.0)
    size = sum(file.stat().st_size for file in files.iterdir()) / 2**20
    shutil.rmtree(files)
    medians = {name: statistics.median(times) for name, times in found.items()}
    return {"million": million, "mib": size, "peak": peak} | medians


def compared_with_rows(largest: dict[str, Any], repeats: int) -> str:
    """The slow twin: one row an exposure, scaled to the whole log."""
    times = [alone(work="statsmodels")[0]["seconds"] for _ in range(repeats)]
    whole = statistics.median(times) * 4 * largest["million"] * 1e6 / STATSMODELS_ROWS
    ours = largest["sums"] + largest["hypotheses"]
    return (
        f"Row-level statsmodels (a logistic regression with user-clustered errors) takes "
        f"{statistics.median(times):.1f} s for {STATSMODELS_ROWS:,} exposures, so about "
        f"{whole:,.0f} s for four hypotheses on {largest['million']} million: {whole / ours:,.0f} "
        "times ours from the database (group sums and all estimates of four hypotheses), "
        f"{whole / largest['hypotheses']:,.0f} times ours from the group sums."
    )


def alone(**case: str) -> tuple[dict[str, float], float]:
    """One measurement in a process of its own: its seconds, and its peak memory in GiB."""
    result, usage = run_alone([sys.executable, __file__, "--child", json.dumps(case)])
    return result, usage.ru_maxrss / 2**20


def child(case: dict[str, Any]) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    if case["work"] == "statsmodels":
        return {"seconds": row_level()}
    files, database = sorted(Path(case["files"]).iterdir()), Path(case["database"])
    started = time.perf_counter()
    match case["work"]:
        case "bare":
            with duckdb.connect(str(database)) as connection:
                connection.execute(
                    "CREATE TABLE exposures AS SELECT * FROM read_parquet(?)", [[*map(str, files)]]
                )
        case "take_in" | "again":
            ingest(files, PLAN, database)
        case "check":
            check_experiment_log(database)
        case "a_day":
            shorter = database.with_name("shorter.duckdb")
            shorter.unlink(missing_ok=True)
            ingest(files[:-1], PLAN, shorter)
            started = time.perf_counter()
            ingest(files, PLAN, shorter)
            shorter.unlink()
        case "sums":
            kpis, daily = sum_up(database, PLAN)
            seconds = time.perf_counter() - started
            return {"seconds": seconds, "hypotheses": estimates(kpis, daily)}
        case other:
            raise ValueError(other)
    return {"seconds": time.perf_counter() - started}


def estimates(kpis: pl.DataFrame, daily: pl.DataFrame) -> float:
    """Seconds for all estimates of the paper's four hypotheses, from the group and daily sums."""
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
            for metric, of_groups in values.items()
            for n, value in enumerate(of_groups)
        ],
        schema=OFFLINE_METRICS.schema,
    )
    section = RegressionSection(hypotheses=PAPER_HYPOTHESES)
    started = time.perf_counter()
    evidence = Evidence(metrics, None, kpis, daily_sums=daily, planned_days=DAYS)
    estimate_hypotheses(evidence, section, seed=1)
    return time.perf_counter() - started


def row_level() -> float:
    """Seconds of statsmodels on one row an exposure, with errors clustered by user."""
    import statsmodels.api as sm  # noqa: PLC0415 - only this child needs it

    rng = np.random.default_rng(3)
    unit = rng.integers(0, STATSMODELS_ROWS // 13, STATSMODELS_ROWS)
    x = (np.array(RECALL) / RECALL[0] - 1)[unit % 5]
    clicked = rng.random(STATSMODELS_ROWS) < CTR * (1 + SLOPE * x)
    started = time.perf_counter()
    sm.Logit(clicked.astype(float), sm.add_constant(x)).fit(
        disp=False, cov_type="cluster", cov_kwds={"groups": unit}
    )
    return time.perf_counter() - started


def write_exposures(n: int, folder: Path) -> None:
    """A log of ``n`` exposures, one file a day; users come again on several days."""
    rng = np.random.default_rng(1)
    names = pl.Series([f"user-{u:07d}" for u in range(round(n / 1e6 * USERS_A_MILLION))])
    group = PLAN.groups_of(names)
    place = group.str.slice(1).cast(pl.Int64).to_numpy() - 1
    for day in range(DAYS):
        rows = n * (day + 1) // DAYS - n * day // DAYS
        user = rng.integers(0, len(names), rows)
        x = (np.array(RECALL) / RECALL[0] - 1)[place[user]]
        clicked = rng.random(rows) < CTR * (1 + SLOPE * x)
        ordered = clicked & (rng.random(rows) < CVR)
        ts = np.sort(rng.integers(0, DAY_MS, rows)) + FIRST_TS + day * DAY_MS
        frame = pl.DataFrame(
            {
                "experiment": pl.repeat("paper", rows, eager=True),
                "exposure": pl.select(
                    pl.format("{}-{}", pl.lit(day), pl.int_range(rows))
                ).to_series(),
                "unit": names.gather(user),
                "group": group.gather(user),
                "ts": ts,
                "clicked": clicked,
                "ordered": ordered,
                "units": ordered.astype(np.int32),
            }
        )
        EXPOSURES.check(frame).write_parquet(folder / f"exposures-{day:02d}.parquet")


if __name__ == "__main__":
    main()
