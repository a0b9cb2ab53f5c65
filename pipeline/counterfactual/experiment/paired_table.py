"""The artifact ``paired_lists``: one row per request, and what was counted on the way."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipeline.artifacts.storage import StudyPaths, read_table
from pipeline.core.frame_contract import Contract
from pipeline.counterfactual.experiment.examination import ShownLists
from pipeline.counterfactual.experiment.paired_lists import AMOUNTS, UNCLICKED, PairedLists
from pipeline.counterfactual.logged_lists import group_numbers, user_numbers
from pipeline.results.counterfactual_estimates import PairingSummary
from pipeline.results.serialization import read_result
from pipeline.results.stored import write_result

PAIRED_LISTS = Contract(
    name="paired_lists",
    row="one request, with the list of every group",
    columns={
        "impression": pl.String,
        "user": pl.String,
        "group": pl.String,
        "ts": pl.Int64,
        "session": pl.List(pl.Int32),
        "lists": pl.List(pl.Int32),
        "clicked_position": pl.Int32,
        **dict.fromkeys(AMOUNTS, pl.Float64),
    },
)
"""Items are indices of the catalogue. ``lists`` has the lists of all groups in the order of the traffic plan,
one after another, each of the plan's list length; -1 fills a short one up. Outcomes that the log does not have
are null."""

TABLE, SUMMARY = "paired_lists.parquet", "summary.json"


@dataclass(frozen=True, slots=True)
class StoredPairs:
    """Paired lists with their summary."""

    pairs: PairedLists
    summary: PairingSummary


def write_pairs(stored: StoredPairs, folder: Path) -> None:
    """Write the files of the artifact."""
    pairs, names = stored.pairs, stored.summary.groups
    n = len(pairs.users)
    rows_N = np.moveaxis(pairs.log.lists_GNK, 0, 1).reshape(n, -1)
    table = pl.DataFrame(
        {
            "impression": pairs.impressions,
            "user": pairs.users,
            "group": pl.Series(names, dtype=pl.String).gather(pairs.log.group_N),
            "ts": pairs.ts_N,
            "session": _lists(pairs.session_N),
            "lists": pl.Series(rows_N.astype(np.int32)).cast(pl.List(pl.Int32)),
            "clicked_position": pl.Series(pairs.clicked_N, dtype=pl.Int32).replace(UNCLICKED, None),
            **{
                name: pl.Series(pairs.amounts.get(name, [None] * n), dtype=pl.Float64)
                for name in AMOUNTS
            },
        }
    )
    PAIRED_LISTS.validate(table).write_parquet(folder / TABLE, row_group_size=50_000)
    write_result(stored.summary, folder / SUMMARY)


def read_pairs(paths: StudyPaths) -> StoredPairs:
    """Read what :func:`write_pairs` wrote.

    Raises:
        MissingArtifact, DataError: if it is missing or damaged.
    """
    table = read_table(paths.require("paired_lists", TABLE), PAIRED_LISTS)
    remedy = "Re-run: dagster asset materialize --select paired_lists"
    summary = read_result(PairingSummary, paths.require("paired_lists", SUMMARY), remedy=remedy)
    names, n = summary.groups, table.height
    lists = table["lists"].list.explode().to_numpy().reshape(n, len(names), -1)
    ends = table["session"].list.len().cum_sum().to_numpy()
    flat = table["session"].list.explode().to_numpy().astype(np.int64)
    pairs = PairedLists(
        log=ShownLists.of(
            np.ascontiguousarray(np.moveaxis(lists, 1, 0)),
            group_numbers(table, names),
            user_numbers(table),
        ),
        session_N=np.split(flat, ends[:-1]),
        clicked_N=table["clicked_position"].fill_null(UNCLICKED).to_numpy().astype(np.int64),
        amounts={
            name: table[name].to_numpy() for name in AMOUNTS if not table[name].is_null().all()
        },
        ts_N=table["ts"].to_numpy(),
        impressions=table["impression"],
        users=table["user"],
        equal_share=summary.equal_share,
        fallbacks=summary.fallbacks,
        unplaced_clicks=summary.unplaced_clicks,
    )
    return StoredPairs(pairs, summary)


def _lists(rows: list[Any]) -> pl.Series:
    """Arrays of different lengths as one series of lists."""
    lengths = np.array([len(row) for row in rows])
    flat = pl.DataFrame({"row": np.repeat(np.arange(len(rows)), lengths)})
    flat = flat.with_columns(item=pl.Series(np.concatenate(rows), dtype=pl.Int32))
    return flat.group_by("row", maintain_order=True).agg("item")["item"]
