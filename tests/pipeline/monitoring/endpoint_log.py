"""Logs as the endpoint writes them, and a slow, obvious recount of their sums."""

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.follower import Follower, LogRules
from pipeline.monitoring.following.outcomes import MONITORED, Windows
from pipeline.monitoring.following.sums import read_sums

HOUR_MS = 3_600_000
START = 20_400 * 24 * HOUR_MS
"""Midnight, UTC."""

WINDOW_HOURS = 24.0
GROUPS = ("g1", "g2")


def impression(number, user, ts, *, group="g1", **changes):
    """A row of impressions."""
    return {
        "experiment": "spring",
        "impression": f"i{number}",
        "user": user,
        "group": group,
        "ts": ts,
        "model": "m1",
        "fallback": None,
        "session": ["a", "b"],
        "unknown_items": 0,
        "scores": [2.0, 1.5, 1.0],
        "explored": False,
        **changes,
    }


def click(number, ts, **changes):
    """A row of clicks."""
    return {
        "impression": f"i{number}",
        "event": f"e{ts}",
        "ts": ts,
        "known_impression": True,
        **changes,
    }


def order(number, ts, units=1, revenue=None, **changes):
    """A row of orders."""
    return click(number, ts, units=units, revenue=revenue, **changes)


def lines(rows):
    """Rows as JSON lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def write(folder, table, rows, name="20261129T100000-000000", suffix=".jsonl.open"):
    """Append rows to a file of the log."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table}-{name}{suffix}"
    with path.open("ab") as stream:
        stream.write(lines(rows))
    return path


def compress(path):
    """Replace a file by its .gz, as an operator would."""
    with gzip.open(path.with_name(path.name + ".gz"), "wb") as stream:
        stream.write(path.read_bytes())
    path.unlink()


def rules(forced=None):
    return LogRules(windows=Windows.of(WINDOW_HOURS, 0.0), forced=forced or {})


def follower_of(database, folder, forced=None):
    return Follower(database, folder, rules(forced))


def followed(folder, database_file):
    """The sums after one look of a new monitor."""
    database = Database.open(database_file)
    follower_of(database, folder).look(START / 1000)
    return database


def random_log(rng, users=200, impressions=1500, days=3):
    """Rows of the three tables, in the order in which the endpoint would write them."""
    shown, clicks, orders = [], [], []
    times = START + np.sort(rng.integers(0, days * 24 * HOUR_MS, impressions))
    for number, ts in enumerate(times.tolist()):
        user = int(rng.integers(users))
        group = GROUPS[user % 2]
        row = impression(number, f"u{user}", ts, group=group)
        if rng.random() < 0.05:
            row["fallback"] = "model timeout"
        if rng.random() < 0.03:
            row["explored"] = True
        if rng.random() < 0.1:
            row |= {"group": None, "arm": str(rng.choice(["incumbent", "candidate"]))}
            row |= {"release": "r1", "stage": "canary", "switched": bool(rng.random() < 0.2)}
        shown.append(row)
        for _ in range(rng.binomial(2, 0.2)):
            at = ts + int(rng.integers(0, 30 * HOUR_MS))
            if rng.random() > 0.1:  # some are lost
                clicks.append(click(number, at))
            delays = rng.integers(0, 30 * HOUR_MS, rng.binomial(2, 0.3))
            orders += [order(number, at + int(delay), 1, 250) for delay in delays]
    clicks += [click(9_000_000 + n, START, known_impression=False) for n in range(5)]
    return {"impressions": shown, "clicks": clicks, "orders": orders}


def parts_of(log, parts):
    """A log in parts, each with the impressions of a time, and their clicks and orders after them."""
    ends = [row["impression"] for row in log["impressions"]]
    numbers = {name: n * parts // len(ends) for n, name in enumerate(ends)}
    for part in range(parts):
        yield {
            table: [row for row in rows if numbers.get(row["impression"], 0) == part]
            for table, rows in log.items()
        }


def recount(folder: Path, period_ms=None):
    """The sums by slice, period and KPI, from all rows of the folder at once, with polars."""
    shown = _rows(folder, "impressions").unique("impression", keep="first", maintain_order=True)
    clicks, orders = _rows(folder, "clicks"), _rows(folder, "orders")
    window = int(WINDOW_HOURS * HOUR_MS)
    keys = ["group", "arm", "stage"]
    for name in (*keys, "switched"):
        if name not in shown.columns:
            shown = shown.with_columns(pl.lit(None).alias(name))
    counted = shown.filter(
        ~pl.col("explored"),
        pl.col("group").is_not_null() | pl.col("arm").is_not_null(),
        pl.col("group").is_not_null() | ~pl.col("switched").fill_null(value=False),
    ).with_columns(shown_ts="ts")
    clicked = (
        clicks.filter("known_impression")
        .join(counted.select("impression", "shown_ts"), on="impression")
        .filter(pl.col("ts").is_between(pl.col("shown_ts"), pl.col("shown_ts") + window))
        .group_by("impression")
        .agg(click_ts=pl.col("ts").min())
    )
    ordered = (
        orders.join(clicked, on="impression")
        .filter(pl.col("ts").is_between(pl.col("click_ts"), pl.col("click_ts") + window))
        .unique(["impression", "ts", "units", "revenue"])
        .group_by("impression")
        .agg(pl.col("units").sum(), pl.col("revenue").fill_null(0).sum())
    )
    unclicked = (
        orders.join(clicks.filter("known_impression"), on="impression", how="anti")
        .join(counted.select("impression", "shown_ts"), on="impression")
        .filter(pl.col("ts").is_between(pl.col("shown_ts"), pl.col("shown_ts") + window))
        .select("impression", unclicked=pl.lit(1))
        .unique()
    )
    rows = counted.join(clicked, on="impression", how="left")
    rows = rows.join(unclicked, on="impression", how="left")
    rows = rows.join(ordered, on="impression", how="left").with_columns(
        period=pl.col("ts") // period_ms if period_ms else pl.lit(0)
    )
    by_user = rows.group_by("period", *keys, "user").agg(
        users=pl.lit(1),
        impressions=pl.len(),
        clicks=pl.col("click_ts").is_not_null().sum(),
        orders=pl.col("units").is_not_null().sum(),
        units=pl.col("units").fill_null(0).sum(),
        revenue=pl.col("revenue").fill_null(0).sum(),
        fallbacks=pl.col("fallback").is_not_null().sum(),
        late=(pl.col("fallback") == "model timeout").sum(),
        errors=(pl.col("fallback") == "model error").sum(),
        buyers=(pl.col("units").is_not_null() | pl.col("unclicked").is_not_null()).any(),
        buyers_without_click=pl.col("unclicked").is_not_null().any(),
    )
    found = {}
    for kpi, (trials, successes) in MONITORED.items():
        m, y = pl.col(trials).cast(pl.Int64), pl.col(successes).cast(pl.Int64)
        sums = by_user.group_by("period", *keys).agg(
            (m > 0).sum(), m.sum().alias("m"), y.sum().alias("y"),
            (m * m).sum().alias("mm"), (m * y).sum().alias("my"), (y * y).sum().alias("yy"),
        )  # fmt: skip
        for period, group, arm, stage, *values in sums.iter_rows():
            found[period, group, arm, stage, kpi] = tuple(values)
    return {key: values for key, values in found.items() if any(values)}


def kept(database, period, numbers=(0,)):
    """The sums that a monitor has, as :func:`recount` gives them."""
    return {
        (number, part.group, part.arm, part.stage, kpi): tuple(values)
        for number in numbers
        for part, by_kpi in read_sums(database, period, number).items()
        for kpi, values in by_kpi.items()
        if any(values)
    }


def _rows(folder, table):
    rows = []
    for path in sorted(folder.glob(f"{table}-*")):
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        rows += [json.loads(line) for line in text.splitlines(keepends=True) if _is_row(line)]
    return pl.DataFrame(rows, infer_schema_length=None)


def _is_row(line):
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False
