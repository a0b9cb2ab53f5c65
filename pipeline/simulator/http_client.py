"""Simulated users as clients of a serving endpoint, whose log is the experiment's.

Lists are requested with ``POST /recommend``, clicks and orders are sent with ``POST /events``, both
with simulated times or, for a rollout, with the present one.
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
    simulate_sessions,
    user_ids,
)
from pipeline.study import Study
from pipeline.synthetic.generate_log import build_shop, item_id

_MAX_CONCURRENT = 64
_CLICKS_PER_REQUEST = 50
"""Each click may have an order, and the endpoint accepts 100 events per request."""

_TO_CLICK_MS, _TO_ORDER_MS = 10_000, 20_000
_TIMEOUT_S = 60.0


def simulate_over_http(
    study: Study, plan: TrafficPlan, url: str, *, key: str | None = None, now: bool = False
) -> dict[str, int]:
    """Simulate the experiment of a study against a serving endpoint.

    Args:
        study: The study.
        plan: The plan that the endpoint should serve.
        url: URL of the endpoint, such as ``http://127.0.0.1:8350``.
        key: Bearer key of the endpoint, if it has one.
        now: Whether lists and events have the present time instead of the simulated one, and users outside
            the groups come, too: for a rollout.

    Returns:
        Numbers of lists, of clicked and ordered lists, and of units.

    Raises:
        EndpointError: if the endpoint cannot be reached, refuses a request, or serves another plan or
            shop.
        StudyError: if a fault of the log is set, since the endpoint writes the log.
    """
    faults = study.simulator.faults.active()
    if of_the_log := faults.keys() - {"carry_over", "novelty"}:
        msg = (
            f"simulator.faults.{min(of_the_log)} is a fault of the log, but over HTTP the endpoint "
            "writes the log; use carry_over and novelty only"
        )
        raise StudyError(msg)
    config = SimulationConfig.of(study)
    shop, users = build_shop(config.synthetic), user_ids(config)
    with _connected(url, key) as connection:
        backend = Endpoint(connection, plan, users, shop_items=shop.catalogue.size, now=now)
        preference = preferences_of(users, plan)
        if now:  # whoever has none does not come
            preference = np.nan_to_num(preference)
        outcomes = simulate_sessions(backend, preference, config, shop=shop)
    return {
        "lists": outcomes.height,
        "clicked": int(outcomes["clicked"].sum()),
        "ordered": int(outcomes["ordered"].sum()),
        "units": int(outcomes["units"].sum()),
    }


@dataclass(frozen=True, slots=True)
class Connection:
    """Concurrent requests to one endpoint."""

    url: str
    client: aiohttp.ClientSession
    runner: asyncio.Runner

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Post JSON and return the JSON of the answer; raises :class:`EndpointError` if there is none."""
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
        msg = f"POST {path} at {self.url} returned {found}, expected status 200"
        raise EndpointError(msg)

    def gather(self, requests: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """The results of all requests, in order; the first failure cancels the others."""
        return self.runner.run(_run_concurrently(requests))


async def _run_concurrently(requests: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    waiting = iter(enumerate(requests))
    results: dict[int, Any] = {}

    async def work() -> None:
        for number, request in waiting:
            results[number] = await request

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_MAX_CONCURRENT):
                group.create_task(work())
    except* EndpointError as errors:
        raise errors.exceptions[0] from None
    finally:
        for _, request in waiting:
            request.close()
    return [results[number] for number in range(len(requests))]


@contextmanager
def _connected(url: str, key: str | None) -> Iterator[Connection]:
    async def connect() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            connector=aiohttp.TCPConnector(limit=_MAX_CONCURRENT),
        )

    with asyncio.Runner() as runner:
        client = runner.run(connect())
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
    """A serving endpoint as the recommender backend of simulated users."""

    def __init__(
        self,
        connection: Connection,
        plan: TrafficPlan,
        users: pl.Series,
        *,
        shop_items: int,
        now: bool = False,
    ) -> None:
        self._connection, self._now = connection, now
        self._k, self._users = plan.list_length, users
        self._groups = plan.groups_of(users)
        self._length = {group.name: plan.list_length_at(group.level) for group in plan.groups}
        self._names = [str(name) for name in item_id(np.arange(shop_items))]
        self._number = {name: item for item, name in enumerate(self._names)}
        self._impression: dict[int, str] = {}

    def can_serve(self, seen: Ints) -> Flags:
        """All sessions; the endpoint falls back to popular items."""
        return np.ones(len(seen), dtype=np.bool_)

    def recommend(self, session: Ints, user: Ints, seen: Ints, *, ts: Ints) -> Ints:
        """The lists of the endpoint."""
        requests = [
            self._recommend(
                int(s), int(u), [self._names[item] for item in row if item >= 0], int(at)
            )
            for s, u, row, at in zip(session, user, seen, ts, strict=True)
        ]
        lists = np.full((len(requests), self._k), NOTHING, dtype=np.int64)
        for row, found in zip(lists, self._connection.gather(requests), strict=True):
            row[: len(found)] = found[: self._k]
        return lists

    def record(self, session: Ints, item: Ints, units: Ints, *, ts: Ints) -> None:
        """Send the clicks with their orders."""
        events = [
            self._events_of(*map(int, one)) for one in zip(session, item, units, ts, strict=True)
        ]
        batches = [
            [event for clicks in events[first : first + _CLICKS_PER_REQUEST] for event in clicks]
            for first in range(0, len(events), _CLICKS_PER_REQUEST)
        ]
        self._connection.gather(
            [self._connection.post("/events", {"events": batch}) for batch in batches]
        )

    async def _recommend(self, session: int, user: int, history: list[str], ts: int) -> list[int]:
        user_id, url = self._users[user], self._connection.url
        length = self._length.get(self._groups[user], self._k)
        request = {"user": user_id, "session": history, "k": length, **self._time(ts)}
        response = await self._connection.post("/recommend", request)
        try:
            answer = _Answer.model_validate(response)
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            msg = f"POST /recommend at {url} returned {repr(response)[:200]}: {problem}"
            raise EndpointError(msg) from error
        if answer.group != self._groups[user] or answer.impression is None:
            msg = (
                f"{url} served user {user_id} in group {answer.group}, but the study's traffic plan "
                f"has {self._groups[user]}; serve this study's plan"
            )
            raise EndpointError(msg)
        names = [one.item for one in answer.items]
        if unknown := [name for name in names if name not in self._number]:
            msg = (
                f"{url} recommended {unknown[:3]}, which are not items of the synthetic shop of "
                "params.yaml; serve the model that was trained on its log"
            )
            raise EndpointError(msg)
        self._impression[session] = answer.impression
        return [self._number[name] for name in names]

    def _events_of(self, session: int, item: int, units: int, ts: int) -> list[dict[str, Any]]:
        common = {"impression": self._impression[session], "item": self._names[item]}
        click = {"event_type": "click", "event": "click", **self._time(ts + _TO_CLICK_MS)}
        order = {"event_type": "order", "event": "order", **self._time(ts + _TO_ORDER_MS)}
        events = [common | click]
        return [*events, common | order | {"units": units}] if units else events

    def _time(self, ts: int) -> dict[str, int]:
        """The time of a request; the endpoint takes the present one if there is none."""
        return {} if self._now else {"ts": ts}
