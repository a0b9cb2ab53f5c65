"""Sessions prepared on this machine against Spark on the same two cores, where Spark can only lose.

    python benchmarks/sessions_on_spark.py --write

The synthetic shop's events are ingested once. The larger logs are copies of them under other session ids. Each
preparation is a command of its own, from start to end; Spark's is ``local[2]``. The files must be the same bytes.
``--write`` updates ``results/sessions_on_spark.md``.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from machine import described, use_two_cores
from process_tree import Usage, run_measured

from pipeline.artifacts.storage import read_json, write_json
from pipeline.datasets.ingest_events import write_events
from pipeline.sessions.on_spark.prepare import write_sessions_on_spark
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.rules import rules_of
from pipeline.study import DatasetConfig, DatasetFormat, SessionsConfig, SyntheticConfig
from pipeline.synthetic.generate_log import generate_log

RESULTS = Path(__file__).parent / "results" / "sessions_on_spark.md"
DATASET = DatasetConfig(format=DatasetFormat.OTTO, path="log")
SHOP = SyntheticConfig(items=30_000, users=75_000, sessions=150_000, days=28)
COPIES = (1, 4)
MASTER = "local[2]"


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        prepare(*arguments.child)
        return
    use_two_cores()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(Path(folder)))
    lines = [
        "# Sessions on Spark against this machine",
        "",
        f"`python benchmarks/sessions_on_spark.py --write` on {described('pyspark', 'polars')}",
        "",
        f"Spark's master is `{MASTER}`: the same two cores. Times are from start to end of a command, of which Spark's own start is a part; memory",
        "is that of all processes. The files are the same bytes.",
        "",
        "| events | engine | seconds | processor seconds | peak memory |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"Other programs ran beside it (load average {os.getloadavg()[2]:.0f}): processor seconds count, and their ratio.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def measure(folder: Path) -> Iterator[str]:
    """The table's rows."""
    events = folder / "events-1"
    events.mkdir()
    generate_log(SHOP, folder / "log.jsonl")
    write_events(DATASET, folder / "log.jsonl", events, max_rejected_share=0.0)
    for copies in COPIES:
        events = copied(folder / "events-1", folder / f"events-{copies}", copies)
        number = read_json(events / "summary.json")["events"]
        written = {}
        for engine in ("here", "spark"):
            target = folder / f"{engine}-{copies}"
            target.mkdir()
            command = [sys.executable, __file__, "--child", engine, str(events), str(target)]
            usage = run_measured(command, folder=folder, log=folder / "log.txt")
            assert usage.status == 0, (folder / "log.txt").read_text("utf-8")
            written[engine] = {file.name: file.read_bytes() for file in target.iterdir()}
            yield row(number, engine, usage)
        assert written["here"] == written["spark"]


def row(events: int, engine: str, usage: Usage) -> str:
    """One row of the table."""
    times = f"{usage.seconds:.0f} | {usage.cpu_seconds:.0f}"
    return f"| {events:,} | {engine} | {times} | {usage.peak_gib:.1f} GiB |"


def copied(source: Path, target: Path, copies: int) -> Path:
    """The events so many times, each under other session ids."""
    if copies == 1:
        return source
    target.mkdir()
    events = pl.read_parquet(source / "events.parquet")
    moved = [
        events.with_columns(pl.col("session") + copy * SHOP.sessions) for copy in range(copies)
    ]
    table = pl.concat(moved).to_arrow()
    pq.write_table(table, target / "events.parquet", row_group_size=1 << 18, compression="lz4")
    summary = read_json(source / "summary.json")
    numbers = {name: summary[name] * copies for name in ("events", "sessions")}
    write_json(target / "summary.json", summary | numbers)
    return target


def prepare(engine: str, events: str, target: str) -> None:
    """Prepare the sessions with the default rules."""
    rules = rules_of(SessionsConfig(), DATASET)
    if engine == "here":
        write_sessions(Path(events), Path(target), rules)
    else:
        write_sessions_on_spark(Path(events), Path(target), rules, master=MASTER)


if __name__ == "__main__":
    main()
