"""Prepares sessions on a Spark cluster: each step is a query of :mod:`pipeline.sessions.on_spark.rules_sql`.

The cluster reads ``events.parquet`` and writes sorted parts, both on a file system that it shares with
this machine, which appends the parts to the table and to the token store. Only the catalogue is in the
memory of this machine as a whole.
"""

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.artifacts.storage import read_json
from pipeline.core.contracts import HOUR_MS, ITEMS, Split
from pipeline.core.errors import ClusterError
from pipeline.core.spark.session import spark_session
from pipeline.sessions.on_spark import rules_sql
from pipeline.sessions.on_spark.cluster import MASTER_VARIABLE
from pipeline.sessions.on_spark.parts import read_selections, uri_of
from pipeline.sessions.rules import Rules
from pipeline.sessions.store_writer import write_selections, write_summary
from pipeline.sessions.temporal_split import Cuts, cuts_of_events, cuts_of_kept, ranks_of_cuts

_EVENTS_PER_TASK = 1 << 20
"""More tasks than cores take longer to start than to run."""


def write_sessions_on_spark(
    events: Path, folder: Path, rules: Rules, *, master: str
) -> dict[str, Any]:
    """Do what :func:`pipeline.sessions.prepare.write_sessions` does; the files have the same bytes.

    Args:
        events: The folder of the events.
        folder: Where the sessions are written; it exists.
        rules: The rules.
        master: The address of Spark's master, as :func:`pipeline.sessions.on_spark.cluster.spark_master` returns it.

    Returns:
        The summary: what each step dropped, and what is left.

    Raises:
        DataError: if a split or the catalogue is empty; the message has all counts.
        ClusterError: if the cluster cannot be reached, fails, or does not share the file system.
    """
    stage, summary = folder / "stage", read_json(events / "summary.json")
    with (
        spark_session("paretoscope sessions", master, MASTER_VARIABLE) as spark,
        ExitStack() as ends,
    ):
        cores = spark.sparkContext.defaultParallelism
        spark.conf.set(
            "spark.sql.shuffle.partitions", max(cores, summary["events"] // _EVENTS_PER_TASK)
        )
        work = _Preparation(spark, rules, summary, ends)
        work.label(events / "events.parquet")
        work.keep_supported()
        work.split()
        items = work.write_catalogue(folder / "items.parquet")
        dropped = work.write_sessions(folder / "items.parquet", stage)
    counts = write_selections(read_selections(stage), folder)
    found, expected = sum(counts[f"{one}_sessions"] for one in Split), dropped.pop("kept")
    if found != expected:
        msg = (
            f"of {expected:,} sessions that the cluster has written to {folder}, this machine sees {found:,}; all "
            "nodes of the cluster need the project on a shared file system, under the same path"
        )
        raise ClusterError(msg)
    counts.update(dropped)
    shutil.rmtree(stage)
    return write_summary(counts, items, rules, folder)


@dataclass(slots=True)
class _Preparation:
    """The steps in their order; each defines views that later ones read."""

    spark: Any
    rules: Rules
    summary: dict[str, Any]
    ends: ExitStack
    cuts: Cuts | None = None

    def label(self, events: Path) -> None:
        """Label the clicks, and compute the split boundaries if they do not depend on items."""
        rules, summary = self.rules, self.summary
        self.cuts = cuts_of_events(rules, first_ts=summary["first_ts"], last_ts=summary["last_ts"])
        test_files = rules.test_file_numbers(summary["files"])
        rows = self._read.parquet(uri_of(events))
        rows.selectExpr("*", "_metadata.row_index AS row").createOrReplaceTempView("events")
        self._define("clicks", rules_sql.label_clicks(rules, self.cuts, test_files), cached=True)
        if rules.test_sessions is not None:
            self._define("long_sessions", rules_sql.long_sessions(rules, filtered=False))
            ranks = ranks_of_cuts(self._one("SELECT count(*) FROM long_sessions")[0], rules)
            self.cuts = Cuts(*(self._start_of(rank) for rank in ranks))

    def keep_supported(self) -> None:
        """Choose the items with enough clicks, in sessions that are long enough: the view ``kept``."""
        rules, before, filtered = self.rules, -1, False
        while True:
            self._define(
                "kept", rules_sql.supported_items(rules, self.cuts, filtered=filtered), cached=True
            )
            # a round only removes items: if as many are left, they are the same
            number = self._one("SELECT count(*) FROM kept")[0] if rules.iterated else before
            if number == before:
                return
            before, filtered = number, True

    def split(self) -> None:
        """Compute the split boundaries, if they depend on the sessions that pass the filters."""
        if self.cuts is not None:
            return
        self._define("long_sessions", rules_sql.long_sessions(self.rules, filtered=True))
        ends = self._one("SELECT min(start), max(start), max(end) FROM long_sessions")
        if None not in ends:
            start, last_start, last_end = ends
            self.cuts = cuts_of_kept(
                self.rules, start=start, last_start=last_start, last_end=last_end
            )

    def write_catalogue(self, target: Path) -> int:
        """Write ``items.parquet``; returns the number of items.

        The item with the most clicks has index 0; ties are in the order of ids.
        """
        counts = rules_sql.item_counts(self.rules, self.cuts, filtered=True, in_train=True)
        found = pl.DataFrame(self.spark.sql(counts).toArrow())
        ranked = found.sort("clicks", "item", descending=[True, False]).select(
            pl.int_range(pl.len(), dtype=pl.Int32).alias("index"), "item", train_clicks="clicks"
        )
        ITEMS.validate(ranked).write_parquet(target)
        return len(ranked)

    def write_sessions(self, catalogue: Path, folder: Path) -> dict[str, int]:
        """Write the sessions that are kept into ``folder``, in sorted parts.

        Returns:
            The counts of :data:`pipeline.sessions.select_sessions.DROPPED`, and ``kept``.
        """
        self._read.parquet(uri_of(catalogue)).createOrReplaceTempView("items")
        self._define("sessions", rules_sql.split_sessions(self.rules, self.cuts), cached=True)
        row = self._one(rules_sql.DROPPED_AND_KEPT).asDict()
        self.spark.sql(rules_sql.KEPT_SESSIONS).write.parquet(uri_of(folder))
        sessions = self.summary["sessions"]
        without = sessions - row.pop("sessions_with_click")
        return {"sessions_in": sessions, "sessions_without_click": without, **row}

    def _start_of(self, rank: int) -> int:
        """Start of the session of a rank, counted from 0 in the order of starts.

        First its hour is found, then its time, so that this machine holds one number per hour of
        the data or per millisecond of an hour.
        """
        hour = f"start DIV {HOUR_MS}"
        within, rank = self._of_rank(rules_sql.count_values(hour), rank)
        start, _ = self._of_rank(rules_sql.count_values("start", f"{hour} = {within}"), rank)
        return start

    def _of_rank(self, counts: str, rank: int) -> tuple[int, int]:
        """The value of a rank, and the rank among the rows that have it."""
        found = pl.DataFrame(self.spark.sql(counts).toArrow()).sort("value")
        above = found["n"].cum_sum()
        place = int((above <= rank).sum())
        return found["value"][place], rank - (int(above[place - 1]) if place else 0)

    @property
    def _read(self) -> Any:
        """A reader for which the characters of patterns in a path are characters."""
        return self.spark.read.option("__globPaths__", "false")

    def _one(self, query: str) -> Any:
        return self.spark.sql(query).first()

    def _define(self, view: str, query: str, *, cached: bool = False) -> None:
        """Define a view; ``cached`` until the end where it is read several times.

        A session that lives longer would take the cached rows of these files, however the files had changed.
        """
        frame = self.spark.sql(query)
        frame.createOrReplaceTempView(view)
        if cached:
            self.ends.callback(frame.persist().unpersist)
