"""A served study with traffic, a monitor that has looked, and a release that was started and decided on."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.monitoring.monitor import open_monitor
from pipeline.steps.rollout_watch import watch_release
from tests.pipeline.monitoring.endpoint_log import click, impression, write
from tests.pipeline.monitoring.traffic import HOUR, Traffic
from tests.pipeline.serving.shop import start_rollout, write_plan, write_study

GROUPS = ((0.0, 1.0), (0.5, 0.5), (1.0, 0.0))


def write_arms(paths, begin, *, users, lost=0.0, seed=3):
    """An hour of users outside the groups: one in ten gets the candidate, which loses some of its clicks."""
    rng, shown, clicks = np.random.default_rng(seed), [], []
    for user in range(users):
        arm = "candidate" if user % 10 == 0 else "incumbent"
        ts, number = int(begin * 1000 + rng.integers(HOUR * 1000)), 10_000_000 + user
        where = {"group": None, "arm": arm, "release": "next", "stage": "canary", "switched": False}
        shown.append(impression(number, f"outside-{user}", ts, **where))
        if rng.random() < 0.2 * (1 - lost * (arm == "candidate")):
            clicks.append(click(number, ts + 1000))
    for table, rows in (("impressions", shown), ("clicks", clicks)):
        write(paths.root / "data/served", table, rows)


def watched(root, params, *, hours=1, users=600, extra=0, release=True, preferences=GROUPS):
    """Write the study and its log, look twice, so that alarms fire, and decide once.

    ``extra`` users are of g2, beyond its share; they click as the others do, whatever the hour of the day.
    """
    study, paths = write_study(root, params)
    plan = write_plan(paths, preferences=preferences)
    traffic, now = Traffic(paths, plan), time.time()
    for hour in range(hours, 0, -1):
        count = round(users * (1 + 0.5 * np.sin(hour / 4)))
        traffic.hour(now - HOUR * hour, users=count)
    last = int(1000 * now) - 1
    more = [impression(f"x{n}", f"x{n}", last, group="g2") for n in range(extra)]
    write(traffic.log, "impressions", more)
    write(traffic.log, "clicks", [click(f"x{n}", last + n) for n in range(0, extra, 5)])
    if release:
        start_rollout(paths)
        write_arms(paths, now - HOUR, users=2 * users)
    with open_monitor(study, paths) as monitor:
        monitor.look(now - 60)
        monitor.look(now)
    if release:
        watch_release(paths, datetime.now(UTC) + timedelta(seconds=1))
    return study, paths
