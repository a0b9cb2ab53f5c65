"""What can be wrong with a log, planted on purpose, and the log's files with it.

Carry-over and novelty change what users do (:func:`pipeline.simulator.click_model.pull`); the faults
here change what the log says of it.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.core.contracts import IMPRESSIONS
from pipeline.experiment.design.assignment import N_BUCKETS, buckets_of
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import LOGGED_CLICKS, LOGGED_ORDERS, OUTCOMES, write_log
from pipeline.simulator.shop_experiment import EXPERIMENT_TS
from pipeline.study import InjectedFaults

_LOSING_SALT = "lost users"
_BOT_PAUSE_MS = 5_000
_BOT_IMPRESSIONS = 3_600_000 // _BOT_PAUSE_MS
_TO_CLICK_MS, _TO_ORDER_MS = 10_000, 300_000
"""How long after its impression a click comes, and after that an order."""


def write_simulated_log(
    days: Iterable[pl.DataFrame],
    plan: TrafficPlan,
    faults: InjectedFaults,
    folder: Path,
    *,
    rng: np.random.Generator,
) -> None:
    """Write the impressions of an experiment, whole days at a time, with what is planted in them.

    Args:
        days: The impressions, each frame of other days than the others, the first day first.
        plan: Whom they were shown to.
        faults: What is planted.
        folder: For the files; it exists.
        rng: Of the faults alone.
    """
    for number, impressions in enumerate(days):
        frame = without_lost_users(impressions, plan, faults.lost_users)
        if number == 0 and faults.bots:
            frame = pl.concat([frame, bot_impressions(plan, faults.bots, rng)])
        if faults.duplicates:
            again = rng.random(frame.height) < faults.duplicates
            frame = pl.concat([frame, frame.filter(again)])
        if faults.lost_events:
            _write_events(frame, folder, faults.lost_events, rng)
        else:
            write_log(frame, folder)


def without_lost_users(impressions: pl.DataFrame, plan: TrafficPlan, share: float) -> pl.DataFrame:
    """Leave out a share of the last group's users, the same on all days."""
    if not share:
        return impressions
    users = impressions["user"].unique()
    lost = users.filter(buckets_of(users, _LOSING_SALT) < share * N_BUCKETS)
    last = pl.col("group") == plan.groups[-1].name
    return impressions.filter(~(last & pl.col("user").is_in(lost.implode())))


def bot_impressions(plan: TrafficPlan, bots: int, rng: np.random.Generator) -> pl.DataFrame:
    """What programs did in the first hour: a list every five seconds, half of them clicked."""
    users = pl.Series("user", [f"bot{number:07d}" for number in range(bots)])
    assigned = pl.DataFrame({"user": users, "group": plan.groups_of(users)}).drop_nulls()
    lists = assigned.join(pl.DataFrame({"n": np.arange(_BOT_IMPRESSIONS)}), how="cross")
    rows = lists.with_columns(
        experiment=pl.lit(plan.experiment),
        impression=pl.format("{}-{}", "user", "n"),
        ts=EXPERIMENT_TS + _BOT_PAUSE_MS * pl.col("n"),
        clicked=pl.Series(rng.random(lists.height) < 0.5),
        ordered=pl.lit(value=False),
        units=pl.lit(0, pl.Int32),
    )
    return IMPRESSIONS.validate(rows.select(list(IMPRESSIONS.columns)))


def _write_events(
    impressions: pl.DataFrame, folder: Path, lost: float, rng: np.random.Generator
) -> None:
    """Write impressions, clicks and orders to files of their own, a share of the first two lost."""
    clicks = impressions.unique("impression", keep="first", maintain_order=True).filter("clicked")
    clicks = clicks.with_columns(ts=pl.col("ts") + _TO_CLICK_MS)
    orders = clicks.filter("ordered").with_columns(ts=pl.col("ts") + _TO_ORDER_MS)
    shown = impressions.filter(rng.random(impressions.height) >= lost).drop(OUTCOMES)
    clicks = clicks.filter(rng.random(clicks.height) >= lost)
    columns = [name for name in IMPRESSIONS.columns if name not in OUTCOMES]
    for name, table, kept in (
        ("impressions", shown, columns),
        (LOGGED_CLICKS.name, clicks, list(LOGGED_CLICKS.columns)),
        (LOGGED_ORDERS.name, orders, list(LOGGED_ORDERS.columns)),
    ):
        day = pl.from_epoch(pl.col("ts"), time_unit="ms").dt.strftime("%Y-%m-%d")
        for (date,), rows in table.with_columns(day=day).partition_by("day", as_dict=True).items():
            rows.select(kept).sort("ts", "impression").write_parquet(
                folder / f"{name}-{date}.parquet"
            )
