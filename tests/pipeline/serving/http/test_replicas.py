"""Several server processes of one study: every acknowledged event counts once."""

import asyncio
import random
import signal
from contextlib import ExitStack

import aiohttp
import pytest

from pipeline.experiment.design.traffic_plan import read_plan
from pipeline.experiment.log import ingest as ingestion
from pipeline.experiment.log.reading.log_folder import log_files
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.ledger import Period
from pipeline.monitoring.following.sums import read_sums
from tests.pipeline.experiment.logs import contents, outcomes
from tests.pipeline.monitoring.endpoint_log import follower_of
from tests.pipeline.serving.shop import log_of, name_of, post, serving, write_study

ORDERS, ORDERS_BEFORE = 600, 200
"""Acknowledged orders at the end, and when a server is killed."""


class Shop:
    """Clients of several servers: each event is sent to two of them, in the order of their answers."""

    def __init__(self, servers):
        self.servers = servers
        self.answered = set()
        self.orders = {}
        self.killed = None

    async def run(self, clients=8):
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await asyncio.gather(*(self._client(session, n) for n in range(clients)))

    async def _client(self, session, n):
        draw = random.Random(n)
        while len(self.orders) < ORDERS:
            if len(self.orders) >= ORDERS_BEFORE and self.killed is None:
                self.killed = "b"
                self.servers["b"].process.send_signal(signal.SIGKILL)
            first, second = draw.sample(sorted(self.servers), 2)
            request = {"user": f"u{draw.randrange(500)}", "session": [name_of(3)], "k": 5}
            answer = await self._post(session, first, "/recommend", request)
            if answer is None:
                continue
            impression = answer["impression"]
            self.answered.add(impression)
            event = {"impression": impression, "event": f"{n}-{len(self.orders)}"}
            events = [
                event | {"event_type": "click"},
                event | {"event_type": "order", "units": 2, "revenue": 7},
            ]
            sent = [
                await self._post(session, server, "/events", {"events": events})
                for server in (first, second)
            ]
            if any(one is not None for one in sent):
                self.orders[impression] = sum(one is not None for one in sent)

    async def _post(self, session, server, route, body):
        """The answer of a server; None if it is gone."""
        try:
            status, answer = await post(session, f"{self.servers[server].url}{route}", body)
        except aiohttp.ClientError:
            assert server == self.killed
            return None
        assert status == 200, answer
        return answer


@pytest.mark.slow
def test_every_acknowledged_order_counts_once_on_three_servers_of_which_one_is_killed(
    tmp_path, small_params
):
    """The killed server never starts again; a fourth one closes its files."""
    study, paths = write_study(tmp_path, small_params, rotate_megabytes=0.02)
    log, plan, rules = log_of(paths), read_plan(paths), LogRules.of(study.experiment)
    database = tmp_path / "log.duckdb"

    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(serving(tmp_path, replica=name))
            for name in ("a", "b", "zone/c")
        }
        shop = Shop(servers)
        asyncio.run(shop.run())
        assert servers["b"].process.wait() == -signal.SIGKILL
        before = log_files(log, subfolders=True).files
        ingestion.ingest(before, plan, database, rules=rules)
        for name in ("a", "zone/c"):
            servers[name].end(signal.SIGTERM)
    assert {path.parent for path in log.rglob("*.open")} == {log / "b"}
    with serving(tmp_path, replica="d") as server:
        server.end(signal.SIGTERM)

    files = log_files(log, subfolders=True).files
    result = ingestion.ingest(files, plan, database, rules=rules)

    assert 0 < result.files_read == len(files) - len(before)
    assert len(shop.orders) >= ORDERS
    assert list(log.rglob("*.open")) == []
    found = outcomes(database)
    assert shop.answered <= found.keys()
    ordered = {
        name: (units, revenue)
        for name, (_, is_ordered, units, revenue) in found.items()
        if is_ordered
    }
    assert ordered == dict.fromkeys(shop.orders, (2, 7))
    again = sum(copies - 1 for copies in shop.orders.values())
    # what the killed server wrote and could not acknowledge is a copy, too
    assert set(result.rejected) == {"click sent again", "order sent again"}
    assert again <= result.rejected["order sent again"] <= again + 8
    sums = read_row_fates(database).sums
    assert sums["lost"].sum() == 0
    ingestion.ingest(files, plan, tmp_path / "at-once.duckdb", rules=rules)
    assert contents(database) == contents(tmp_path / "at-once.duckdb")
    monitored = Database.open(tmp_path / "monitor.sqlite3")
    follower_of(monitored, log).look(0)
    by_kpi = read_sums(monitored, Period.ALL).values()
    assert sum(one["orders_per_impression"].successes for one in by_kpi) == len(shop.orders)
    assert sum(one["units_per_impression"].successes for one in by_kpi) == 2 * len(shop.orders)
    monitored.close()
