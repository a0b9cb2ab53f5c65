"""Events with what is rare in a real log."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from pipeline.artifacts.storage import write_json
from pipeline.core.contracts import DAY_MS, EVENT_TYPE

START = 1_659_304_800_000


def hostile(seed):
    """Sessions of ten days with what is rare in a real log, sorted by time as the reader sorts.

    Ties in time, also of a click and its order; duplicates; sessions of one click or none; items that are
    rare in train and frequent later, or not in train at all; ids of every kind; sessions across both boundaries, and events exactly at them.
    """
    rng = np.random.default_rng(seed)
    as_text = seed % 2 == 0
    bounds = [START + day * DAY_MS for day in (0, 8, 9, 10)]
    items = ["", "b", "a", "Z", "ä", "10", "😀", "a\x00", "'", "\\"]
    rows = []
    for number in rng.permutation(150).tolist():
        name = f"ü {number}" if as_text else (number - 75) << (50 * (seed % 3 == 0))
        start = int(rng.choice(bounds)) + int(rng.choice([-1, 0, 0, 3_600_000]))
        steps = rng.choice([0, 0, 1, 60_000, DAY_MS // 4], size=rng.integers(1, 9))
        for ts in (start + np.cumsum(steps)).clip(START, bounds[-1] - 1).tolist():
            late = ts >= bounds[1]
            rare = rng.random() < (0.3 if late else 0.03)
            item = int(5 + rng.integers(4 + late) if rare else rng.integers(4))
            kind = str(rng.choice(["click", "click", "click", "cart", "order"]))
            rows += [(name, ts, items[item] if as_text else item - 3, kind)] * int(
                rng.integers(1, 3)
            )
    return rows


def as_events(rows, folder):
    """``events.parquet`` and ``summary.json`` of (session, ts, item, event type), in groups of 100 rows."""
    folder.mkdir()
    frame = pl.DataFrame(rows, schema=["session", "ts", "item", "event_type"], orient="row")
    frame = frame.with_columns(
        pl.col("event_type").cast(EVENT_TYPE), file=pl.lit(0, dtype=pl.UInt16)
    )
    pq.write_table(frame.to_arrow(), folder / "events.parquet", row_group_size=100)
    numbers = {"events": frame.height, "sessions": frame["session"].n_unique()}
    ends = {"first_ts": frame["ts"].min(), "last_ts": frame["ts"].max()}
    write_json(folder / "summary.json", {"files": {"log": len(rows)}, **numbers, **ends})
    return folder
