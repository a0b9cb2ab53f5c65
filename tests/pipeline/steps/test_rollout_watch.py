"""From the rows of the log to a rollback: the monitor's look, and one step of the watch."""

import time
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.artifacts.storage import StudyPaths
from pipeline.monitoring.following.database import Database
from pipeline.monitoring.following.follower import Follower
from pipeline.monitoring.following.sums import DATABASE
from pipeline.monitoring.status import monitoring_folder
from pipeline.rollout.decisions.decide import Step
from pipeline.rollout.decisions.recorded import read_decision
from pipeline.rollout.served import ArmName, read_served
from pipeline.rollout.states import State
from pipeline.steps.rollout_watch import watch_release
from tests.pipeline.monitoring.endpoint_log import click, impression, rules, write
from tests.pipeline.rollout.releases import begun


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "params.yaml").write_text("study: {name: shop}", encoding="utf-8")
    return StudyPaths(tmp_path, "shop")


def log(folder, served, rates):
    """Five lists now for each of 25,000 users, in the arm that the endpoint would serve them."""
    rng, now = np.random.default_rng(3), int(time.time() * 1000)
    rows, clicks = [], []
    for n in range(25_000):
        arm = served.arm_of(f"u{n}")
        if arm is ArmName.INCUMBENT and n % 10:  # a tenth of them is enough
            continue
        where = {"group": None, "arm": arm.value, "release": served.release, "stage": served.stage}
        for k in range(5):
            rows.append(impression(f"{n}-{k}", f"u{n}", now, switched=False, **where))
            if rng.random() < rates[arm]:
                clicks.append(click(f"{n}-{k}", now))
    write(folder, "impressions", rows)
    write(folder, "clicks", clicks)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "step"), [(0.0, Step.ROLL_BACK), (0.1, Step.HOLD)])
def test_a_candidate_whose_lists_nobody_clicks_is_rolled_back(paths, rate, step):
    """With about 250 users of the candidate, at the first step after them.

    An incumbent of whom only a tenth is logged contradicts the shares: that holds a harmless candidate, and
    proven harm does not wait for it.
    """
    canary = begun(paths)
    log(paths.root / "log", canary.served(), {ArmName.CANDIDATE: rate, ArmName.INCUMBENT: 0.1})
    database = Database.open(monitoring_folder(paths) / DATABASE)
    Follower(database, paths.root / "log", rules()).look(time.time())
    database.close()

    after, decision = watch_release(paths, datetime.now(UTC))

    assert decision.step is step, decision.reason
    recorded = read_decision(paths, after.release)
    assert (recorded.step, recorded.reason) == (decision.step, decision.reason)
    assert (after.state is State.ROLLED_BACK) is (rate == 0)
    assert read_served(paths).share == (0.0 if rate == 0 else 0.01)
    assert decision.evidence["users"]["candidate"] > 200
    assert decision.evidence["sample_ratio"] > 1000
