"""The sums of a rollout out of the monitor's database, against a recount of the log."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.core.contracts import Kpi
from pipeline.experiment.log.log_files import ArmName
from pipeline.inference.diagnostics.sample_ratio import sample_ratio_e_value
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.follower import Follower
from pipeline.monitoring.following.sums import DATABASE
from pipeline.monitoring.rollout_sums import _opened, read_rollout_sums
from pipeline.rollout.changes import advanced
from pipeline.rollout.store import change_rollout
from pipeline.rollout.sums import UserSums
from tests.pipeline.monitoring.endpoint_log import (
    HOUR_MS,
    START,
    click,
    impression,
    order,
    rules,
    write,
)
from tests.pipeline.rollout.releases import ANNA, STAGES, begun

KPIS = (Kpi.CTR, Kpi.ORDERS_PER_USER)


@pytest.fixture
def rollout(tmp_path):
    """A release in its second stage."""
    (tmp_path / "params.yaml").write_text("study: {name: shop}", encoding="utf-8")
    paths = StudyPaths(tmp_path, "shop")
    begun(paths, guardrails=KPIS)
    return change_rollout(paths, "spring", ANNA, lambda now: advanced(now, "passed", {}))


@pytest.fixture
def log(tmp_path):
    """Two days of lists of 60 users; some come back in the second stage, some change their arm with it."""
    rng = np.random.default_rng(4)
    rows, clicks, orders = [], [], []
    for n in range(1500):
        ts = START + int(rng.integers(0, 48 * HOUR_MS))
        stage, user = int(ts >= START + 24 * HOUR_MS), int(rng.integers(60))
        arm = "candidate" if user % 4 <= stage else "incumbent"
        fallback = ("model timeout", "model error", "no known item", *[None] * 9)[
            int(rng.integers(12))
        ]
        where = {
            "group": None,
            "arm": arm,
            "release": "spring",
            "stage": STAGES[stage],
            "switched": False,
        }
        if n % 10 == 0:
            where |= {"switched": True}
        if n % 10 == 1:
            where |= {"release": "another"}
        rows.append(impression(n, f"u{user}", ts, fallback=fallback, **where))
        if rng.random() < 0.4:
            clicks.append(click(n, ts + 1000))
            if rng.random() < 0.5:
                orders.append(order(n, ts + 2000))
    folder = tmp_path / "log"
    for table, found in (("impressions", rows), ("clicks", clicks), ("orders", orders)):
        write(folder, table, found)
    database = Database.open(tmp_path / DATABASE)
    Follower(database, folder, rules()).look((START + 48 * HOUR_MS) / 1000)
    database.close()
    return rows, {one["impression"] for one in clicks}, {one["impression"] for one in orders}


def recount(log, arm, until, trials, successes):
    """The sums of an arm, user by user."""
    rows, clicked, ordered = log
    m_US, y_US = np.zeros((60, len(STAGES))), np.zeros((60, len(STAGES)))
    for row in rows:
        if row["switched"] or row["release"] != "spring" or row["arm"] != arm or row["ts"] >= until:
            continue
        facts = {
            "impressions": 1,
            "clicks": row["impression"] in clicked,
            "orders": row["impression"] in ordered,
            "late": row["fallback"] == "model timeout",
            "errors": row["fallback"] == "model error",
            "fallbacks": row["fallback"] is not None,
        }
        at = int(row["user"][1:]), STAGES.index(row["stage"])
        m_US[at] = 1 if trials == "users" else m_US[at] + facts[trials]
        y_US[at] += facts[successes]
    return UserSums.of(m_US, y_US)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("ctr", ("impressions", "clicks")),
        ("orders_per_user", ("users", "orders")),
        ("errors", ("impressions", "errors")),
        ("late", ("impressions", "late")),
        ("fallback", ("impressions", "fallbacks")),
    ],
)
def test_every_sum_is_that_of_the_users(tmp_path, rollout, log, name, terms):
    """Users of both stages are one; orders are counted until a whole hour before the attribution window."""
    newest, hours = max(row["ts"] for row in log[0]), 24 if name == "orders_per_user" else 0

    found = read_rollout_sums(tmp_path, rollout)

    sums = found.kpis[name]
    latest = newest - hours * HOUR_MS
    until = latest if not hours else latest // HOUR_MS * HOUR_MS
    assert sums.until == datetime.fromtimestamp(until / 1000, UTC)
    for arm, own in (("candidate", sums.candidate), ("incumbent", sums.incumbent)):
        expected = recount(log, arm, until if hours else until + 1, *terms)
        assert own.users == expected.users > 0
        for field in ("users_S", "m_S", "y_S", "mm_SS", "my_SS", "yy_SS"):
            np.testing.assert_array_equal(
                getattr(own, field), getattr(expected, field), err_msg=field
            )


def test_users_the_newest_row_and_the_sample_ratio(tmp_path, rollout, log):
    found = read_rollout_sums(tmp_path, rollout)

    assert found.newest == datetime.fromtimestamp(max(row["ts"] for row in log[0]) / 1000, UTC)
    assert found.users == {ArmName.CANDIDATE: 30, ArmName.INCUMBENT: 45}
    # in the second stage, half of 60 users have the candidate, whose share is 5%
    assert found.sample_ratio == sample_ratio_e_value(np.array([30, 30]), np.array([0.05, 0.95]))
    assert found.sample_ratio > 2
    assert found.newest - found.kpis["orders_per_user"].until >= timedelta(hours=24)


def test_without_a_monitor_or_a_list_there_are_no_sums(tmp_path, rollout):
    assert read_rollout_sums(tmp_path, rollout) is None

    Database.open(tmp_path / DATABASE).close()
    assert read_rollout_sums(tmp_path, rollout) is None


@pytest.mark.usefixtures("log")
def test_the_monitor_goes_on_while_sums_are_read(tmp_path, rollout):
    database = Database.open(tmp_path / DATABASE)
    with _opened(tmp_path / DATABASE), database.transaction():
        database.put("written", 1.0)
    database.close()
    assert read_rollout_sums(tmp_path, rollout).users[ArmName.CANDIDATE] == 30
