"""Lists and events: everything the endpoint does, without HTTP."""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pipeline.core.errors import LogError
from pipeline.experiment.design.traffic_plan import Group
from pipeline.experiment.log.log_files import LogTable
from pipeline.serving.event_log.deduplicator import EventDeduplicator
from pipeline.serving.event_log.group_commit import Journal
from pipeline.serving.event_log.kafka_sink import Row
from pipeline.serving.http.prometheus import Metrics
from pipeline.serving.http.schemas import Click, Order, RecommendRequest, Shown
from pipeline.serving.ranking.micro_batcher import Batcher
from pipeline.serving.ranking.rank import RankRequest, popularity_fallback
from pipeline.serving.ranking.rerank import Candidates
from pipeline.serving.ranking.snapshot import Snapshot
from pipeline.study import ServingConfig

FORMAT = 1
"""Of the log's rows; see docs/serving.md."""

_LOG = logging.getLogger(__name__)
_DIGITS = 6
"""Of a score, behind the point."""

_TABLES = {"shown": LogTable.CONFIRMATIONS, "click": LogTable.CLICKS, "order": LogTable.ORDERS}


class Service:
    """Answers requests from one snapshot at a time."""

    def __init__(
        self,
        snapshot: Snapshot,
        section: ServingConfig,
        *,
        journal: Journal,
        repeats: EventDeduplicator,
        metrics: Metrics,
    ) -> None:
        self.journal = journal
        self.metrics = metrics
        self.batcher = Batcher(
            size=section.batch_size,
            wait_seconds=section.batch_wait_ms / 1000,
            observe=metrics.of_batch,
        )
        self._repeats = repeats
        self.deadline = section.deadline_ms / 1000
        self._orders_have_revenue = section.orders_have_revenue
        self.snapshot = snapshot
        self.swap_snapshot(snapshot)

    def swap_snapshot(self, snapshot: Snapshot) -> None:
        """Answer requests that come from now on from ``snapshot``."""
        self.snapshot = snapshot
        self.metrics.served.info(
            {
                "model": snapshot.version,
                "rules": snapshot.rules.version,
                "experiment": snapshot.plan.experiment,
            }
        )

    async def recommend(self, request: RecommendRequest) -> dict[str, Any]:
        """A list, which is in the log if the user belongs to the experiment.

        Raises:
            OSError: if the log cannot be written.
        """
        snapshot = self.snapshot
        ts = _now() if request.ts is None else request.ts
        group = _group_of(snapshot, request.user)
        k = request.k or snapshot.plan.list_length
        session, unknown = _known(snapshot, request.session)
        excluded, unknown_exclusions = _known(snapshot, request.exclude)
        if snapshot.rules.leaves_out_seen:
            excluded = np.concatenate([excluded, session])
        self.metrics.unknown_items.inc(unknown + unknown_exclusions)
        found, fallback = None, "outside the experiment"
        if group is not None:
            ask = RankRequest(
                session=session, preference=group.preference, k=k, excluded=excluded, ts=ts
            )
            found, fallback = await self._ask(snapshot, ask)
        if found is None:
            self.metrics.fallbacks.labels(fallback).inc()
            items, scores = popularity_fallback(snapshot, excluded, k), None
        else:
            items = found.items.tolist()
            scores = [round(score, _DIGITS) for score in found.scores.tolist()]
        names = [snapshot.recommender.items[item] for item in items]
        answer: dict[str, Any] = {
            "experiment": snapshot.plan.experiment,
            "group": group and group.name,
            "preference": group and group.preference,
            "model": snapshot.version,
            "rules": snapshot.rules.version,
            "impression": group and _new_id(),
            "fallback": fallback,
            "unknown_items": unknown + unknown_exclusions,
        }
        self.metrics.lists.labels(group.name if group else "").inc()
        if group is not None:
            row = answer | {
                "format": FORMAT,
                "user": request.user,
                "ts": ts,
                "session": request.session,
                "exclude": request.exclude,
                "k": k,
                "items": names,
                "positions": list(range(1, len(names) + 1)),
                "scores": scores,
            }
            await self._write(LogTable.IMPRESSIONS, answer["impression"], row)
        answer["items"] = [
            {"item": name, "position": n + 1, "score": scores and scores[n]}
            for n, name in enumerate(names)
        ]
        return answer

    async def record_events(self, events: Sequence[Shown | Click | Order]) -> tuple[int, int]:
        """How many events are now in the log, and how many were before.

        Raises:
            LogError: if an order says what it brought and should not, or the other way round.
            OSError: if the log cannot be written.
        """
        for event in events:
            if isinstance(event, Order) and self._orders_have_revenue == (event.revenue is None):
                says = "says no revenue" if event.revenue is None else "says its revenue"
                msg = (
                    f"order {event.event} {says}, but serving.orders_have_revenue is "
                    f"{str(self._orders_have_revenue).lower()}; all orders of a log do or none does"
                )
                raise LogError(msg)
        waiting: list[asyncio.Future[None]] = []
        repeated = 0
        for event in events:
            under_way = self._repeats.under_way(event.impression, event.event)
            if under_way is not None or self._repeats.is_known(event.impression, event.event):
                repeated += 1
                self.metrics.repeated_events.inc()
                if under_way is not None:
                    waiting.append(under_way)
                continue
            written = self._write(_TABLES[event.event_type], event.impression, _row_of(event))
            self._repeats.begin(event.impression, event.event, written)
            waiting.append(written)
            self.metrics.events.labels(event.event_type).inc()
        ended = await asyncio.gather(*map(asyncio.shield, waiting), return_exceptions=True)
        if failed := [error for error in ended if isinstance(error, BaseException)]:
            raise failed[0]
        return len(events) - repeated, repeated

    def problems(self) -> list[str]:
        """What keeps requests from being answered as they should be."""
        found: list[str] = []
        if not self.batcher.is_alive:
            found.append("the thread of the model has ended")
        if not self.journal.is_alive:
            found.append("the thread of the log has ended")
        if self.journal.is_failing:
            found.append("the log cannot be written")
        return found

    async def _ask(
        self, snapshot: Snapshot, ask: RankRequest
    ) -> tuple[Candidates | None, str | None]:
        """The model's list, or why there is none."""
        if not len(ask.session):
            return None, "no known item in the session"
        try:
            return await asyncio.wait_for(self.batcher.submit(snapshot, ask), self.deadline), None
        except TimeoutError:
            return None, "the model was late"
        except Exception as error:  # noqa: BLE001 - the batcher has logged it
            _LOG.debug("fallback after %s", type(error).__name__)
            return None, "the model failed"

    def _write(self, table: LogTable, impression: str, row: dict[str, Any]) -> asyncio.Future[None]:
        content = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        return self.journal.append(Row(table, impression, content))


def _group_of(snapshot: Snapshot, user: str) -> Group | None:
    """The group a user is served as; None for who is none of the experiment's."""
    return snapshot.plan.group_of(user)


def _known(snapshot: Snapshot, names: list[str]) -> tuple[NDArray[np.int64], int]:
    """The indices of items, and how many are unknown."""
    index = snapshot.recommender.index
    known = [index[name] for name in names if name in index]
    return np.array(known, dtype=np.int64), len(names) - len(known)


def _row_of(event: Shown | Click | Order) -> dict[str, Any]:
    row = event.model_dump(exclude={"event_type"})
    now = _now()
    row["ts"] = now if event.ts is None else event.ts
    return {"format": FORMAT, **row, "received": now}


def _now() -> int:
    return time.time_ns() // 1_000_000


def _new_id() -> str:
    """128 random bits: an impression's id says nothing and cannot be guessed."""
    return os.urandom(16).hex()
