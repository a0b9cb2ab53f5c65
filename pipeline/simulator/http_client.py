"""Simulated users as clients of a serving endpoint: true end to end, its log is the experiment's.

Every list is asked for with ``POST /recommend``, every click and order is told with ``POST
/events``, at the simulated time.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import numpy as np
import polars as pl
from pydantic import BaseModel, ValidationError

from pipeline.core.errors import EndpointError, StudyError
from pipeline.experiment.design.traffic_plan import TrafficPlan
from pipeline.simulator.click_model import Flags, Ints
from pipeline.simulator.recommender_backend import NOTHING
from pipeline.simulator.shop_experiment import (
    SimulationConfig,
    preferences_of,
    simulate_visits,
    user_ids,
)
from pipeline.study import Study
from pipeline.synthetic.generate_log import build_shop, item_id

_AT_ONCE = 64
_CLICKS_A_REQUEST = 50
"""Each may bring an order, too, and the endpoint takes 100 events at once."""

_TO_CLICK_MS, _TO_ORDER_MS = 10_000, 20_000
_SECONDS = 60.0


def simulate_over_http(
    study: Study, plan: TrafficPlan, url: str, *, key: str | None = None
) -> dict[str, int]:
    """Let the users of a study's experiment visit a serving endpoint.

    Args:
        study: Whose users come, and how.
        plan: What the endpoint should be serving.
        url: Of the endpoint, such as ``http://127.0.0.1:8350``.
        key: Its bearer key, if it wants one.

    Returns:
        How many lists were shown, clicked and ordered from, and how many units that brought.

    Raises:
        EndpointError: if it cannot be reached, refuses, or serves another plan or shop.
        StudyError: if a fault of the log is planted, for the endpoint writes it.
    """
    planted = study.simulator.faults.planted()
    if of_the_log := planted.keys() - {"carry_over", "novelty"}:
        msg = (
            f"simulator.faults.{min(of_the_log)} changes what a log says, and here the endpoint "
            "writes it; over HTTP only carry_over and novelty can be planted"
        )
        raise StudyError(msg)
    setting = SimulationConfig.of(study)
    shop, users = build_shop(setting.synthetic), user_ids(setting)
    with _connected(url, key) as connection:
        host = Endpoint(connection, plan, users, shop_items=shop.catalogue.size)
        outcomes = simulate_visits(host, preferences_of(users, plan), setting, shop=shop)
    return {
        "lists": outcomes.height,
        "clicked": int(outcomes["clicked"].sum()),
        "ordered": int(outcomes["ordered"].sum()),
        "units": int(outcomes["units"].sum()),
    }


@dataclass(frozen=True, slots=True)
class Connection:
    """Many requests at a time to one address."""

    url: str
    client: aiohttp.ClientSession
    runner: asyncio.Runner

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that is answered; raises :class:`EndpointError` if none is."""
        try:
            async with self.client.post(f"{self.url}{path}", json=body) as response:
                if response.status == HTTPStatus.OK:
                    return await response.json()
                found = f"{response.status} {(await response.text())[:200]!r}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            msg = (
                f"POST {path} at {self.url}: {type(error).__name__} {error}; is 'paretoscope serve' "
                "running there?"
            )
            raise EndpointError(msg) from error
        msg = f"POST {path} at {self.url} was answered with {found}, expected 200"
        raise EndpointError(msg)

    def gather(self, requests: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """The results of all requests, in order; the first that fails ends the others."""
        return self.runner.run(_side_by_side(requests))


async def _side_by_side(requests: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    waiting = iter(enumerate(requests))
    results: dict[int, Any] = {}

    async def work() -> None:
        for number, request in waiting:
            results[number] = await request

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(work())
    except* EndpointError as errors:
        raise errors.exceptions[0] from None
    finally:
        for _, request in waiting:
            request.close()
    return [results[number] for number in range(len(requests))]


@contextmanager
def _connected(url: str, key: str | None) -> Iterator[Connection]:
    async def opened() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=_SECONDS),
            connector=aiohttp.TCPConnector(limit=_AT_ONCE),
        )

    with asyncio.Runner() as runner:
        client = runner.run(opened())
        try:
            yield Connection(url.rstrip("/"), client, runner)
        finally:
            runner.run(client.close())


class _Listed(BaseModel):
    item: str


class _Answer(BaseModel):
    group: str | None
    impression: str | None
    items: list[_Listed]


class Endpoint:
    """A serving endpoint that shows lists to the users ``users``."""

    def __init__(
        self, connection: Connection, plan: TrafficPlan, users: pl.Series, *, shop_items: int
    ) -> None:
        self._connection = connection
        self._k, self._users = plan.list_length, users
        self._groups = plan.groups_of(users)
        self._names = [str(name) for name in item_id(np.arange(shop_items))]
        self._number = {name: item for item, name in enumerate(self._names)}
        self._impression: dict[int, str] = {}

    def can_serve(self, seen: Ints) -> Flags:
        """All: the endpoint has popular items for those it knows nothing of."""
        return np.ones(len(seen), dtype=np.bool_)

    def recommend(self, visit: Ints, user: Ints, seen: Ints, *, ts: Ints) -> Ints:
        """What the endpoint lists."""
        requests = [
            self._listed(int(v), int(u), [self._names[item] for item in row if item >= 0], int(at))
            for v, u, row, at in zip(visit, user, seen, ts, strict=True)
        ]
        lists = np.full((len(requests), self._k), NOTHING, dtype=np.int64)
        for row, found in zip(lists, self._connection.gather(requests), strict=True):
            row[: len(found)] = found[: self._k]
        return lists

    def record(self, visit: Ints, item: Ints, units: Ints, *, ts: Ints) -> None:
        """Send the clicks, each with the order that came of it."""
        told = [self._events_of(*map(int, one)) for one in zip(visit, item, units, ts, strict=True)]
        batches = [
            [event for events in told[first : first + _CLICKS_A_REQUEST] for event in events]
            for first in range(0, len(told), _CLICKS_A_REQUEST)
        ]
        self._connection.gather(
            [self._connection.post("/events", {"events": batch}) for batch in batches]
        )

    async def _listed(self, visit: int, user: int, session: list[str], ts: int) -> list[int]:
        user_id, at = self._users[user], self._connection.url
        asked = {"user": user_id, "session": session, "k": self._k, "ts": ts}
        answered = await self._connection.post("/recommend", asked)
        try:
            answer = _Answer.model_validate(answered)
        except ValidationError as error:
            first = error.errors()[0]
            wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            msg = f"POST /recommend at {at} was answered with {repr(answered)[:200]}: {wrong}"
            raise EndpointError(msg) from error
        if answer.group != self._groups[user] or answer.impression is None:
            msg = (
                f"{at} served user {user_id} as group {answer.group}, but by the study's traffic plan "
                f"it is in {self._groups[user]}; serve this study's plan"
            )
            raise EndpointError(msg)
        names = [one.item for one in answer.items]
        if strangers := [name for name in names if name not in self._number]:
            msg = (
                f"{at} listed {strangers[:3]}, which the synthetic shop of params.yaml does not "
                "sell; serve the model that was trained on its log"
            )
            raise EndpointError(msg)
        self._impression[visit] = answer.impression
        return [self._number[name] for name in names]

    def _events_of(self, visit: int, item: int, units: int, ts: int) -> list[dict[str, Any]]:
        of = {"impression": self._impression[visit], "item": self._names[item]}
        events = [of | {"event_type": "click", "event": "click", "ts": ts + _TO_CLICK_MS}]
        if units:
            order = {
                "event_type": "order",
                "event": "order",
                "ts": ts + _TO_ORDER_MS,
                "units": units,
            }
            events.append(of | order)
        return events
