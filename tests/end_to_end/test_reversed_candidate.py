"""A candidate with reversed lists, served by a real endpoint, is rolled back by Dagster with nobody at the keyboard.

Users click what the incumbent ranks high. The monitor follows the endpoint's log and the sensor of the rollout
takes its steps, both at their default intervals.
"""

import asyncio
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipeline.experiment.log.log_files import ArmName
from pipeline.rollout.served import read_served, served_file
from pipeline.rollout.states import State
from pipeline.serving.ranking.snapshot import load_snapshot
from tests.browser.test_dagster_ui import answers, ask_dagster, end_group, wait_for
from tests.pipeline.serving.shop import (
    ITEMS,
    log_of,
    name_of,
    post,
    rows_of,
    scores_of,
    serving,
    start_rollout,
    with_client,
    write_other_study,
    write_plan,
    write_study,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RELOAD_SECONDS = 2.0
CLIENTS = 16
HARMED, WITHIN_SECONDS = 200, 60
"""From the user with this number on who gets a reversed list, so much time is left."""
START_SENSOR = """mutation { startSensor(sensorSelector: {sensorName: "rollout_watch", repositoryName: "__repository__",
    repositoryLocationName: "assets.definitions"}) { __typename ... on PythonError { message } } }"""


@pytest.fixture
def shop(tmp_path, small_params):
    """A study whose users are all outside an experiment; 5% of them get the candidate, its own model reversed."""
    study, paths = write_study(tmp_path, small_params, reload_seconds=RELOAD_SECONDS)
    write_plan(paths, enabled=False)
    other = write_other_study(tmp_path, small_params, seed=0)
    weights = load_file(file := other.artifact("conditioned_model", "weights.safetensors"))
    for name in ("norm.weight", "norm.bias"):  # the last layer before the products with the items
        weights[name] = -weights[name]
    save_file(weights, file)
    write_plan(other, enabled=False)
    start_rollout(paths, "next", "p0")
    return study, paths


@pytest.fixture
def unattended(shop):
    """The monitor, and Dagster with the rollout's sensor, as processes of their own."""
    _, paths = shop
    home = paths.root / ".dagster"
    home.mkdir()
    shutil.copy(ROOT / ".dagster/dagster.yaml", home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if "DAGSTER" not in name}
    environment |= {"PYTHONPATH": str(ROOT), "DAGSTER_HOME": str(home)}
    dagster = ["dagster", "dev", "-m", "assets.definitions", "--host", "127.0.0.1", "--port", port]
    monitor = ["pipeline.cli", "monitor", "--port", "0"]
    with (paths.root / "unattended.log").open("w") as log:
        started = [
            subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=paths.root,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            for words in (dagster, monitor)
        ]
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{url}/server_info"))
            done = ask_dagster(url, START_SENSOR)["startSensor"]
            assert done["__typename"] == "Sensor", done
            yield
        finally:
            for process in started:
                end_group(process)


def click_rate(truth, answer, session):
    """The first item of a list is clicked the more often, the higher the incumbent ranks it."""
    order = np.argsort(-np.array(scores_of(truth, session, (0.0, 1.0))))
    rank = list(order).index(int(answer["items"][0]["item"].removeprefix("item-")))
    return 0.4 * (1 - rank / ITEMS) ** 2


def served_until_rolled_back(url, shop):
    """Serve a new user per request until a while after the rollback; returns when each got a reversed list."""
    study, paths = shop
    truth, users, reversed_lists = load_snapshot(study, paths).model, itertools.count(), {}
    rng = np.random.default_rng(4)

    async def client(session):
        while not is_over():
            user, clicked = f"u{next(users)}", [int(rng.integers(ITEMS))]
            status, answer = await post(
                session, "/recommend", {"user": user, "session": [name_of(n) for n in clicked]}
            )
            assert status == 200
            if answer["arm"] == ArmName.CANDIDATE:
                reversed_lists[user] = time.time()
            if rng.random() < click_rate(truth, answer, clicked):
                click = {"event_type": "click", "event": user, "impression": answer["impression"]}
                assert (await post(session, "/events", {"events": [click]}))[0] == 200

    ends = []

    def is_over():
        if not ends and read_served(paths).state is State.ROLLED_BACK:
            ends.append(time.time() + 3 * RELOAD_SECONDS)
        return bool(ends) and time.time() > ends[0]

    async def scenario(session):
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))

    with_client(url, scenario)
    return reversed_lists


@pytest.mark.usefixtures("unattended")
def test_harm_is_proven_and_ended_within_a_minute(shop):
    _, paths = shop
    with serving(paths.root) as server:
        reversed_lists = served_until_rolled_back(server.url, shop)

    when = sorted(reversed_lists.values())
    ended = served_file(paths).stat().st_mtime
    assert len(when) >= HARMED
    assert ended - when[HARMED - 1] < WITHIN_SECONDS
    assert when[-1] - ended < RELOAD_SECONDS + 1
    rows = rows_of(log_of(paths), "impressions")
    assert {row["arm"] for row in rows} == {ArmName.CANDIDATE, ArmName.INCUMBENT}
