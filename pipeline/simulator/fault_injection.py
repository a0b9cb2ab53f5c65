"""Write a simulated log with injected faults.

Carry-over and novelty change the behaviour of users
(:func:`pipeline.simulator.click_model.carry_over_effect`); the faults here change the log only.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from pipeline.core.contracts import IMPRESSIONS
from pipeline.experiment.design.assignment import N_BUCKETS, buckets_of
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import (
    DRAW_COLUMNS,
    EXPLORED_COLUMNS,
    LIST_COLUMNS,
    OUTCOMES,
    REQUIRED,
    LogTable,
    write_log,
    write_table,
)
from pipeline.simulator.shop_experiment import EXPERIMENT_TS
from pipeline.study import InjectedFaults

_LOST_USERS_SALT = "lost users"
_BOT_PAUSE_MS = 5_000
_BOT_IMPRESSIONS = 3_600_000 // _BOT_PAUSE_MS
_TO_CLICK_MS, _TO_ORDER_MS = 10_000, 300_000
"""Delay of a click after its impression, and of an order after its click."""


def write_simulated_log(
    days: Iterable[pl.DataFrame],
    plan: TrafficPlan,
    faults: InjectedFaults,
    folder: Path,
    *,
    rng: np.random.Generator,
) -> None:
    """Write the impressions of an experiment with the injected faults to an existing folder.

    The frames of ``days`` are in order of time, and no day is in two of them.
    """
    for number, impressions in enumerate(days):
        frame = without_lost_users(impressions, plan, faults.lost_users)
        if number == 0 and faults.bots:
            frame = pl.concat([frame, bot_impressions(plan, faults.bots, rng)], how="diagonal")
        if faults.duplicates:
            repeated = rng.random(frame.height) < faults.duplicates
            frame = pl.concat([frame, frame.filter(repeated)])
        if faults.lost_events:
            _write_events(frame, folder, faults.lost_events, rng)
        else:
            write_log(frame, folder)


def without_lost_users(impressions: pl.DataFrame, plan: TrafficPlan, share: float) -> pl.DataFrame:
    """Remove a share of the last group's users, the same on all days."""
    if not share:
        return impressions
    users = impressions["user"].unique()
    lost = users.filter(buckets_of(users, _LOST_USERS_SALT) < share * N_BUCKETS)
    last = pl.col("group") == plan.groups[-1].name
    return impressions.filter(~(last & pl.col("user").is_in(lost.implode())))


def bot_impressions(plan: TrafficPlan, bots: int, rng: np.random.Generator) -> pl.DataFrame:
    """Impressions of bots in the first hour: one every five seconds, half of them clicked."""
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
    """Write separate files of impressions, clicks and orders, and lose a share of the first two."""
    clicks = impressions.unique("impression", keep="first", maintain_order=True).filter("clicked")
    clicks = clicks.with_columns(ts=pl.col("ts") + _TO_CLICK_MS)
    if "clicked_item" in clicks.columns:
        clicks = clicks.rename({"clicked_item": "item"})
    orders = clicks.filter("ordered").with_columns(ts=pl.col("ts") + _TO_ORDER_MS)
    shown = impressions.filter(rng.random(impressions.height) >= lost)
    shown = shown.drop(*OUTCOMES, "clicked_item", strict=False)
    clicks = clicks.filter(rng.random(clicks.height) >= lost)
    of_lists = (*LIST_COLUMNS, *EXPLORED_COLUMNS, *DRAW_COLUMNS)
    for table, frame in (
        (LogTable.IMPRESSIONS, shown),
        (LogTable.CLICKS, clicks),
        (LogTable.ORDERS, orders),
    ):
        wanted = (*REQUIRED[table], *(of_lists if table is LogTable.IMPRESSIONS else ("item",)))
        columns = [name for name in wanted if name in frame.columns]
        write_table(table, frame.select(columns), folder)
