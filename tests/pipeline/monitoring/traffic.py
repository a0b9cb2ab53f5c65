"""Traffic of an experiment, written as the endpoint would write it."""

import os

import numpy as np

from tests.pipeline.monitoring.endpoint_log import click, impression, write

HOUR = 3600


class Traffic:
    """Users who come at random, are shown lists and click some; lists are written as time goes on."""

    def __init__(self, paths, plan, *, seed=0):
        self.log = paths.root / "data/served"
        self.plan = plan
        self.rng = np.random.default_rng(seed)
        self.number = self.hours = 0

    def hour(self, begin, *, users=600, lists=3, ctr=0.2, loses=(), loss=0.0, until=HOUR):
        """Write an hour of traffic; some clicks of groups in ``loses`` are lost."""
        shown, clicks = [], []
        self.hours += 1
        for user in range(users):
            name = f"{self.hours}-{user}"  # not of the clock: the same users in the same groups
            group = self.plan.group_of(name).name
            for _ in range(lists):
                ts = int(begin * 1000 + self.rng.integers(until * 1000))
                self.number += 1
                shown.append(impression(self.number, name, ts, group=group))
                lost = group in loses and self.rng.random() < loss
                if self.rng.random() < ctr and not lost:
                    clicks.append(click(self.number, ts + 5000))
        for table, rows in (("impressions", shown), ("clicks", clicks)):
            path = write(self.log, table, rows)
            os.utime(path, (begin + until, begin + until))
