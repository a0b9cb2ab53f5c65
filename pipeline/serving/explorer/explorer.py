"""The front explorer's data: offline metrics, expected KPIs and lists of a preference."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from fastapi import HTTPException
from numpy.typing import NDArray

from pipeline.core.labels import metric_label
from pipeline.experiment.design.traffic_plan import Group
from pipeline.serving.explorer.kpi_forecast import kpi_views
from pipeline.serving.explorer.schemas import (
    ExploredGroup,
    ExplorerState,
    FrontView,
    ItemView,
    ListedItemView,
    ListsRequest,
    ListsView,
    MetricView,
    PointView,
    PreferenceRequest,
    PreferenceView,
    SessionView,
)
from pipeline.serving.explorer.study_tables import MeasuredMetrics
from pipeline.serving.http.schemas import GroupView
from pipeline.serving.http.service import Service
from pipeline.serving.ranking.rank import RankRequest
from pipeline.serving.ranking.snapshot import Snapshot

_MAX_CLIENTS = 4
"""Clients whose lists are ranked at the same time: eight requests of a batch at most."""


class Explorer:
    """Explores the snapshot that is served; nothing is logged."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._busy: set[str] = set()

    def state(self) -> ExplorerState:
        """Everything that does not depend on the preference."""
        snapshot = self._service.snapshot
        data = snapshot.explorer_data
        return ExplorerState(
            experiment=snapshot.plan.experiment,
            model=snapshot.model.version,
            rules=snapshot.model.rules.version,
            has_rules=data.has_rules,
            list_length=snapshot.plan.list_length,
            items=len(snapshot.model.recommender.items),
            objectives=list(data.objectives),
            start=_start(snapshot),
            front=_front(data.measured) if data.measured else None,
            groups=[
                ExploredGroup(
                    **GroupView.model_validate(one, from_attributes=True).model_dump(),
                    label=_label(snapshot, one),
                )
                for one in snapshot.plan.groups
            ],
            sessions=[
                SessionView(
                    items=[_item(snapshot, item) for item in session.items],
                    next_item=_item(snapshot, session.next_item),
                )
                for session in data.sample_sessions
            ],
            missing=list(data.missing),
        )

    def preference_view(self, request: PreferenceRequest) -> PreferenceView:
        """Offline metrics, interpolated between measured preferences, and expected KPIs.

        Raises:
            HTTPException: 404 if there is no such group, 409 if the weights are not a preference.
        """
        snapshot = self._service.snapshot
        preference, group = _preference(snapshot, request), _group(snapshot, request)
        measured = snapshot.explorer_data.measured
        values: dict[str, float | None] = {}
        measured_preference, metrics = None, []
        if measured is not None:
            weights_G = measured.interpolator.weights_G(preference)
            values = {one.name: _mean(one.value_G, weights_G) for one in measured.metrics}
            nearest = int(weights_G.argmax())
            is_measured = bool(weights_G[nearest] == 1)
            measured_preference = measured.preference_ids[nearest] if is_measured else None
            group_index = measured.preference_ids.index(group.preference_id)
            metrics = [
                MetricView(
                    name=metric_label(one.name, one.cutoff),
                    value=values[one.name],
                    standard_error=_finite(one.standard_error_G[nearest]) if is_measured else None,
                    higher_is_better=one.higher_is_better,
                    group_value=_finite(one.value_G[group_index]),
                )
                for one in measured.metrics
            ]
        return PreferenceView(
            model=snapshot.model.version,
            preference=preference.tolist(),
            measured_preference=measured_preference,
            group=group.name,
            x=values.get(measured.axes[0]) if measured else None,
            y=values.get(measured.axes[1]) if measured else None,
            metrics=metrics,
            kpis=kpi_views(snapshot.explorer_data, values),
        )

    async def lists(self, request: ListsRequest, client: str) -> ListsView:
        """A session's lists under the preference and under the group's.

        They are ranked as for ``/recommend``: same model, rules, filters and batches.

        Raises:
            HTTPException: 404 and 409 as :meth:`preference_view`, 429 if this client's lists or
                those of too many others are being ranked, 503 if the model times out or fails.
        """
        snapshot = self._service.snapshot
        preference, group = _preference(snapshot, request), _group(snapshot, request)
        index = snapshot.model.recommender.index
        known = np.array([index[i] for i in request.session if i in index], dtype=np.int64)
        view = ListsView(
            model=snapshot.model.version,
            rules=snapshot.model.rules.version,
            preference=preference.tolist(),
            group=group.name,
            session=[_item(snapshot, item) for item in known.tolist()],
            unknown=list(dict.fromkeys(i for i in request.session if i not in index)),
            no_lists_reason=None if len(known) else "no item of the session is in the catalogue",
            preference_list=[],
            group_list=[],
        )
        if len(known):
            with self._limit(client):
                chosen, of_group = await self._rank(
                    snapshot, known, tuple(preference.tolist()), group
                )
            view.preference_list = _listed(snapshot, chosen, of_group)
            view.group_list = _listed(snapshot, of_group, chosen)
        return view

    @contextmanager
    def _limit(self, client: str) -> Iterator[None]:
        if client in self._busy or len(self._busy) >= _MAX_CLIENTS:
            raise HTTPException(429, "other lists are being ranked; retry when they are finished")
        self._busy.add(client)
        try:
            yield
        finally:
            self._busy.remove(client)

    async def _rank(
        self,
        snapshot: Snapshot,
        session: NDArray[np.int64],
        preference: tuple[float, ...],
        group: Group,
    ) -> list[list[int]]:
        """The lists under a preference, at the neutral level of a second axis, and of a group."""
        of_preference = RankRequest(
            session=session,
            preference=preference,
            k=snapshot.plan.list_length,
            excluded=session if snapshot.model.rules.excludes_seen else session[:0],
            ts=time.time_ns() // 1_000_000,
        )
        of_group = replace(
            of_preference,
            preference=group.preference,
            level=group.level,
            k=snapshot.plan.list_length_at(group.level),
        )
        requests = (of_preference, of_group)
        submitted = asyncio.gather(
            *(self._service.batcher.submit(snapshot.model, r) for r in requests)
        )
        try:
            found = await asyncio.wait_for(submitted, self._service.deadline)
        except TimeoutError:
            raise HTTPException(503, "the model is busy; retry") from None
        except Exception as error:  # logged by the batcher
            raise HTTPException(503, "the model failed; see the server's log") from error
        return [one.items.tolist() for one in found]


def _preference(snapshot: Snapshot, request: PreferenceRequest) -> NDArray[np.float64]:
    weights = np.array(request.preference)
    objectives = len(snapshot.plan.groups[0].preference)
    if len(weights) != objectives:
        msg = f"{len(weights)} weights; expected {objectives}, one per objective of the model"
        raise HTTPException(409, msg)
    if not weights.sum() > 0:
        raise HTTPException(409, "all weights are 0; expected at least one above 0")
    weights = weights / weights.max()  # the sum of subnormal numbers has no finite inverse
    return weights / weights.sum()


def _group(snapshot: Snapshot, request: PreferenceRequest) -> Group:
    groups = {group.name: group for group in snapshot.plan.groups}
    if request.group is None:
        return snapshot.plan.groups[0]
    if request.group not in groups:
        raise HTTPException(404, f"no such group; expected one of {', '.join(groups)}")
    return groups[request.group]


def _label(snapshot: Snapshot, group: Group) -> str:
    """A group with its level, if there is a second axis: ``g3 (diversity 0.3)``."""
    level = snapshot.plan.level_label(group)
    return f"{group.name} ({level})" if level else group.name


def _start(snapshot: Snapshot) -> list[float]:
    objectives = len(snapshot.plan.groups[0].preference)
    equal = np.full(objectives, 1 / objectives)
    measured = snapshot.explorer_data.measured
    if measured is None:
        return equal.tolist()
    distance_G = np.abs(measured.interpolator.preference_GO - equal).sum(axis=1)
    return measured.interpolator.preference_GO[int(distance_G.argmin())].tolist()


def _front(measured: MeasuredMetrics) -> FrontView | None:
    x, y = (measured.metric(axis) for axis in measured.axes)
    if x is None or y is None:
        return None
    defined_G = np.isfinite(x.value_G) & np.isfinite(y.value_G)
    return FrontView(
        x_metric=metric_label(x.name, x.cutoff),
        y_metric=metric_label(y.name, y.cutoff),
        points=[
            PointView(
                preference_id=name,
                preference=list(measured.preferences[n]),
                is_neutral=n < len(measured.interpolator.preference_GO),
                x=x.value_G[n],
                x_error=np.nan_to_num(x.standard_error_G[n]),
                y=y.value_G[n],
                y_error=np.nan_to_num(y.standard_error_G[n]),
            )
            for n, name in enumerate(measured.preference_ids)
            if defined_G[n]
        ],
        undefined=[
            name
            for name, defined in zip(measured.preference_ids, defined_G, strict=True)
            if not defined
        ],
    )


def _mean(value_G: NDArray[np.float64], weights_G: NDArray[np.float64]) -> float | None:
    """The interpolated value; cells that are not of the neutral level have no weight."""
    used = np.flatnonzero(weights_G > 0)
    return _finite(float(weights_G[used] @ value_G[used]))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _item(snapshot: Snapshot, item: int) -> ItemView:
    return ItemView(
        item=snapshot.model.recommender.items[item],
        category=snapshot.explorer_data.category_I[item],
    )


def _listed(snapshot: Snapshot, items: list[int], others: list[int]) -> list[ListedItemView]:
    positions = {item: n + 1 for n, item in enumerate(others)}
    return [
        ListedItemView(
            item=snapshot.model.recommender.items[item],
            category=snapshot.explorer_data.category_I[item],
            position=n + 1,
            other_position=positions.get(item),
        )
        for n, item in enumerate(items)
    ]
