"""The sums of an experiment's log on four engines, all on one machine: DuckDB, PostgreSQL, ClickHouse and Spark.

    pip install clickhouse-connect==1.12.0 chdb==4.4.0
    python benchmarks/scale_out.py --write

Every engine gets the same log, in which each rule rejects some rows, and runs the same Ibis expressions as
``compute.warehouse``, in processes of its own on the same two cores: PostgreSQL as Debian's server, ClickHouse as chdb in the
process, Spark as ``local-cluster[2,1,1024]``. Their tables are compared. The server's start and the loading of
its tables are not counted. ``--write`` writes ``results/scale_out.md``, with the rows of ``results/ray_launcher.md`` and
``results/index.md`` as they are there.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import polars as pl
from machine import described, run_alone, use_two_cores
from process_tree import TreeMeter
from scale_out_engines import DUCKDB, ENGINES, clickhouse_faults

from pipeline.artifacts.content_version import hash_content
from pipeline.core.errors import LogError
from pipeline.experiment.kpis.daily_kpis import daily_totals, returning_user_totals
from pipeline.experiment.kpis.pre_experiment import pre_period_sums, segment_kpis
from pipeline.experiment.kpis.user_totals import group_counts, per_user_totals
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.experiment.warehouse.engine_checks import check_engine
from pipeline.experiment.warehouse.exclude_users import find_users
from pipeline.experiment.warehouse.materialise import materialise
from pipeline.experiment.warehouse.stage_rows import stage_log
from pipeline.experiment.warehouse.sum_fates import faulty_reasons, sum_fates, with_exclusion
from tests.pipeline.experiment.warehouse.messy_log import PLAN, RULES, messy_log

RESULTS = Path(__file__).parent / "results"
PAGE = RESULTS / "scale_out.md"
USERS = (5_000, 50_000)
PER_USER = 20
STEPS = {
    "rules": "rules for rows, duplicates",
    "users": "assignment, exclusions of users",
    "fates": "rows by reason, losses",
    "group_counts": "totals of users and groups",
    "daily_totals": "by day and batch",
    "returning_user_totals": "of returning users",
    "covariates": "covariates, segments",
}


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--users", nargs="*", type=int, default=list(USERS))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--part", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.part:
        engine, folder = arguments.part
        print(json.dumps(measure(engine, Path(folder))))
        return
    runs = {n_users: run_engines(n_users) for n_users in arguments.users}
    text = "\n".join(page(runs)) + "\n"
    print(text)
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")


def run_engines(n_users: int) -> dict[str, dict[str, Any]]:
    """What the process of each engine has measured on one log."""
    impressions, users = messy_log(n_users, per_user=PER_USER)
    found: dict[str, dict[str, Any]] = {}
    for engine in ENGINES:
        with tempfile.TemporaryDirectory() as folder:
            impressions.write_parquet(Path(folder, "impressions.parquet"))
            users.write_parquet(Path(folder, "covariates.parquet"))
            command = [sys.executable, __file__, "--part", engine, folder]
            found[engine], _ = run_alone(command)
        print(json.dumps({"users": n_users, "engine": engine, **found[engine]}), file=sys.stderr)
    return found


def measure(engine: str, folder: Path) -> dict[str, Any]:
    """Seconds of every step on one engine, processor seconds and peak memory of its processes, and its tables' hashes."""
    impressions = pl.read_parquet(folder / "impressions.parquet")
    rows = impressions.height
    users = pl.read_parquet(folder / "covariates.parquet")
    with ENGINES[engine](folder, impressions, users) as connection:
        del impressions, users
        with TreeMeter(os.getpid()) as meter:
            meter.sample()
            before = meter.cpu_seconds
            began = time.perf_counter()
            seconds, tables = sum_log(connection)
            wall = time.perf_counter() - began
            meter.sample()
        refused = refusal(connection, engine)
    return {
        "rows": rows,
        "seconds": seconds,
        "wall": wall,
        "cpu": meter.cpu_seconds - before,
        "gib": meter.peak_private_gib,
        "tables": {name: hash_content([text]) for name, text in tables.items()},
        "refused": refused,
    }


def sum_log(connection: Any) -> tuple[dict[str, float], dict[str, str]]:
    """The chain of :func:`pipeline.experiment.warehouse.ingest.ingest_warehouse`, step by step."""
    rules, clock = LogRules(**RULES), Clock()
    log = clock.step("rules", lambda: stage_log(connection, DUCKDB, PLAN, rules))
    faulty = faulty_reasons(log)
    users = clock.step("users", lambda: find_users(log, faulty, PLAN, rules))
    rows = log.impressions
    valid = materialise(with_exclusion(rows.filter(rows.reason.isnull()), users))
    fates = clock.step("fates", lambda: sum_fates(log, faulty, users, valid, PLAN))
    used = valid.filter(valid.exclusion.isnull())
    totals: Any = None

    def grouped() -> pl.DataFrame:
        nonlocal totals
        totals = materialise(per_user_totals(used))
        return group_counts(totals).to_polars().sort("group")

    counts = clock.step("group_counts", grouped)
    zone, known = rules.time_zone, log.users.filter(log.users.reason.isnull())
    names = {group.name: group.preference_id for group in PLAN.groups}
    daily = clock.step("daily_totals", lambda: daily_totals(used, totals, zone))
    returning = clock.step(
        "returning_user_totals", lambda: returning_user_totals(used, totals, zone)
    )
    pre, segments = clock.step(
        "covariates",
        lambda: (pre_period_sums(totals, known), segment_kpis(totals, known, names)),
    )
    tables = {
        "rejected": fates.rejected,
        "fates": fates.fates,
        "loss_sums": fates.loss_sums,
        "outcomes": fates.outcomes,
        "group_counts": counts,
        "daily_totals": daily,
        "returning_user_totals": returning,
        "pre_period_sums": pre,
        "segment_kpis": segments,
    }
    known_tables = {name: table for name, table in tables.items() if table is not None}
    return clock.seconds, {name: table.write_json() for name, table in known_tables.items()}


class Clock:
    """Wall seconds of named steps; a step that an engine cannot compute has none."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """The result of some work; None if ClickHouse refuses it for its types."""
        began = time.perf_counter()
        try:
            result = work()
        except Exception as error:
            if "ILLEGAL_TYPE_OF_ARGUMENT" not in str(error):
                raise
            return None
        self.seconds[name] = time.perf_counter() - began
        return result


def refusal(connection: Any, engine: str) -> str | None:
    """What the engine computes in another way, or None."""
    if engine == "ClickHouse":
        return clickhouse_faults(connection)
    try:
        check_engine(connection, engine)
    except LogError as error:
        return str(error)
    return None


def page(runs: dict[int, dict[str, dict[str, Any]]]) -> Iterator[str]:
    """The results as Markdown."""
    packages = ("ibis-framework", "duckdb", "pyspark", "chdb-core")
    yield "# Sums on other engines, Ray, and an index: on one machine"
    yield ""
    yield f"`python benchmarks/scale_out.py --write` on {described(*packages)}"
    yield ""
    yield "## The sums of an experiment's log"
    yield ""
    yield "| impressions | engine | seconds | ratio | processor seconds | ratio | peak memory, GiB | tables equal to DuckDB's |"
    yield "|---|---|---|---|---|---|---|---|"
    for run in runs.values():
        yield from (total_row(engine, run) for engine in run)
    largest = runs[max(runs)]
    yield ""
    yield f"Seconds of each step with {largest['DuckDB']['rows']:,} impressions:"
    yield ""
    yield f"| step | {' | '.join(largest)} |"
    yield f"|---{'|---' * len(largest)}|"
    for step, meaning in STEPS.items():
        cells = (one["seconds"].get(step) for one in largest.values())
        yield f"| {meaning} | {' | '.join('not computed' if s is None else f'{s:.1f}' for s in cells)} |"
    yield ""
    yield from notes(largest)
    yield from growth(list(runs.values()))
    yield from others()


def total_row(engine: str, run: dict[str, dict[str, Any]]) -> str:
    """One engine's totals, and what they are of DuckDB's."""
    one, base = run[engine], run["DuckDB"]
    equal = [name for name, found in one["tables"].items() if found == base["tables"][name]]
    cells = [
        f"{one['rows']:,}",
        engine,
        f"{one['wall']:.1f}",
        f"{one['wall'] / base['wall']:.1f}",
        f"{one['cpu']:.1f}",
        f"{one['cpu'] / base['cpu']:.1f}",
        f"{one['gib']:.2f}",
        f"{len(equal)} of {len(base['tables'])}",
    ]
    return f"| {' | '.join(cells)} |"


def notes(run: dict[str, dict[str, Any]]) -> Iterator[str]:
    """How the numbers are to be read."""
    yield (
        f"One run each; other programs ran at the same time (load average {os.getloadavg()[2]:.0f}), so the ratios count, of processor "
        "seconds most. Memory is that of all processes of an engine, without mapped files. A server's start and the "
        "loading of its tables are not counted."
    )
    refused = {engine: one["refused"] for engine, one in run.items() if one["refused"]}
    for engine, why in refused.items():
        yield ""
        yield f"`compute.warehouse` does not offer {engine}: {why}. Totals of returning users have no common type there."


def growth(runs: list[dict[str, dict[str, Any]]]) -> Iterator[str]:
    """What a million more impressions take, of the two largest logs."""
    if len(runs) < 2:
        return
    small, large = runs[-2:]
    rows = (large["DuckDB"]["rows"] - small["DuckDB"]["rows"]) / 1e6
    per_million = {name: (large[name]["cpu"] - small[name]["cpu"]) / rows for name in large}
    shown = ", ".join(
        f"{name} {seconds:.1f} ({seconds / per_million['DuckDB']:.1f})"
        for name, seconds in per_million.items()
    )
    yield ""
    yield (
        f"Processor seconds of a million more impressions, and how often they are DuckDB's: {shown}. An engine must have so many "
        "times the cores to be as fast on a long log."
    )


def others() -> Iterator[str]:
    """The first tables of the benchmarks of Ray and of the index."""
    for name, title in (
        ("ray_launcher", "Ray against torchrun"),
        ("index", "Exact lists against an index"),
    ):
        lines = (RESULTS / f"{name}.md").read_text(encoding="utf-8").splitlines()
        from_table = dropwhile(lambda line: not line.startswith("|"), lines)
        yield ""
        yield f"## {title}"
        yield ""
        yield f"From [{name}.md]({name}.md):"
        yield ""
        yield from takewhile(lambda line: line.startswith("|"), from_table)


if __name__ == "__main__":
    main()
