"""From raw files to the token store: ours against MultiTRON's ``run_preprocessing``, in one run.

    python benchmarks/preprocessing.py --reference /path/to/MultiTRON --write

generates OTTO, Yoochoose and Diginetica files, runs both programs and the fastest plain reads on
them (every run in a process of its own, on two cores, medians of several), then ours alone on OTTO
files of 2 and 4 million sessions. Ours runs with ``sessions.preset: reference``, so that both make
the same sessions; the counts are compared. ``--write`` writes the table to
``results/preprocessing.md``. The reference's checkout is an argument; none of it is here.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from machine import CORES, described, run_alone, use_two_cores

HERE = Path(__file__).parent
OTTO_SESSIONS = 12_899_779
"""Of OTTO's training file, for the projection."""

SESSIONS_AT_ONCE = 250_000
DAY_MS = 86_400_000
FILES = {
    "otto": ("otto-recsys-train.jsonl", "otto-recsys-test.jsonl"),
    "yoochoose": ("yoochoose-clicks.dat", "yoochoose-buys.dat"),
    "diginetica": ("train-item-views.csv", "train-purchases.csv"),
}


@dataclass(frozen=True)
class Run:
    """One run of one program: seconds of its work, CPU seconds and peak memory of its process."""

    seconds: float
    cpu_seconds: float
    peak_gib: float
    found: dict[str, Any]


def main() -> None:
    """Parse the command line and run what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--reference", type=Path, help="a checkout of otto-de/MultiTRON")
    parser.add_argument("--sessions", type=int, default=500_000, help="sessions of each format")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=int, nargs="*", default=[2_000_000, 4_000_000])
    parser.add_argument("--write", action="store_true")
    parser.add_argument(
        "--child", nargs=3, metavar=("PROGRAM", "FORMAT", "FOLDER"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    use_two_cores()
    if arguments.child:
        child(*arguments.child, reference=arguments.reference)
        return
    text = report(arguments)
    print(text)
    if arguments.write:
        (HERE / "results" / "preprocessing.md").write_text(text, encoding="utf-8")


def report(arguments: argparse.Namespace) -> str:
    """Everything that was measured, as Markdown."""
    lines = [*heading(arguments), *HEADER]
    with tempfile.TemporaryDirectory(prefix="paretoscope-") as scratch:
        folder = Path(scratch)
        for format_ in FILES:
            lines += compare(format_, folder / format_, arguments)
            shutil.rmtree(folder / format_)
        lines += [
            "",
            NOTE,
            "",
            "## Scale: OTTO lines, ours alone, default rules",
            "",
            *SCALE_HEADER,
        ]
        lines += scale(folder, arguments)
    return "\n".join(lines) + "\n"


def heading(arguments: argparse.Namespace) -> list[str]:
    """What was run on which machine."""
    return [
        "# Preprocessing: from the file to the token store",
        "",
        f"`python benchmarks/preprocessing.py --reference … --sessions {arguments.sessions} --write`",
        (
            f"on {described('polars', 'duckdb', 'pyarrow', 'numpy')}. "
            f"Medians of {arguments.repeats} runs, each in its own process; generated files."
        ),
        "",
    ]


HEADER = [
    (
        "| format | sessions | file | reference: s (peak) | ours: s (peak) | sessions/s, ours "
        "| ours / reference | plain read: s (by) | ours / plain read | same clicks |"
    ),
    "|---|---|---|---|---|---|---|---|---|---|",
]
NOTE = (
    "Where clicks are not the same, the numbers are the reference's / ours: on OTTO's files it keeps "
    "sessions of one click, which have no target. The plain read is the fastest of DuckDB, polars and "
    "pyarrow at reading the needed columns into their types (for OTTO's lines DuckDB, by a factor of 7)."
)
SCALE_HEADER = [
    "| sessions | file | wall s | CPU s | sessions/s | peak | plain read: s | ratio |",
    "|---|---|---|---|---|---|---|---|",
]


def compare(format_: str, folder: Path, arguments: argparse.Namespace) -> list[str]:
    """One row of the first table."""
    generate(format_, folder / format_, arguments.sessions)
    size = sum(file.stat().st_size for file in (folder / format_).iterdir())
    n = arguments.repeats
    reference = median(run("reference", format_, folder, arguments) for _ in range(n))
    ours = median(run("ours", format_, folder, arguments) for _ in range(n))
    reader, plain = fastest_read(format_, folder, arguments)
    same = reference.found == ours.found
    return [
        (
            f"| {format_} | {arguments.sessions:,} | {size / 1e6:.0f} MB "
            f"| {reference.seconds:.1f} ({reference.peak_gib:.1f} GiB) "
            f"| {ours.seconds:.2f} ({ours.peak_gib:.1f} GiB) | {arguments.sessions / ours.seconds:,.0f} "
            f"| {reference.seconds / ours.seconds:.1f} × faster | {plain.seconds:.2f} ({reader}) "
            f"| {ours.seconds / plain.seconds:.1f} × | {'yes' if same else f'{reference.found} / {ours.found}'} |"
        )
    ]


def scale(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """The rows of the second table, and the projection to the whole of OTTO."""
    rate = 0.0
    for sessions in arguments.scale:
        place = folder / "scale"
        generate("otto", place / "otto", sessions)
        size = sum(file.stat().st_size for file in (place / "otto").iterdir())
        ours = run("default", "otto", place, arguments)
        _, plain = fastest_read("otto", place, arguments)
        rate = sessions / ours.seconds
        yield (
            f"| {sessions:,} | {size / 1e6:,.0f} MB | {ours.seconds:.1f} | {ours.cpu_seconds:.1f} "
            f"| {rate:,.0f} | {ours.peak_gib:.2f} GiB | {plain.seconds:.1f} "
            f"| {ours.seconds / plain.seconds:.1f} × |"
        )
        shutil.rmtree(place)
    if rate:
        yield ""
        yield (
            f"At this rate, the {OTTO_SESSIONS:,} sessions of OTTO's training file take "
            f"{OTTO_SESSIONS / rate / 60:.1f} minutes (projected, not run)."
        )


def fastest_read(format_: str, folder: Path, arguments: argparse.Namespace) -> tuple[str, Run]:
    """The limit: the quickest of three libraries at reading the columns into their types."""
    runs = {
        reader: median(run(reader, format_, folder, arguments) for _ in range(arguments.repeats))
        for reader in ("duckdb", "polars", "pyarrow")
        if (format_, reader) not in {("otto", "polars"), ("otto", "pyarrow")}
    }
    return min(runs.items(), key=lambda entry: entry[1].seconds)


def median(runs: Iterator[Run]) -> Run:
    """The run whose time is in the middle."""
    ordered = sorted(runs, key=lambda run: run.seconds)
    middle = statistics.median_low(run.seconds for run in ordered)
    return next(run for run in ordered if run.seconds == middle)


def run(program: str, format_: str, folder: Path, arguments: argparse.Namespace) -> Run:
    """Run one program in a process of its own, on two cores."""
    command = [sys.executable, __file__, "--child", program, format_, str(folder)]
    if arguments.reference:
        command += ["--reference", str(arguments.reference.resolve())]
    (seconds, found), usage = run_alone(command, POLARS_MAX_THREADS=str(CORES), TZ="UTC")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20, found)


def child(program: str, format_: str, folder: str, *, reference: Path | None) -> None:
    """Do one program's work, and print its seconds and what it found."""
    work: dict[str, Callable[[], dict[str, Any]]] = {
        "ours": lambda: ours(format_, Path(folder), preset=True),
        "default": lambda: ours(format_, Path(folder), preset=False),
        "reference": lambda: multitron(format_, Path(folder)),
        **{
            reader: lambda r=reader: read(r, format_, Path(folder))
            for reader in ("duckdb", "polars", "pyarrow")
        },
    }
    prepare(program, reference)
    started = time.perf_counter()
    found = work[program]()
    print(json.dumps([time.perf_counter() - started, found]))


def prepare(program: str, reference: Path | None) -> None:
    """Import before the clock starts."""
    if program == "reference":
        sys.path.insert(0, str(reference))
        __import__("src.preprocessing")
    elif program in {"ours", "default"}:
        __import__("pipeline.sessions.prepare")
        __import__("pipeline.datasets.ingest_events")
    else:
        __import__(program)
        __import__("pyarrow.csv")


def ours(format_: str, folder: Path, *, preset: bool) -> dict[str, Any]:
    """Events, then sessions, as the assets write them."""
    from pipeline.datasets.ingest_events import write_events  # noqa: PLC0415 - in the child only
    from pipeline.sessions.prepare import write_sessions  # noqa: PLC0415
    from pipeline.sessions.rules import rules_of  # noqa: PLC0415
    from pipeline.study import (  # noqa: PLC0415
        DatasetConfig,
        DatasetFormat,
        Duplicates,
        Preset,
        SessionsConfig,
    )

    dataset = DatasetConfig(
        format=DatasetFormat(format_),
        path=str(folder / format_),
        duplicates=Duplicates.KEEP if preset else Duplicates.REJECT,
    )
    section = SessionsConfig(preset=Preset.REFERENCE if preset else None)
    places = {name: folder / f"ours-{name}" for name in ("events", "sessions")}
    for place in places.values():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    write_events(dataset, folder / format_, places["events"], max_rejected_share=0.05)
    counts = write_sessions(places["events"], places["sessions"], rules_of(section, dataset))
    both = ("train", "validation")
    return {
        "items": counts["items"],
        "train_clicks": sum(counts[f"{split}_clicks"] for split in both),
        "test_clicks": counts["test_clicks"],
    }


def multitron(format_: str, folder: Path) -> dict[str, Any]:
    """The reference's own functions, with the settings of its ``main``."""
    preprocessing = sys.modules["src.preprocessing"]
    place = folder / "reference"
    if format_ == "otto":
        (place / format_).mkdir(parents=True, exist_ok=True)  # it writes where it reads
        for name in FILES[format_]:
            (place / format_ / name).unlink(missing_ok=True)
            (place / format_ / name).hardlink_to(folder / format_ / name)
        preprocessing.run_preprocessing_otto(place)
    else:
        clicks, orders = FILES[format_]
        yoochoose = format_ == "yoochoose"
        config = {
            "dataset_name": format_,
            "data_file_clicks": folder / format_ / clicks,
            "data_file_orders": folder / format_ / orders,
            "header": not yoochoose,
            "split_seconds": 86400 * (1 if yoochoose else 7),
            "split_idx": -1 if yoochoose else 0,
        }
        preprocessing.run_preprocessing(config, place)
    stats = json.loads((place / format_ / f"{format_}_stats.json").read_text(encoding="utf-8"))
    return {
        "items": stats["num_items"],
        "train_clicks": stats["train"]["num_click_events"],
        "test_clicks": stats["test"]["num_click_events"],
    }


def read(reader: str, format_: str, folder: Path) -> dict[str, Any]:
    """Read the columns that are needed into their types, and nothing else."""
    files = [str(folder / format_ / name) for name in FILES[format_]]
    match reader:
        case "duckdb":
            read_with_duckdb(format_, files)
        case "polars":
            read_with_polars(format_, files)
        case _:
            read_with_pyarrow(format_, files)
    return {}


def read_with_duckdb(format_: str, files: list[str]) -> None:
    """Count and sum, so that every value is read and nothing is kept."""
    import duckdb  # noqa: PLC0415

    connection = duckdb.connect(config={"threads": CORES})
    for file in files:
        if format_ == "otto":
            connection.execute(
                "SELECT count(*), sum(len(events)), sum(session) FROM read_json($file, "
                "format='newline_delimited', columns={session: 'BIGINT', "
                "events: 'STRUCT(aid BIGINT, ts BIGINT, type VARCHAR)[]'})",
                {"file": file},
            ).fetchall()
            continue
        header, names, types = csv_columns(format_, Path(file).name)
        columns = {name: types.get(name, "VARCHAR") for name in names}
        connection.execute(
            "SELECT count(*), max(COLUMNS(*)) FROM read_csv($file, auto_detect=false, delim=$delim, "
            "header=$header, columns=$columns, quote='')",
            {
                "file": file,
                "delim": ";" if format_ == "diginetica" else ",",
                "header": header,
                "columns": columns,
            },
        ).fetchall()


def read_with_polars(format_: str, files: list[str]) -> None:
    """Eagerly, with the times parsed."""
    event_types = {"BIGINT": pl.Int64, "TIMESTAMP": pl.String, "DATE": pl.String}
    for file in files:
        header, names, types = csv_columns(format_, Path(file).name)
        frame = pl.read_csv(
            file,
            has_header=header,
            separator=";" if format_ == "diginetica" else ",",
            schema={name: event_types.get(types.get(name, ""), pl.String) for name in names},
            null_values="NA",
            quote_char=None,
        )
        if format_ == "yoochoose":
            frame.select(pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ"))
        else:
            frame.select(pl.col("eventdate").str.to_date())


def read_with_pyarrow(format_: str, files: list[str]) -> None:
    """The needed columns only."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.csv as pc  # noqa: PLC0415

    pa.set_cpu_count(CORES)
    event_types = {
        "BIGINT": pa.int64(),
        "TIMESTAMP": pa.timestamp("ms", "UTC"),
        "DATE": pa.date32(),
    }
    for file in files:
        header, names, types = csv_columns(format_, Path(file).name)
        pc.read_csv(
            file,
            read_options=pc.ReadOptions(
                column_names=names, skip_rows=int(header), block_size=4 << 20
            ),
            parse_options=pc.ParseOptions(delimiter=";" if format_ == "diginetica" else ","),
            convert_options=pc.ConvertOptions(
                column_types={name: event_types[event_type] for name, event_type in types.items()},
                include_columns=list(types),
            ),
        )


def csv_columns(format_: str, file: str) -> tuple[bool, list[str], dict[str, str]]:
    """Whether a file has a header, all its columns, and the types of the needed ones."""
    if format_ == "yoochoose":
        rest = ["price", "quantity"] if "buys" in file else ["category"]
        types = {"session": "BIGINT", "time": "TIMESTAMP", "item": "BIGINT"}
        return False, ["session", "time", "item", *rest], types
    names = (
        ["sessionId", "userId", "timeframe", "eventdate", "ordernumber", "itemId"]
        if "purchases" in file
        else ["session_id", "user_id", "item_id", "timeframe", "eventdate"]
    )
    types = {"timeframe": "BIGINT", "eventdate": "DATE"}
    return (
        True,
        names,
        types | {name: "BIGINT" for name in names if "ession" in name or "tem" in name[:4]},
    )


def generate(format_: str, folder: Path, sessions: int) -> None:
    """Write files of a format: skewed popularity, sessions of 2 to 300 events, orders of clicked items."""
    folder.mkdir(parents=True)
    main_file, second = (folder / name for name in FILES[format_])
    for file in (main_file, second):
        file.write_text(HEADERS.get(file.name, ""), encoding="utf-8")
    for number, events in enumerate(blocks(sessions, days=28 if format_ == "otto" else 180)):
        if format_ == "otto":
            append(main_file, otto_lines(events))
            if number == 0:
                append(
                    second,
                    otto_lines(
                        events.filter(pl.col("session") < sessions // 20).with_columns(
                            pl.col("session") + 10 * sessions, pl.col("ts") + 28 * DAY_MS
                        )
                    ),
                )
            continue
        clicks, orders = (
            events.filter(pl.col("event_type") == 0),
            events.filter(pl.col("event_type") == 2),
        )
        make = yoochoose_rows if format_ == "yoochoose" else diginetica_rows
        append(main_file, make(clicks, orders=False))
        append(second, make(orders, orders=True))


HEADERS = {
    "train-item-views.csv": "session_id;user_id;item_id;timeframe;eventdate\n",
    "train-purchases.csv": "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n",
}


def blocks(sessions: int, *, days: int, items: int = 100_000) -> Iterator[pl.DataFrame]:
    """Events of all sessions, some sessions at a time; carts and orders repeat the item before."""
    rng = np.random.default_rng(0)
    for first in range(0, sessions, SESSIONS_AT_ONCE):
        n = min(SESSIONS_AT_ONCE, sessions - first)
        lengths = np.minimum(rng.geometric(0.065, n) + 1, 300)
        ends = np.cumsum(lengths)
        starts = 1_659_304_800_000 + rng.integers(0, days * DAY_MS, n)
        elapsed = np.cumsum(rng.integers(1_000, 120_000, ends[-1]))
        since = elapsed - np.repeat(elapsed[ends - lengths], lengths)
        item = (items * rng.random(ends[-1]) ** 3).astype(np.int64) + 1
        event_type = rng.choice(3, ends[-1], p=[0.9, 0.075, 0.025])
        event_type[ends - lengths] = 0
        item = np.where(event_type > 0, np.roll(item, 1), item)
        yield pl.DataFrame(
            {
                "session": np.repeat(np.arange(first, first + n), lengths),
                "ts": np.repeat(starts, lengths) + since,
                "item": item,
                "event_type": event_type,
            }
        )


def otto_lines(events: pl.DataFrame) -> str:
    """One line per session."""
    words = pl.Series(["clicks", "carts", "orders"])
    named = events.select(
        "session", aid="item", ts="ts", type=pl.lit(words).gather(pl.col("event_type"))
    )
    return (
        named.group_by("session", maintain_order=True)
        .agg(events=pl.struct("aid", "ts", "type"))
        .write_ndjson()
    )


def yoochoose_rows(events: pl.DataFrame, *, orders: bool) -> str:
    """One row per event, without header."""
    time_ = pl.from_epoch("ts", "ms").dt.strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
    rest = {"price": pl.lit(100), "quantity": pl.lit(1)} if orders else {"category": pl.lit("S")}
    return events.select("session", time_, 214_000_000 + pl.col("item"), **rest).write_csv(
        include_header=False
    )


def diginetica_rows(events: pl.DataFrame, *, orders: bool) -> str:
    """One row per event; the header is already written."""
    date = (pl.col("ts") // DAY_MS).cast(pl.Int32).cast(pl.Date)
    frame = pl.col("ts") % DAY_MS
    user = pl.lit("NA")
    columns = (
        [
            "session",
            user.alias("u"),
            frame.alias("t"),
            date.alias("d"),
            pl.lit(1).alias("n"),
            "item",
        ]
        if orders
        else ["session", user.alias("u"), "item", frame.alias("t"), date.alias("d")]
    )
    return events.select(columns).write_csv(include_header=False, separator=";")


def append(file: Path, text: str) -> None:
    """Add text to a file."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


if __name__ == "__main__":
    main()
