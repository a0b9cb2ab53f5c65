"""The endpoint without HTTP: recommends lists and records events."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from pipeline.core.errors import LogError
from pipeline.experiment.design.exploration import Exploration
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.experiment.log.log_files import DRAW_COLUMNS, ERROR, TIMEOUT, ArmName, LogTable
from pipeline.serving.event_log.deduplicator import EventDeduplicator
from pipeline.serving.event_log.group_commit import EventLogWriter
from pipeline.serving.event_log.impression_ids import ImpressionIds
from pipeline.serving.event_log.kafka_sink import LogRow
from pipeline.serving.http.fuse import Fuse
from pipeline.serving.http.prometheus import ServerMetrics
from pipeline.serving.http.schemas import Click, Order, RecommendRequest, Shown
from pipeline.serving.ranking.micro_batcher import MicroBatcher
from pipeline.serving.ranking.rank import RankRequest, popularity_fallback
from pipeline.serving.ranking.rerank import Candidates
from pipeline.serving.ranking.served_model import ServedModel
from pipeline.serving.ranking.snapshot import Arm, Snapshot
from pipeline.study import AxisKind, ServingConfig

FORMAT = 1
"""The format version of the log's rows; see docs/serving.md."""

_LOG = logging.getLogger(__name__)
_SCORE_DECIMALS = 6
_TABLES = {"shown": LogTable.CONFIRMATIONS, "click": LogTable.CLICKS, "order": LogTable.ORDERS}


class _List(NamedTuple):
    items: list[str]
    scores: list[float] | None
    fallback: str | None
    unknown_items: int
    propensities: list[float] | None = None


class RecordedEvents(NamedTuple):
    """What became of the events of one request."""

    accepted: int
    duplicates: int
    unknown_impressions: int


class Service:
    """Serves one snapshot at a time."""

    def __init__(
        self,
        snapshot: Snapshot,
        config: ServingConfig,
        *,
        event_log: EventLogWriter,
        deduplicator: EventDeduplicator,
        metrics: ServerMetrics,
    ) -> None:
        self.event_log = event_log
        self.metrics = metrics
        self.batcher = MicroBatcher(
            size=config.batch_size,
            wait_seconds=config.batch_wait_ms / 1000,
            observe=metrics.observe_batch,
        )
        self.fuse = Fuse(config.fuse)
        metrics.fuse_blown.set_function(lambda: self.fuse.blown_by is not None)
        self._deduplicator = deduplicator
        self.deadline = config.deadline_ms / 1000
        self._orders_have_revenue = config.orders_have_revenue
        self.swap_snapshot(snapshot)

    def swap_snapshot(self, snapshot: Snapshot) -> None:
        """Serve new requests from ``snapshot``; running requests keep theirs."""
        self.snapshot = snapshot
        names = [group.name for group in snapshot.plan.groups]
        self._impression_ids = ImpressionIds(
            snapshot.study, snapshot.plan.experiment, (*ArmName, *names)
        )
        self.fuse.follow(snapshot.rollout)
        self.metrics.follow(snapshot)

    def arm_of(self, user: str, snapshot: Snapshot) -> tuple[Arm, bool]:
        """What a user is served, and whether the user had the candidate before and no longer has it."""
        arm, rollout = snapshot.arm_of(user), snapshot.rollout
        if arm.group is not None or rollout is None:
            return arm, False
        if arm.name is ArmName.CANDIDATE and self.fuse.blown_by is not None:
            return snapshot.incumbent, True
        return arm, rollout.switched(user)

    async def recommend(self, request: RecommendRequest) -> dict[str, Any]:
        """A recommendation list, logged as an impression of the user's group or arm.

        Raises:
            LogError: if the request asks for another length of the list than the experiment.
            OSError: if the log cannot be written.
        """
        snapshot = self.snapshot
        ts = _now() if request.ts is None else request.ts
        arm, is_switched = self.arm_of(request.user, snapshot)
        k = _list_length(request, snapshot.plan, arm)
        impression = self._impression_ids.new(arm.group or str(arm.name))
        found = await self._list_for(request, arm, k=k, ts=ts, impression=impression)
        response: dict[str, Any] = {
            "experiment": snapshot.plan.experiment,
            "group": arm.group,
            "arm": arm.name,
            "preference": arm.preference,
            "level": arm.level,
            "model": arm.model.version,
            "rules": arm.model.rules.version,
            "impression": impression,
            "explored": found.propensities is not None,
            "fallback": found.fallback,
            "unknown_items": found.unknown_items,
        }
        self.metrics.lists.labels(arm.group or "", arm.name or "").inc()
        self.metrics.explored_lists.inc(found.propensities is not None)
        rollout = None if arm.group else snapshot.rollout
        uses_index = found.fallback is None and found.propensities is None
        row = response | {
            "format": FORMAT,
            "index": arm.model.rules.rule_set.index if uses_index else None,
            "index_recall": arm.recall if uses_index else None,
            "release": rollout and rollout.release,
            "stage": rollout and rollout.stage,
            "switched": is_switched,
            "user": request.user,
            "ts": ts,
            "session": request.session,
            "exclude": request.exclude,
            "k": k,
            "items": found.items,
            "positions": list(range(1, len(found.items) + 1)),
            "scores": found.scores,
            **_propensities(found, arm.model.exploration, k),
        }
        await self._write(LogTable.IMPRESSIONS, impression, row)
        response["items"] = [
            {"item": name, "position": n + 1, "score": found.scores and found.scores[n]}
            for n, name in enumerate(found.items)
        ]
        return response

    async def record_events(self, events: Sequence[Shown | Click | Order]) -> RecordedEvents:
        """Log events; events of unknown impressions are logged, marked and counted.

        Raises:
            LogError: if an order has a revenue and must not, or the reverse.
            OSError: if the log cannot be written.
        """
        self._check_revenue(events)
        writes: list[asyncio.Future[None]] = []
        duplicates = unknown = 0
        for event in events:
            key = _TABLES[event.event_type], event.impression, event.event
            pending = self._deduplicator.pending(*key)
            if pending is not None or self._deduplicator.is_known(*key):
                duplicates += 1
                writes += [] if pending is None else [pending]
                continue
            label = self._impression_ids.label_of(event.impression)
            is_known = label is not None
            unknown += not is_known
            write = self._write(*key[:2], _event_row(event, known_impression=is_known))
            self._deduplicator.register(*key, write)
            writes.append(write)
            self.metrics.count_event(event.event_type, label or "")
        self.metrics.duplicate_events.inc(duplicates)
        self.metrics.unknown_impressions.inc(unknown)
        results = await asyncio.gather(*map(asyncio.shield, writes), return_exceptions=True)
        if failed := [error for error in results if isinstance(error, BaseException)]:
            raise failed[0]
        return RecordedEvents(len(events) - duplicates, duplicates, unknown)

    def problems(self) -> list[str]:
        """Why the server is failing; empty if it is healthy."""
        found = {
            "the ranking thread has stopped": not self.batcher.is_alive,
            "the event log thread has stopped": not self.event_log.is_alive,
        }
        failure = self.event_log.failure
        problems = [problem for problem, holds in found.items() if holds]
        return problems + [f"the event log cannot be written: {failure}"] * bool(failure)

    async def _list_for(
        self, request: RecommendRequest, arm: Arm, *, k: int, ts: int, impression: str
    ) -> _List:
        model = arm.model
        session, unknown_clicks = _item_indices(model, request.session)
        excluded, unknown_excluded = _item_indices(model, request.exclude)
        unknown = unknown_clicks + unknown_excluded
        self.metrics.unknown_items.inc(unknown)
        if model.rules.excludes_seen:
            excluded = np.concatenate([excluded, session])
        exploration = model.exploration if arm.group else None
        is_explored = exploration is not None and exploration.explores(impression)
        asked = RankRequest(
            session=session,
            preference=arm.preference,
            level=arm.level,
            k=k,
            excluded=excluded,
            ts=ts,
            explored_as=impression if is_explored else None,
        )
        ranked, fallback = await self._rank(model, asked)
        if arm.name is ArmName.CANDIDATE:
            self.fuse.record(is_error=fallback == ERROR, is_late=fallback == TIMEOUT)
        if ranked is None:
            self.metrics.fallbacks.labels(fallback).inc()
            items, scores, propensities = popularity_fallback(model, excluded, k), None, None
        else:
            items, propensities = ranked.items.tolist(), ranked.propensities
            scores = [round(score, _SCORE_DECIMALS) for score in ranked.scores.tolist()]
        names = [model.recommender.items[item] for item in items]
        known = None if propensities is None else propensities.tolist()
        return _List(names, scores, fallback, unknown, known)

    async def _rank(
        self, model: ServedModel, request: RankRequest
    ) -> tuple[Candidates | None, str | None]:
        """The model's list, or the reason for a fallback."""
        if not len(request.session):
            return None, "no known item in the session"
        try:
            submitted = self.batcher.submit(model, request)
            return await asyncio.wait_for(submitted, self.deadline), None
        except TimeoutError:
            return None, TIMEOUT
        except Exception as error:  # noqa: BLE001 - logged by the batcher
            _LOG.debug("fallback after %s", type(error).__name__)
            return None, ERROR

    def _check_revenue(self, events: Sequence[Shown | Click | Order]) -> None:
        for event in events:
            if isinstance(event, Order) and self._orders_have_revenue == (event.revenue is None):
                found = "no revenue" if event.revenue is None else "a revenue"
                msg = (
                    f"order {event.event} has {found}, but serving.orders_have_revenue is "
                    f"{str(self._orders_have_revenue).lower()}; either all orders have it or none"
                )
                raise LogError(msg)

    def _write(self, table: LogTable, impression: str, row: dict[str, Any]) -> asyncio.Future[None]:
        content = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        return self.event_log.append(LogRow(table, impression, content))


def _list_length(request: RecommendRequest, plan: TrafficPlan, arm: Arm) -> int:
    """The number of items to recommend.

    Raises:
        LogError: if the request asks for another number than the experiment gives to the group.
    """
    length = plan.list_length_at(arm.level)
    axis = plan.second_axis
    is_varied = axis is not None and axis.kind is AxisKind.LIST_LENGTH and arm.group is not None
    if is_varied and request.k not in {None, length}:
        msg = (
            f"k is {request.k}, but experiment {plan.experiment} varies the length of lists; leave k "
            "out of the request"
        )
        raise LogError(msg)
    return request.k or length


def _propensities(found: _List, exploration: Exploration | None, k: int) -> dict[str, Any]:
    """How likely an explored list was; nulls for other lists."""
    if found.propensities is None or exploration is None:
        return dict.fromkeys(["propensity", *DRAW_COLUMNS])
    return exploration.logged(found.propensities, k)


def _item_indices(model: ServedModel, names: list[str]) -> tuple[NDArray[np.int64], int]:
    """The model indices of known items, and the number of unknown items."""
    index = model.recommender.index
    known = [index[name] for name in names if name in index]
    return np.array(known, dtype=np.int64), len(names) - len(known)


def _event_row(event: Shown | Click | Order, *, known_impression: bool) -> dict[str, Any]:
    row = event.model_dump(exclude={"event_type"})
    now = _now()
    row["ts"] = now if event.ts is None else event.ts
    return {"format": FORMAT, **row, "received": now, "known_impression": known_impression}


def _now() -> int:
    return time.time_ns() // 1_000_000
