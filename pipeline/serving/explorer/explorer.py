"""The front explorer: what a preference means, offline, online and for one session."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from fastapi import HTTPException
from numpy.typing import NDArray

from pipeline.core.contracts import Metric
from pipeline.core.labels import metric_label
from pipeline.experiment.design.traffic_plan import Group
from pipeline.serving.explorer.kpi_forecast import kpi_views
from pipeline.serving.explorer.schemas import (
    GroupPreference,
    ExplorerState,
    FrontView,
    ItemView,
    ListedItemView,
    ListsRequest,
    ListsView,
    MetricView,
    PreferenceRequest,
    PointView,
    PreferenceView,
    SessionView,
)
from pipeline.serving.explorer.study_tables import MeasuredMetrics, MetricByPreference
from pipeline.serving.http.service import Service
from pipeline.serving.ranking.rank import RankRequest
from pipeline.serving.ranking.snapshot import Snapshot

_AXES = (Metric.RECALL.value, Metric.ORDER_DENSITY.value)
_MOST_AT_ONCE = 4
"""Explorers whose lists are made at a time: eight places of a batch at most."""


class Explorer:
    """Answers the explorer's page from the snapshot that is served; writes no log."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._busy: set[str] = set()

    def state(self) -> ExplorerState:
        """What stays the same while the preference moves."""
        snapshot = self._service.snapshot
        known = snapshot.explorer_data
        return ExplorerState(
            experiment=snapshot.plan.experiment,
            model=snapshot.version,
            rules=snapshot.rules.version,
            has_rules=known.has_rules,
            list_length=snapshot.plan.list_length,
            items=len(snapshot.recommender.items),
            objectives=list(known.objectives),
            start=_start(snapshot),
            front=_front(known.measured) if known.measured else None,
            groups=[
                GroupPreference(
                    name=one.name,
                    preference_id=one.preference_id,
                    preference=list(one.preference),
                )
                for one in snapshot.plan.groups
            ],
            sessions=[
                SessionView(
                    items=[_item(snapshot, item) for item in visit.items],
                    next_item=_item(snapshot, visit.next_item),
                )
                for visit in known.sample_sessions
            ],
            missing=list(known.missing),
        )

    def preference_view(self, request: PreferenceRequest) -> PreferenceView:
        """What the tables say of a preference.

        Raises:
            HTTPException: 404 if there is no such group, 409 if it is no preference of the model's.
        """
        snapshot = self._service.snapshot
        preference, group = _preference(snapshot, request), _group(snapshot, request)
        measured = snapshot.explorer_data.measured
        view = PreferenceView(
            model=snapshot.version,
            preference=preference.tolist(),
            measured_preference=None,
            group=group.name,
            x=None,
            y=None,
            metrics=[],
            kpis=[],
        )
        if measured is None:
            view.kpis = kpi_views(snapshot.explorer_data, {})
            return view
        shares_G = measured.interpolator.weights_G(preference)
        at = int(shares_G.argmax())
        is_measured = bool(shares_G[at] == 1)
        of_group = measured.preference_ids.index(group.preference_id)
        values = {one.name: _between(one, shares_G) for one in measured.metrics}
        view.measured_preference = measured.preference_ids[at] if is_measured else None
        view.x, view.y = (values.get(axis) for axis in _AXES)
        view.metrics = [
            MetricView(
                name=metric_label(one.name, one.cutoff),
                value=values[one.name],
                standard_error=_number(one.standard_error_G[at]) if is_measured else None,
                higher_is_better=one.higher_is_better,
                group_value=_number(one.value_G[of_group]),
            )
            for one in measured.metrics
        ]
        view.kpis = kpi_views(snapshot.explorer_data, values)
        return view

    async def lists(self, request: ListsRequest, client: str) -> ListsView:
        """The lists of a session under the preference and as the group, by the model that serves.

        They are made as those of ``/recommend`` are, rules and filters included, in the same
        batches.

        Raises:
            HTTPException: 404 and 409 as :meth:`place`, 429 if this client's lists are being made
                or many others' are, 503 if the model had no time or failed.
        """
        snapshot = self._service.snapshot
        preference, group = _preference(snapshot, request), _group(snapshot, request)
        index = snapshot.recommender.index
        known = np.array([index[i] for i in request.session if i in index], dtype=np.int64)
        view = ListsView(
            model=snapshot.version,
            rules=snapshot.rules.version,
            preference=preference.tolist(),
            group=group.name,
            session=[_item(snapshot, item) for item in known.tolist()],
            unknown=list(dict.fromkeys(i for i in request.session if i not in index)),
            no_lists_reason=None if len(known) else "the catalogue has no item of this session",
            preference_list=[],
            group_list=[],
        )
        if len(known):
            with self._turn(client):
                chosen, of_group = await self._rank(
                    snapshot, known, [tuple(preference.tolist()), group.preference]
                )
            view.preference_list = _listed(snapshot, chosen, of_group)
            view.group_list = _listed(snapshot, of_group, chosen)
        return view

    @contextmanager
    def _turn(self, client: str) -> Iterator[None]:
        if client in self._busy or len(self._busy) >= _MOST_AT_ONCE:
            raise HTTPException(429, "lists are being made already; ask again when they are there")
        self._busy.add(client)
        try:
            yield
        finally:
            self._busy.remove(client)

    async def _rank(
        self,
        snapshot: Snapshot,
        session: NDArray[np.int64],
        preferences: Sequence[tuple[float, ...]],
    ) -> list[list[int]]:
        nothing = np.empty(0, dtype=np.int64)
        asks = [
            RankRequest(
                session=session,
                preference=preference,
                k=snapshot.plan.list_length,
                excluded=session if snapshot.rules.excludes_seen else nothing,
                ts=time.time_ns() // 1_000_000,
            )
            for preference in preferences
        ]
        waiting = asyncio.gather(*(self._service.batcher.submit(snapshot, ask) for ask in asks))
        try:
            found = await asyncio.wait_for(waiting, self._service.deadline)
        except TimeoutError:
            raise HTTPException(
                503, "the model is busy with requests for lists; ask again"
            ) from None
        except Exception as error:  # the batcher has logged it
            raise HTTPException(503, "the model failed; the server's log says why") from error
        return [one.items.tolist() for one in found]


def _preference(snapshot: Snapshot, request: PreferenceRequest) -> NDArray[np.float64]:
    weights = np.array(request.preference)
    objectives = len(snapshot.plan.groups[0].preference)
    if len(weights) != objectives:
        msg = f"{len(weights)} weights; the model that is served now has {objectives} objectives"
        raise HTTPException(409, msg)
    if not weights.sum() > 0:
        raise HTTPException(409, "all weights are 0; one of them must be above")
    weights = weights / weights.max()  # the sum of the smallest numbers has no inverse
    return weights / weights.sum()


def _group(snapshot: Snapshot, request: PreferenceRequest) -> Group:
    groups = {group.name: group for group in snapshot.plan.groups}
    if request.group is None:
        return snapshot.plan.groups[0]
    if request.group not in groups:
        raise HTTPException(404, f"no such group; the experiment has {', '.join(groups)}")
    return groups[request.group]


def _start(snapshot: Snapshot) -> list[float]:
    objectives = len(snapshot.plan.groups[0].preference)
    equal = np.full(objectives, 1 / objectives)
    measured = snapshot.explorer_data.measured
    if measured is None:
        return equal.tolist()
    away_G = np.abs(measured.interpolator.preference_GO - equal).sum(axis=1)
    return measured.interpolator.preference_GO[int(away_G.argmin())].tolist()


def _front(measured: MeasuredMetrics) -> FrontView | None:
    x, y = (measured.metric(axis) for axis in _AXES)
    if x is None or y is None or not np.isfinite([x.value_G, y.value_G]).all():
        return None
    return FrontView(
        x_metric=metric_label(x.name, x.cutoff),
        y_metric=metric_label(y.name, y.cutoff),
        points=[
            PointView(
                preference_id=name,
                preference=measured.interpolator.preference_GO[n].tolist(),
                x=x.value_G[n],
                x_error=np.nan_to_num(x.standard_error_G[n]),
                y=y.value_G[n],
                y_error=np.nan_to_num(y.standard_error_G[n]),
            )
            for n, name in enumerate(measured.preference_ids)
        ],
    )


def _between(metric: MetricByPreference, shares_G: NDArray[np.float64]) -> float | None:
    near = shares_G > 0
    return _number(float(shares_G[near] @ metric.value_G[near]))


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _item(snapshot: Snapshot, item: int) -> ItemView:
    return ItemView(
        item=snapshot.recommender.items[item], category=snapshot.explorer_data.category_I[item]
    )


def _listed(snapshot: Snapshot, items: list[int], others: list[int]) -> list[ListedItemView]:
    place = {item: n + 1 for n, item in enumerate(others)}
    return [
        ListedItemView(
            item=snapshot.recommender.items[item],
            category=snapshot.explorer_data.category_I[item],
            position=n + 1,
            other_position=place.get(item),
        )
        for n, item in enumerate(items)
    ]
